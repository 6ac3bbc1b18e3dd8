"""Every operation of the journal on disk is made to fail, one run each: one error, nothing lost, the next completes."""

import asyncio
import errno
import os
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from errata.engines.journal import Journal, Journaled
from errata.errors import StoreError
from tests.engines.test_journal import Scripted, files, opened, request

WAVES = (range(3), range(3, 6), range(6, 9))
ALL = [i for wave in WAVES for i in wave]
FAULTS = {"full": OSError(errno.ENOSPC, "No space left"), "broken": OSError(errno.EIO, "Input/output error")}


def quiet(operation: str, path: Path) -> None:
    """No operation fails."""


def run(folder: Path, engine: Scripted, before: Callable[[str, Path], None] = quiet) -> dict[int, Any]:
    """What became of the requests, three at a time and one flush for each three: the text of a reply or the error."""

    async def main() -> dict[int, Any]:
        found: dict[int, Any] = {}
        journal = Journal(folder, flush_seconds=0.003, before=before)
        journaled = Journaled(engine, journal)
        try:
            for wave in WAVES:
                asked = (journaled.generate(request(i)) for i in wave)
                found |= zip(wave, await asyncio.gather(*asked, return_exceptions=True), strict=True)
        finally:
            await journal.close()
        return {i: f if isinstance(f, BaseException) else f[1].text for i, f in found.items()}

    return asyncio.run(main())


def mended(folder: Path, first: dict[int, Any]) -> int:
    """Whatever was acknowledged is not asked again, and nothing is missing; returns how many were asked again."""
    engine = Scripted()
    assert run(folder, engine) == {i: f"answer {i}" for i in ALL}
    lost = {i for i, f in first.items() if isinstance(f, BaseException)}
    assert set(engine.asked) <= lost and len(engine.asked) == len(set(engine.asked))
    return len(engine.asked)


def one_error(found: dict[int, Any], *words: str) -> None:
    errors = {id(f): f for f in found.values() if isinstance(f, BaseException)}
    (error,) = errors.values()
    assert isinstance(error, StoreError) and "\n" not in str(error)
    assert all(word in str(error) for word in (*words, "run the same command again"))


class Failing:
    """The k-th operation fails, and is noted; so is what comes after it."""

    def __init__(self, k: int, fault: OSError) -> None:
        self.k, self.fault = k, fault
        self.seen: list[str] = []

    def __call__(self, operation: str, path: Path) -> None:
        self.seen.append(operation)
        if len(self.seen) == self.k:
            raise self.fault


def open_below(folder: Path) -> list[str]:
    """Files there that this process has open."""
    handles = (Path("/proc/self/fd") / name for name in os.listdir("/proc/self/fd"))
    paths = [os.readlink(h) for h in handles if h.is_symlink()]
    return [p for p in paths if p.startswith(f"{folder}/")]


@pytest.mark.parametrize("name", FAULTS)
def test_whatever_fails_the_run_stops_and_the_next_one_completes(tmp_path: Path, name: str) -> None:
    failed: Counter[str] = Counter()
    k = 0
    while True:
        k += 1
        folder = tmp_path / str(k) / "journal"
        failing = Failing(k, FAULTS[name])
        engine = Scripted()
        found = run(folder, engine, failing)
        if len(failing.seen) < k:
            assert found == {i: f"answer {i}" for i in ALL}
            break
        failed[failing.seen[-1]] += 1
        assert len(failing.seen) == k, "after a failure nothing is tried again"
        assert not open_below(folder)
        one_error(found, FAULTS[name].args[1])
        assert mended(folder, found) <= len(ALL)
        # A flush that was done stays done; the one that failed, and what came after it, was told so to each.
        whole = failing.seen[: k - 1].count("write") - (failing.seen[-1] == "fsync" and "write" in failing.seen)
        assert [i for i, f in found.items() if isinstance(f, str)] == ALL[: 3 * whole]
    assert failed.keys() == {"mkdir", "create", "write", "fsync"} and failed["write"] == len(WAVES)


def test_a_failure_while_another_journal_is_made_durable_is_told(tmp_path: Path) -> None:
    run(tmp_path, Scripted())
    for k in range(1, 4):
        with pytest.raises(StoreError, match=r"cannot be made durable \(Input/output error\)"):
            run(tmp_path, Scripted(), Failing(k, FAULTS["broken"]))
    engine = Scripted()
    run(tmp_path, engine, Failing(4, FAULTS["broken"]))
    assert engine.asked == []


def test_a_failed_sync_is_fatal_and_what_it_may_have_lost_is_taken_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a failed sync the kernel may serve from memory what is not on disk, and the next sync may succeed."""
    real, calls = os.fsync, Counter[str]()

    def fsync(handle: int) -> None:
        path = os.readlink(f"/proc/self/fd/{handle}")
        calls[path] += 1
        if path.endswith(".jsonl") and calls[path] == 2:
            raise OSError(errno.EIO, "Input/output error")
        real(handle)

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", fsync)
        found = run(tmp_path, Scripted())
    assert [i for i, f in found.items() if isinstance(f, str)] == list(WAVES[0])
    one_error(found, "Input/output error")
    (path,) = files(tmp_path)
    assert calls[str(path)] == 2, "it is never tried again on the same file"
    with opened(tmp_path) as journal:
        assert (len(journal), journal.corrupted) == (3, 0)
    assert mended(tmp_path, found) == 6


@pytest.mark.parametrize("most", [1, 7, 100])
def test_a_disk_that_takes_a_little_at_a_time_gets_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, most: int
) -> None:
    real = os.write
    with monkeypatch.context() as patch:
        patch.setattr(os, "write", lambda handle, data: real(handle, bytes(data[:most])))
        found = run(tmp_path, Scripted())
    assert mended(tmp_path, found) == 0
    with opened(tmp_path) as journal:
        assert journal.corrupted == 0


def test_a_disk_that_fills_up_within_a_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.write
    run(tmp_path / "whole", Scripted())
    size = files(tmp_path / "whole")[0].stat().st_size
    torn = 0
    for room in range(0, size, 61):
        folder, left = tmp_path / str(room), room

        def write(handle: int, data: memoryview) -> int:
            nonlocal left
            if not os.readlink(f"/proc/self/fd/{handle}").endswith(".jsonl"):
                return real(handle, data)
            if not left:
                raise OSError(errno.ENOSPC, "No space left")
            written = real(handle, bytes(data[:left]))
            left -= written
            return written

        with monkeypatch.context() as patch:
            patch.setattr(os, "write", write)
            found = run(folder, Scripted())
        one_error(found, "No space left")
        with opened(folder) as journal:
            torn += journal.corrupted
            assert journal.corrupted <= 1 and len(journal) == exchanges(files(folder)[0])
        # A whole line that nobody was told of is not asked again: it is there.
        assert mended(folder, found) == len(ALL) - exchanges(min(files(folder)))
    assert torn > 20


def exchanges(path: Path) -> int:
    """Whole lines of exchanges."""
    return sum(line.endswith(b"\n") and b'{"k":' in line for line in path.read_bytes().splitlines(True))


def test_a_fault_of_another_kind_leaves_nobody_waiting(tmp_path: Path) -> None:
    def broken(operation: str, path: Path) -> None:
        raise RuntimeError("what nobody foresaw")

    one_error(run(tmp_path, Scripted(), broken), "RuntimeError: what nobody foresaw")
