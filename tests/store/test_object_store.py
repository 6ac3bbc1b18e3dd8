"""Parts and versions on an object store: the bytes are those of a disk, and nothing is seen before it is whole."""

import gc
import os
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest

from errata import objects
from errata.errors import StoreError
from errata.objects import ObjectPath
from errata.store.check import check_dataset
from errata.store.dataset import published
from errata.store.files import Files
from errata.store.parts import Parts, pack, unpack
from errata.store.reader import open_dataset
from tests.objects import Store
from tests.store.support import TYPES, build, commit, make, tree

MADE = [make(i) for i in range(6)]
VERSION = "1.0-0123456789ab"


@pytest.fixture(autouse=True)
def disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the local disk's temporary files go."""
    folder = tmp_path / "tmp"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


def content(folder: ObjectPath) -> dict[str, bytes]:
    return {name: (folder / name).read_bytes() for name in objects.tree(folder)}


def left(disk: Path) -> list[str]:
    gc.collect()
    return [p.name for p in disk.glob("*/*")]


def test_a_version_is_byte_for_byte_that_of_a_disk(s3: Store, tmp_path: Path, disk: Path) -> None:
    local, made = build(tmp_path, MADE), build(s3.root, MADE)  # type: ignore[arg-type]
    assert isinstance(made.path, ObjectPath) and made.new and made.manifest == local.manifest
    assert content(made.path) == tree(tmp_path / "out/sums" / VERSION)
    assert (s3.root / "out/sums/LATEST").read_text() == f"{VERSION}\n"
    assert check_dataset(s3.root / "out/sums") == [] and check_dataset(str(made.path)) == []
    found = open_dataset(f"{s3.prefix}/out/sums")
    assert list(found.rows("episodes")) == list(open_dataset(tmp_path / "out/sums").rows("episodes"))
    first = next(iter(found.rows("episodes")))
    assert found.episode(first.id[:9]) == first
    assert left(disk) == []


def test_the_manifest_comes_last_and_only_the_pointer_after_it(s3: Store) -> None:
    build(s3.root, MADE)  # type: ignore[arg-type]
    version = f"{s3.root.name}/out/sums/{VERSION}"
    parts = [f"{s3.root.name}/parts/part-0000{i}.tar" for i in (0, 1)]
    files = sorted(f"{version}/{name}" for name in objects.tree(s3.root / "out/sums" / VERSION))
    files.remove(f"{version}/_manifest/manifest.json")
    assert s3.writes() == [*parts, *files, f"{version}/_manifest/manifest.json", f"{s3.root.name}/out/sums/LATEST"]


@pytest.mark.long
def test_whichever_write_fails_there_is_no_version_or_a_whole_one(s3: Store, tmp_path: Path, disk: Path) -> None:
    few = MADE[:1]
    whole = tree(build(tmp_path, few, pieces=1).path)  # type: ignore[arg-type]
    build(s3.root / "all", few, pieces=1)  # type: ignore[arg-type]
    writes = s3.writes()
    manifest = next(i for i, path in enumerate(writes) if path.endswith("manifest.json"))

    def broken_after(k: int) -> Callable[[str, str], bool]:
        seen = 0

        def refuse(method: str, path: str) -> bool:
            nonlocal seen
            seen += method == "PUT"
            return method == "PUT" and seen > k

        return refuse

    for k in range(len(writes)):
        root = s3.root / str(k)
        s3.refuse = broken_after(k)
        with pytest.raises(StoreError, match=r"cannot (put|claim) s3://.*: Access Denied: mend that and run the same"):
            build(root, few, pieces=1)  # type: ignore[arg-type]
        assert left(disk) == []
        assert (published(root / "out", "sums", VERSION) is not None) == (k > manifest), k
        if k > manifest:
            assert check_dataset(root / "out/sums" / VERSION) == []
        else:
            with pytest.raises(StoreError, match=r"no dataset at|no version is in it"):
                open_dataset(root / "out/sums")
        s3.refuse = lambda method, path: False
        assert content(build(root, few, pieces=1).path) == whole  # type: ignore[arg-type]
        assert open_dataset(root / "out/sums").path == root / "out/sums" / VERSION


def test_what_a_dead_run_left_of_another_cut_is_gone(s3: Store) -> None:
    version = s3.root / "out/sums" / VERSION
    (version / "data/sft/train-00001-of-00002.parquet").put(b"of an older attempt")
    assert published(s3.root / "out", "sums", VERSION) is None
    build(s3.root, MADE)  # type: ignore[arg-type]
    assert check_dataset(version) == []


def test_a_version_that_exists_is_never_written_again(s3: Store) -> None:
    build(s3.root, MADE)  # type: ignore[arg-type]
    before = content(s3.root / "out/sums" / VERSION)
    s3.seen.clear()
    again = build(s3.root, MADE[:2])  # type: ignore[arg-type]
    assert not again.new and content(s3.root / "out/sums" / VERSION) == before
    assert not [path for path in s3.writes() if VERSION in path]


def test_who_comes_too_late_to_publish_changes_nothing(s3: Store, tmp_path: Path) -> None:
    """Another run may publish between the look at what is there and the first write."""
    for name in ("data", "last", "more"):
        (s3.root / "v" / name).put(b"theirs")
    (tmp_path / "made").mkdir()
    for name in ("data", "last"):
        (tmp_path / "made" / name).write_bytes(b"mine")
    assert not Files().publish(tmp_path / "made", s3.root / "v", "last")
    assert content(s3.root / "v") == dict.fromkeys(("data", "last", "more"), b"theirs")
    (s3.root / "v/last").remove()
    assert Files().publish(tmp_path / "made", s3.root / "v", "last")
    assert content(s3.root / "v") == dict.fromkeys(("data", "last"), b"mine")


@pytest.mark.parametrize("conditional", [True, False])
def test_of_two_writers_of_a_part_each_row_is_one_s(s3: Store, conditional: bool) -> None:
    """Also where a store cannot refuse the slower one, a part is the whole of what one of them wrote."""
    s3.conditional = conditional
    one, two = Parts(s3.root / "work", TYPES), Parts(s3.root / "work", TYPES)
    slower: list[bool] = []

    def both(operation: str, path: object) -> None:
        if operation == "claim" and not slower:
            slower.append(False)
            assert one.commit(0, [MADE[0].episode], [], {}, {"of": 1})

    two.files._before = both
    assert two.commit(0, [MADE[1].episode], [], {}, {"of": 2}) == (not conditional)
    found = Parts(s3.root / "work", TYPES)
    whose = found.done().parts[0].counts["of"]
    assert whose == (1 if conditional else 2)
    assert list(found.rows(0, "episodes")) == [MADE[whose - 1].episode]
    assert not one.commit(0, [MADE[2].episode], [], {}, {})


@pytest.mark.parametrize("damage", [lambda data: data[:5000], lambda data: data[:99], lambda data: b""])
def test_a_damaged_part_is_told_removed_and_made_again(s3: Store, damage: Callable[[bytes], bytes]) -> None:
    commit(s3.root, [MADE[:3], MADE[3:]])  # type: ignore[arg-type]
    tar = s3.root / "part-00001.tar"
    tar.put(damage(tar.read_bytes()))
    parts = Parts(s3.root, TYPES)
    found = parts.done()
    assert list(found.parts) == [0] and len(found.damaged) == 1 and "part 1 is made again" in found.damaged[0]
    assert not tar.exists()
    assert commit(s3.root, [MADE[:3], MADE[3:]]).done().damaged == []  # type: ignore[arg-type]
    assert list(parts.done().parts) == [0, 1]


def test_a_flipped_byte_is_found_in_every_object(s3: Store) -> None:
    version = build(s3.root, MADE[:1]).path  # type: ignore[arg-type]
    for name, data in content(version).items():  # type: ignore[arg-type]
        place = len(data) // 2
        (version / name).put(data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :])  # type: ignore[union-attr]
        faults = check_dataset(version)
        assert faults and all(name.rpartition("/")[2] in fault for fault in faults[:1]), name
        (version / name).put(data)  # type: ignore[union-attr]
    (version / "data/sft/train-00000-of-00001.parquet").remove()  # type: ignore[union-attr]
    assert "data/sft/train-00000-of-00001.parquet: missing" in check_dataset(version)


def test_an_archive_holds_files_and_nothing_else(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "a").write_bytes(b"1")
    (folder / "b").write_bytes(b"")
    data = pack(folder)
    assert pack(folder) == data
    unpack(data, tmp_path / "again")
    assert tree(tmp_path / "again") == tree(folder)
    unpack(data.replace(b"a\0", b"/\0"), tmp_path / "odd")
    assert tree(tmp_path / "odd").keys() <= {"b"}


def test_what_a_dead_process_left_on_this_disk_is_swept(s3: Store, disk: Path) -> None:
    child = os.fork()
    if child == 0:
        Parts(s3.root, TYPES)._local.mkdir()
        os._exit(0)
    os.waitpid(child, 0)
    assert len(left(disk)) == 1
    Parts(s3.root, TYPES)
    assert left(disk) == []


def test_anothers_folder_is_not_used(s3: Store, disk: Path) -> None:
    (disk / f"errata-{os.getuid()}").symlink_to(disk)
    with pytest.raises(StoreError, match="is not this user's folder: name another by TMPDIR"):
        Parts(s3.root, TYPES)
