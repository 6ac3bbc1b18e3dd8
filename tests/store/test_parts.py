import os
import subprocess
import sys
from pathlib import Path

import pytest

from errata.errors import StoreError
from errata.records.types import Drop, Episode
from errata.store.files import Files, temporary
from errata.store.order import row_key
from errata.store.parts import Parts
from tests.store.support import TYPES, commit, make

MADE = [make(i) for i in range(12)]


def test_a_part_is_read_as_it_was_committed(tmp_path: Path) -> None:
    parts = commit(tmp_path, [MADE[:8], MADE[8:]])
    found = parts.done()
    assert list(found.parts) == [0, 1] and found.damaged == []
    assert found.parts[1].counts == {"episodes": 4}
    assert found.parts[0].files["sft"].rows == 8 and found.parts[0].files["dpo"].rows == 0
    assert list(parts.rows(0, "episodes")) == sorted((m.episode for m in MADE[:8]), key=lambda e: e.id)
    assert list(parts.rows(1, "sft")) == sorted((r for m in MADE[8:] for r in m.sft), key=lambda r: r.id)
    assert list(parts.rows(0, "drops")) == sorted((d for m in MADE[:8] for d in m.drops), key=row_key)
    assert parts.read(0, "sft").column_names[0] == "id"


def test_the_slower_worker_changes_nothing(tmp_path: Path) -> None:
    parts = commit(tmp_path, [MADE[:4]])
    before = {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*")}
    assert not parts.commit(0, [MADE[9].episode], [], {}, {})
    assert {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*")} == before
    slow = Parts(tmp_path, TYPES, Files(lambda operation, path: race(operation, path, tmp_path)))
    assert not slow.commit(1, [MADE[9].episode], [], {}, {})
    assert [e.id for e in parts.rows(1, "episodes")] == [MADE[8].episode.id]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["part-00000", "part-00001"]


def race(operation: str, path: Path, folder: Path) -> None:
    """Another worker commits part 1 just before this one claims it."""
    if operation == "claim":
        assert Parts(folder, TYPES).commit(1, [MADE[8].episode], [], {}, {})


@pytest.mark.parametrize("damage", ["flip", "truncate", "remove", "seal", "nothing"])
def test_a_damaged_part_is_told_and_made_again(tmp_path: Path, damage: str) -> None:
    parts = commit(tmp_path, [MADE[:4], MADE[4:]])
    file = tmp_path / "part-00001" / ("part.json" if damage == "seal" else "sft.arrow")
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= damage in ("flip", "seal")
    file.unlink() if damage == "remove" else file.write_bytes(data[:-1] if damage == "truncate" else data)
    found = parts.done()
    if damage == "nothing":
        assert list(found.parts) == [0, 1]
        return
    assert list(found.parts) == [0] and len(found.damaged) == 1
    assert "part 1 is made again" in found.damaged[0] and "\n" not in found.damaged[0]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["part-00000"]
    assert list(commit(tmp_path, [MADE[:4], MADE[4:]]).done().parts) == [0, 1]


def test_parts_of_other_columns_are_not_taken(tmp_path: Path) -> None:
    commit(tmp_path, [MADE])
    found = Parts(tmp_path, {"episodes": Episode, "drops": Drop}).done()
    assert not found.parts and "other configs or columns" in found.damaged[0]


def test_leftovers_of_the_dead_are_swept_and_those_of_the_living_are_not(tmp_path: Path) -> None:
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    mine = temporary(tmp_path / "part-00003")
    theirs = tmp_path / mine.name.replace(f"-{os.getpid()}-", f"-{dead.pid}-")
    mine.mkdir()
    theirs.mkdir()
    assert Parts(tmp_path, TYPES).done().parts == {}
    assert mine.exists() and not theirs.exists()


def test_what_cannot_be_stored_is_told(tmp_path: Path) -> None:
    parts = Parts(tmp_path, TYPES)
    with pytest.raises(StoreError, match="rows for kto, but the exports are sft, dpo"):
        parts.commit(0, [], [], {"kto": []}, {})
    with pytest.raises(StoreError, match=r"'\.\./x' cannot name a split"):
        problem = type(MADE[0].episode.problem)(id="p", messages=(), verifier="v", split="../x")
        parts.commit(0, [Episode(problem=problem)], [], {}, {})
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(StoreError, match="'episodes' of Episode"):
        Parts(tmp_path, {"episodes": Drop})
