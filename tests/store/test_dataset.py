import hashlib
import itertools
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from errata.errors import StoreError
from errata.records.arrow import from_table
from errata.records.types import Drop, Episode
from errata.reports.front_matter import configs_yaml
from errata.store import order
from errata.store.dataset import Shard, finish, sorted_rows
from errata.store.hashing import Total, digests
from errata.store.reader import open_dataset
from tests.store.support import build, commit, describe, make, tree

MADE = [make(i) for i in range(40)]


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    return tree(build(tmp_path_factory.mktemp("reference"), MADE, pieces=1, rows_per_shard=7).path)


@settings(max_examples=6, deadline=None)
@given(st.permutations(MADE), st.integers(1, 6), st.randoms(use_true_random=False))
def test_the_same_rows_give_the_same_bytes_however_they_were_cut(
    tmp_path_factory: pytest.TempPathFactory, reference: dict[str, bytes], made: list, pieces: int, random: object
) -> None:
    root = tmp_path_factory.mktemp("cut")
    parts = commit(root / "parts", [made[i::pieces] for i in range(pieces)])
    indices = list(parts.done().parts)
    random.shuffle(indices)  # type: ignore[attr-defined]
    found = finish(parts, indices, describe(MADE), out=root / "out", shard=Shard(7))
    assert tree(found.path) == reference


def test_the_layout_is_the_documented_one(tmp_path: Path) -> None:
    found = build(tmp_path, MADE, rows_per_shard=7)
    assert found.new and found.path == tmp_path / "out/sums/1.0-0123456789ab"
    assert (tmp_path / "out/sums/LATEST").read_text() == "1.0-0123456789ab\n"
    assert sorted(p.name for p in (tmp_path / "out/sums").iterdir()) == ["1.0-0123456789ab", "LATEST"]
    files = tree(found.path)
    listed = {e.path for e in found.manifest.files}
    assert files.keys() == listed | {"_manifest/manifest.json", "_manifest/run.json"}
    assert {p for p in files if p.startswith("data/sft/t")} == {
        *(f"data/sft/train-0000{i}-of-00003.parquet" for i in range(3)),
        *(f"data/sft/test-0000{i}-of-00002.parquet" for i in range(2)),
    }
    assert {p for p in files if p.startswith("data/dpo")} == {"data/dpo/train-00000-of-00001.parquet"}
    assert found.manifest.configs["episodes"] == {"other_split": 10, "test": 10, "train": 20}
    assert found.manifest.configs["dpo"] == {"train": 0}


def test_rows_come_back_sorted_and_whole(tmp_path: Path) -> None:
    data = open_dataset(build(tmp_path, MADE, rows_per_shard=7).path)
    episodes = sorted((m.episode for m in MADE), key=lambda e: (e.problem.split, e.id))
    assert list(data.rows("episodes")) == episodes
    assert list(data.rows("sft", "test")) == sorted((r for m in MADE[2::4] for r in m.sft), key=lambda r: r.id)
    drops = sorted((d for m in MADE for d in m.drops), key=lambda d: (d.episode, d.stage, d.code, d.target, d.detail))
    assert list(data.rows("drops")) == drops and len(drops) == 7
    with pytest.raises(StoreError, match="no config 'kto': there are"):
        list(data.rows("kto"))
    with pytest.raises(StoreError, match="no split of sft 'dev': there are"):
        list(data.rows("sft", "dev"))


def test_an_episode_is_found_by_the_beginning_of_its_id(tmp_path: Path) -> None:
    data = open_dataset(build(tmp_path, MADE).path.parent)
    wanted = MADE[11].episode
    assert data.episode(wanted.id) == wanted
    assert data.episode(wanted.id[:8]) == wanted
    with pytest.raises(StoreError, match="no episode whose id begins with 'zz'"):
        data.episode("zz")
    with pytest.raises(StoreError, match="40 episodes have an id that begins with ''"):
        data.episode("")


def test_corpus_operations_drop_rows_and_leave_a_drop_for_each(tmp_path: Path) -> None:
    row = MADE[0].sft[0]
    drop = Drop(episode=row.episode, stage="dedup", code="near_duplicate", kind="filtered", target=row.id)
    whole, less = build(tmp_path / "a", MADE), None
    changes = {"dropped": {"sft": {row.id: "near_duplicate"}}, "drops": (drop,)}
    less = build(tmp_path / "b", MADE, **changes)
    data = open_dataset(less.path)
    assert row.id not in {r.id for r in data.rows("sft")} and less.manifest.configs["sft"]["train"] == 19
    assert drop in set(data.rows("drops")) and less.manifest.configs["drops"]["train"] == 8
    assert less.manifest.content_hash != whole.manifest.content_hash
    with pytest.raises(StoreError, match="sft: 1 rows were to be dropped, but 0 of those ids exist"):
        build(tmp_path / "c", MADE, dropped={"sft": {"stranger": "x"}})


def test_the_content_hash_does_not_depend_on_shards(tmp_path: Path) -> None:
    one, two = build(tmp_path / "a", MADE), build(tmp_path / "b", MADE, rows_per_shard=3)
    assert one.manifest.content_hash == two.manifest.content_hash
    assert one.manifest.files != two.manifest.files


def test_two_rows_with_one_id_are_refused(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=f"episodes: two rows have the id '{MADE[3].episode.id}'"):
        build(tmp_path, [*MADE[:5], MADE[3]])
    assert not list((tmp_path / "out/sums").iterdir())


def test_corpus_operations_see_one_order_however_parts_were_cut(tmp_path: Path) -> None:
    one = commit(tmp_path / "a", [MADE])
    many = commit(tmp_path / "b", [MADE[25:], MADE[:10], MADE[10:25]])
    assert list(sorted_rows(one, [0], "sft")) == list(sorted_rows(many, [2, 0, 1], "sft"))


def test_a_finished_version_is_never_written_again(tmp_path: Path) -> None:
    first = build(tmp_path, MADE)
    before = {p: p.stat().st_mtime_ns for p in (tmp_path / "out").rglob("*")}
    again = build(tmp_path, MADE, run={"seconds": 99})
    assert not again.new and again.manifest == first.manifest
    assert {p: p.stat().st_mtime_ns for p in (tmp_path / "out").rglob("*")} == before


def test_latest_names_the_newest_and_is_mended(tmp_path: Path) -> None:
    latest = tmp_path / "out/sums/LATEST"
    build(tmp_path, MADE[:4], version="1")
    build(tmp_path, MADE[:4], version="2")
    build(tmp_path, MADE[:4], version="1")
    assert latest.read_text() == "2\n"
    latest.write_text("1\n")  # as if the run had died before the last step
    build(tmp_path, MADE[:4], version="2")
    assert latest.read_text() == "2\n" and open_dataset(tmp_path / "out/sums").manifest.version == "2"


def test_two_processes_race_and_one_wins(tmp_path: Path) -> None:
    script = """
import sys, time
from functools import partial
from pathlib import Path
from typing import Any
from tests.store.support import *
root, out = Path(sys.argv[1]), Path(sys.argv[2])
made = [make(i) for i in range(6)]
parts = commit(root, [made])
def meet(operation, path):  # both have assembled their version before either claims it
    if operation == "claim":
        (out / f"ready-{root.name}").touch()
        end = time.monotonic() + 60
        while len(list(out.glob("ready-*"))) < 2 and time.monotonic() < end:
            time.sleep(0.005)
parts.files = Files(meet)
print(finish(parts, [0], describe(made), out=out).new)
"""
    out = tmp_path / "out"
    out.mkdir()
    command = [sys.executable, "-c", script]
    repository = Path(__file__).resolve().parents[2]
    both = [
        subprocess.Popen([*command, tmp_path / name, out], stdout=subprocess.PIPE, text=True, cwd=repository)
        for name in ("a", "b")
    ]
    said = [p.communicate(timeout=120)[0].strip() for p in both]
    assert sorted(said) == ["False", "True"] and [p.returncode for p in both] == [0, 0]
    assert sorted(p.name for p in (out / "sums").iterdir()) == ["1.0-0123456789ab", "LATEST"]


def test_a_folder_in_the_way_is_told(tmp_path: Path) -> None:
    (tmp_path / "out/sums/1.0-0123456789ab/mine").mkdir(parents=True)
    with pytest.raises(StoreError, match=r"exists but holds no _manifest/manifest\.json: move it away"):
        build(tmp_path, MADE[:2])
    with pytest.raises(StoreError, match=r"'\.\./x' cannot name a dataset"):
        build(tmp_path, MADE[:2], name="../x")


def test_a_file_holds_fewer_rows_where_they_are_large() -> None:
    shard = Shard(rows=1000, bytes=500_000, files=8)
    assert shard.rows_of(0, 0) == 1000
    assert shard.rows_of(100, 500_000) == 1000, "one file may be as large as that"
    assert shard.rows_of(100, 500_001) == 62, "two files of at most half of the bytes"
    assert shard.rows_of(10_000, 5_000_000) == 1000
    assert shard.rows_of(2_000, 2_000_000) == 500
    assert shard.rows_of(1_000, 1_050_000) == shard.rows_of(1_100, 1_160_000) == 250, "a few more rows change nothing"
    assert shard.rows_of(1_000, 50_000_000) == 125, "many large rows: as many files as may be, and larger ones"
    assert shard.rows_of(20_000, 2_000_000_000) == 1000


def test_large_rows_are_written_in_several_files(tmp_path: Path) -> None:
    parts = commit(tmp_path / "parts", [MADE])
    found = finish(parts, sorted(parts.done().parts), describe(MADE), out=tmp_path / "out", shard=Shard(bytes=20_000))
    data = open_dataset(found.path)
    assert len(data.files("episodes", "train")) > 1 == len(data.files("drops"))
    whole = open_dataset(build(tmp_path / "one", MADE).path)
    assert list(data.rows("episodes")) == list(whole.rows("episodes"))
    assert found.manifest.content_hash == whole.manifest.content_hash


def test_row_groups_end_by_content() -> None:
    digests = [hashlib.sha256(b"%d" % i).digest() for i in range(3000)]

    def cut(digests: list[bytes], at_once: int, per_shard: int = 10_000) -> list[list[bytes]]:
        """The hashes of each row group, of rows of 30,000 bytes that come `at_once` at a time."""
        tables = [
            pa.table({"_digest": pa.array(some, pa.binary(32)), "_size": [30_000] * len(some)})
            for some in (digests[i : i + at_once] for i in range(0, len(digests), at_once))
        ]
        return [group["_digest"].to_pylist() for group in order.row_groups(iter(tables), per_shard)]

    groups = cut(digests, 3000)
    assert [d for group in groups for d in group] == digests
    assert groups == cut(digests, 7), "where groups end must not depend on how many rows are read at once"
    sizes = [len(group) * 30_000 for group in groups]
    assert max(sizes) <= order.GROUP_MOST + 30_000 and min(sizes[:-1]) >= order.GROUP_LEAST
    kept = {g[-1] for g in cut([bytes(32), *digests], 3000)} & {g[-1] for g in groups}
    assert len(kept) > len(groups) / 2, "a row more at the front must not move every boundary"
    ends = set(itertools.accumulate(len(group) for group in cut(digests, 1100, per_shard=1000)))
    assert {1000, 2000, 3000} <= ends, "a shard's last row ends a group"


@pytest.mark.parametrize("at_once", [1, 3_000, 20_000])
def test_the_order_does_not_depend_on_how_many_rows_are_sorted_at_once(tmp_path: Path, at_once: int) -> None:
    episodes = [m.episode for m in MADE]
    sources = [partial(order.keyed_table, episodes[i : i + 9], Episode) for i in range(0, 40, 9)]
    some = [e.id for e in episodes[::5]]
    left = [e for e in episodes if e.id not in some]

    def sort(sources: list[order.Source], dropped: Sequence[str], at_once: int) -> dict[str, pa.Table]:
        with tempfile.TemporaryFile(dir=tmp_path) as file:
            rows = order.sort(sources, file, config="episodes", dropped=dropped, unique=True, at_once=at_once)
            found = {split: list(rows.tables(split)) for split in rows.splits}
            assert rows.total == Total().plus(d.sha256 for d in digests(left, Episode)) or not dropped
            assert {s: sum(map(len, tables)) for s, tables in found.items()} == dict(rows.splits)
            if at_once < 10_000:
                assert max(map(len, found.values())) > 3, "ranges as small as these must be several"
            return {split: pa.concat_tables(tables) for split, tables in found.items()}

    whole = sort(sources, some, order.AT_ONCE)
    ranged = sort(sources, some, at_once)
    assert ranged.keys() == whole.keys() and len(whole) > 1
    for split, rows in ranged.items():
        assert rows.equals(whole[split])
        mine = sorted((e for e in left if e.problem.split == split), key=lambda e: e.id)
        assert from_table(order.without_keys(rows), Episode) == mine
    with pytest.raises(StoreError, match="two rows have the id"):
        sort([*sources, sources[1]], (), at_once)
    moved = replace(episodes[3], problem=replace(episodes[3].problem, split="elsewhere"))
    with pytest.raises(StoreError, match=f"two rows have the id '{moved.id}'"):
        sort([*sources, partial(order.keyed_table, [moved], Episode)], (), at_once)
    with pytest.raises(StoreError, match="9 rows were to be dropped, but 8 of those ids exist"):
        sort(sources, [*some, "nobody"], at_once)


def test_files_are_the_same_however_many_rows_are_sorted_at_once(
    tmp_path: Path, reference: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(order.sort.__kwdefaults__, "at_once", 3_000)
    assert tree(build(tmp_path, MADE, pieces=5, rows_per_shard=7).path) == reference


def test_a_disk_that_refuses_the_sorted_rows_is_told(tmp_path: Path) -> None:
    parts = commit(tmp_path / "work", [MADE[:20]])
    with (
        pytest.raises(StoreError, match=r"cannot sort the rows in .*work: disk full: free space"),
        parts.scratch(),
        open("/dev/full", "r+b", buffering=0) as full,
    ):
        order.sort(parts.sources("episodes", [0]), full, config="episodes", dropped=(), unique=True)


def test_parquet_has_checksums_an_index_and_no_times(tmp_path: Path) -> None:
    found = build(tmp_path, MADE)
    file = pq.ParquetFile(found.path / "data/sft/train-00000-of-00001.parquet")
    column = file.metadata.row_group(0).column(0)
    assert column.has_offset_index and column.has_column_index and column.compression == "ZSTD"
    assert set(file.metadata.metadata or {}) <= {b"ARROW:schema"}


def test_the_front_matter_names_every_split() -> None:
    text = configs_yaml({"episodes": {"train": 3}, "drops": {"train": 0}, "sft": {"test": 1, "train": 2}})
    assert text.startswith("configs:\n- config_name: sft\n  default: true\n  data_files:\n  - split: test\n")
    assert "    path: data/drops/train-*.parquet\n" in text
    assert "- config_name: drops\n  default: true" in configs_yaml({"sft": {}, "drops": {"train": 0}}, default="drops")
