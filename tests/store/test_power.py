"""Power is lost before each change on disk: what was promised is there, what is seen is whole, and the rest is made."""

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from errata.engines.journal import Journal, Journaled, unframe
from errata.errors import StoreError
from errata.store.audit import check_journal
from errata.store.check import check_dataset
from errata.store.files import Files
from errata.store.parts import Parts
from errata.store.reader import open_dataset
from tests.store.life import NAME, PROBLEMS, VERSION, Echo, key, live, reply, request
from tests.store.power import Disk, Point, lay
from tests.store.support import TYPES, Made, build, make, tree

SEEDS = 6


class Crash(BaseException):
    """The process is killed here."""


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    return tree(live(tmp_path_factory.mktemp("whole"), Echo()).path)


def ground(root: Path, older: bool) -> None:
    """An empty folder, or one that holds a version already."""
    root.mkdir()
    if older:
        build(root, [make(0)], version="0")


def promised_is_there(root: Path, point: Point, older: bool) -> tuple[int, int]:
    """What must hold of the files alone; returns how many replies the journal holds, and how many torn lines."""
    dataset = root / "out" / NAME
    for version in (p for p in dataset.glob("[!.]*") if p.is_dir()):
        assert check_dataset(version) == [], point.where
    try:
        assert open_dataset(dataset).path.name == VERSION or "version" not in point.promised, point.where
    except StoreError:
        assert not older and "version" not in point.promised, point.where
    if not (dataset / VERSION).exists():
        found = Parts(dataset / ".work", TYPES).done()
        assert found.damaged == [], point.where
        assert {f"part {i}" for i in found.parts} >= {p for p in point.promised if p.startswith("part")}, point.where
    journal = Journal(root / "out/journal")
    entries = {i: journal.find(key(i)) for i in range(PROBLEMS)}
    asyncio.run(journal.close())
    for i, entry in entries.items():
        assert entry is None or entry.reply == reply(i), point.where
        assert entry is not None or f"reply {i}" not in point.promised, point.where
    return sum(e is not None for e in entries.values()), journal.corrupted


@pytest.mark.long
@pytest.mark.parametrize(("older", "seeds"), [(False, SEEDS), (True, 3)], ids=["fresh", "older"])
def test_nothing_that_was_promised_is_lost_with_the_power(
    tmp_path: Path, older: bool, seeds: int, whole: dict[str, bytes]
) -> None:
    root = tmp_path / "root"
    ground(root, older)
    disk = Disk(root, seeds)
    torn = 0
    with disk.watching():
        live(root, Echo(), disk.before, disk.promised.add)
        disk.crash("at the end")
        for n, point in enumerate(disk.points):
            after = lay(point.tree, tmp_path / str(n))
            kept, counted = promised_is_there(after, point, older)
            torn += counted
            engine = Echo()
            assert tree(live(after, engine).path) == whole, point.where
            assert engine.asked <= PROBLEMS - kept, point.where
            assert open_dataset(after / "out" / NAME).path.name == VERSION
            assert not (after / "out" / NAME / ".work").exists()
    print(f"\n{disk.operations} changes, {len(disk.points)} outcomes, {torn} torn lines in the journal")


@pytest.mark.long
def test_what_a_killed_run_left_unsynced_is_made_durable_by_the_next(tmp_path: Path) -> None:
    """The one is killed before its k-th change, the other finishes, then power is lost."""
    made = [make(0)]
    outcomes = k = 0
    killed = True
    while killed:
        k += 1
        root = tmp_path / str(k)
        root.mkdir()
        disk = Disk(root, 3)
        with disk.watching():
            killed = not finished(root, made, Files(killing(k)))
            build(root, made, pieces=1)
            disk.forget()
            disk.crash(f"killed before change {k}")
        for n, point in enumerate(disk.points):
            after = lay(point.tree, tmp_path / f"{k}-{n}")
            assert open_dataset(after / "out" / NAME).path.name == VERSION, point.where
            assert check_dataset(after / "out" / NAME / VERSION) == [], point.where
            outcomes += 1
    assert k > 40
    print(f"\n{k - 1} changes, {outcomes} outcomes")


def killing(k: int) -> Callable[[str, Path], None]:
    left = iter(range(1, k))

    def before(operation: str, path: Path) -> None:
        if next(left, None) is None:
            raise Crash

    return before


def finished(root: Path, made: list[Made], files: Files) -> bool:
    try:
        build(root, made, pieces=1, files=files)
    except Crash:
        return False
    return True


def test_a_reply_that_a_killed_run_left_unsynced_is_durable_before_it_is_used(tmp_path: Path) -> None:
    root = tmp_path / "root"
    root.mkdir()
    disk = Disk(root, SEEDS)
    asyncio.run(ask(root / "journal", [1]))
    with disk.watching():
        assert asyncio.run(ask(root / "journal", [1])).asked == 0
        disk.crash("after use")
    for n, point in enumerate(disk.points):
        journal = Journal(lay(point.tree, tmp_path / str(n)) / "journal")
        assert (entry := journal.find(key(1))) is not None and entry.reply == reply(1), point.where
        asyncio.run(journal.close())


def test_a_journal_that_was_torn_tells_what_it_was_told_and_counts_the_rest(tmp_path: Path) -> None:
    root = tmp_path / "root"
    root.mkdir()
    disk = Disk(root, 60)
    requests = range(12)
    torn = rescued = 0
    with disk.watching():
        asyncio.run(ask(root / "journal", requests, disk, at_once=3))
        for n, point in enumerate(disk.points):
            folder = lay(point.tree, tmp_path / str(n)) / "journal"
            journal = Journal(folder)
            found = {f"reply {i}" for i in requests if (e := journal.find(key(i))) is not None and e.reply == reply(i)}
            asyncio.run(journal.close())
            lines = b"".join(p.read_bytes() for p in folder.glob("*")).splitlines(keepends=True)
            whole = sum(unframe(line) is not None for line in lines)
            assert found >= point.promised and len(found) == len(journal), point.where
            assert journal.corrupted == len(lines) - whole, point.where
            assert check_journal(folder) == [], point.where
            torn += journal.corrupted
            rescued += len(found - point.promised)
            assert asyncio.run(ask(folder, requests)).asked == len(requests) - len(found), point.where
    assert torn > 20 and rescued > 20
    print(f"\n{disk.operations} changes, {len(disk.points)} outcomes, {torn} torn lines")


async def ask(folder: Path, requests: Sequence[int], disk: Disk | None = None, at_once: int = 1) -> Echo:
    """Ask these requests, some at once, through the journal in `folder`; the engine that was asked for the others."""
    engine = Echo()
    journal = Journal(folder, flush_seconds=0, **({"before": disk.before} if disk else {}))
    journaled = Journaled(engine, journal)

    async def one(i: int) -> None:
        assert (await journaled.generate(request(i)))[1] == reply(i)
        if disk:
            disk.promised.add(f"reply {i}")

    for i in range(0, len(requests), at_once):
        await asyncio.gather(*map(one, requests[i : i + at_once]))
    await journal.close()
    return engine
