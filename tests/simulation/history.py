"""The lives of one run on one disk, in a world whose every part can be put in another's place."""

import asyncio
import gc
import os
import random
import shutil
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from errata.engines.base import Reply
from errata.engines.journal import LASTING as LASTING_CODES
from errata.engines.journal import Entry, Journal
from errata.errors import EngineError, ErrataError
from errata.runners.job import Job, carry_out
from errata.runners.world import World
from errata.store.dataset import Finished
from errata.store.files import Files
from tests.simulation.disk import Disk, Plan
from tests.simulation.loop import Crash, Process, SimLoop, Trace
from tests.simulation.network import Servers, Weather
from tests.simulation.recipes import LASTING, InlinePool


class Violation(AssertionError):
    """What must hold does not; the message says how to see it again."""

    def __init__(self, message: str, trace: list[str]) -> None:
        super().__init__(message)
        self.trace = trace


class Promises:
    """Exchanges that the program was told are on disk, over all lives, and what was done against that."""

    def __init__(self) -> None:
        self.keys: set[str] = set()
        self.rotted: set[str] | None = None
        """Those that were on disk and that a rotten bit has damaged since; None where none rotted."""
        self.broken: list[str] = []


class WatchedJournal(Journal):
    """The journal, and a note of what it promised: what it was told to add, and what it was found to hold."""

    def __init__(self, folder: Path, *, promises: Promises, **options: Any) -> None:
        self.promises = promises
        super().__init__(folder, **options)

    async def add(self, key: str, request: bytes, outcome: Reply | EngineError) -> None:
        if key in self.promises.keys:
            self.promises.broken.append(f"I11: {key} was asked again after it was journaled")
        await super().add(key, request, outcome)
        self.promise(key, outcome)

    def find(self, key: str) -> Entry | None:
        entry = super().find(key)
        if entry is not None and (entry.error is None or entry.error[0] in LASTING_CODES):
            self.promises.keys.add(key)
        return entry

    def promise(self, key: str, outcome: Reply | EngineError) -> None:
        """Note that it is on disk, unless it may be asked again."""
        if isinstance(outcome, Reply) or outcome.code in LASTING_CODES:
            self.promises.keys.add(key)


@dataclass(frozen=True, kw_only=True)
class Made:
    """What the world is made of; a test that plants a fault puts another thing in a place."""

    loop: Callable[[Process, Servers], SimLoop] = SimLoop
    files: Callable[[Callable[[str, Path], None]], Files] = Files
    journal: Callable[..., WatchedJournal] = WatchedJournal
    pool: Callable[[random.Random], InlinePool] = InlinePool
    lies: Callable[[Path], bool] = lambda path: False
    """Whether the disk only says that it synced a path."""


class History:
    """The lives of one run. Its name tells the seed."""

    def __init__(self, name: str, folder: Path, made: Made) -> None:
        self.name, self.made = name, made
        self.trace = Trace()
        self.promises = Promises()
        self.servers = Servers(LASTING)
        self.lives = 0
        self.process = Process(random.Random(0), self.trace)
        self._folder = folder
        self._folder.mkdir()
        self.disk = Disk(self._folder / "root", self._folder / "aside", self.draw("disk"), lies=made.lies)

    def __enter__(self) -> "History":
        return self

    def __exit__(self, *_: object) -> None:
        """Make room for the next."""
        _close_files(self.disk.root)
        shutil.rmtree(self._folder)

    def draw(self, what: str) -> random.Random:
        """A stream of its own for each purpose."""
        return random.Random(f"{self.name} {self.lives} {what}")

    def live(
        self, job: Job, weather: Weather, plan: Plan, *, prepare: Callable[[Process], None] = lambda process: None
    ) -> Finished | BaseException:
        """One life, and how it ended."""
        self.lives += 1
        loops: list[SimLoop] = []
        process = self.process = Process(self.draw("order"), self.trace, now=self.process.now + 1)
        prepare(process)
        self.disk.begin(process, plan)
        self.servers.begin(self.draw("network"), weather)

        def loop() -> SimLoop:
            loops.append(self.made.loop(process, self.servers))
            return loops[-1]

        before = self.disk.before
        world = World(
            loop=loop,
            clock=process.clock,
            wall=process.wall,
            files=self.made.files(before),
            journal=partial(self.made.journal, promises=self.promises, before=before, wall=process.wall),
            pool=lambda: self.made.pool(self.draw("verdicts")),
        )
        with _seeded(f"{self.name} {self.lives} jitter"):
            try:
                ended: Finished | BaseException = carry_out(job, lambda *_: None, world)
            except (Crash, ErrataError, asyncio.CancelledError) as error:
                ended = error.with_traceback(None)
                ended.__cause__ = ended.__context__ = None
        process.note(f"ended: {type(ended).__name__}")
        if process.dead:
            _bury(loops, self.disk.root)
            self.disk.bury()
        else:
            self._is_clean(loops)
        return ended

    def _is_clean(self, loops: list[SimLoop]) -> None:
        """Who is not killed leaves nothing behind in memory."""
        for loop in loops:
            self.fail_if(*(f"a task is left over: {t}" for t in loop.left))
            self.fail_if(*(f"asyncio complains: {c}" for c in loop.complaints))
            self.fail_if(*(["a thread is at work yet"] if loop.jobs else []))
        self.fail_if(*(f"{Path(path).name} is open yet" for _, path in _open_files(self.disk.root)))

    def fail_if(self, *faults: str) -> None:
        """Raise Violation if there are any."""
        if found := [*self.promises.broken, *faults]:
            more = f" and {len(found) - 1} more" if found[1:] else ""
            raise self.violation(found[0] + more)

    def violation(self, what: str) -> Violation:
        """It, with how to see it again."""
        replay = f"replay it: python -m tests.simulation.run --{self.name} --trace"
        return Violation(f"{self.name}: {what}\n{replay}", self.trace.lines)


@contextmanager
def _seeded(name: str) -> Iterator[None]:
    """Python's shared generator, from which back-offs draw their jitter."""
    before = random.getstate()
    random.seed(name)
    try:
        yield
    finally:
        random.setstate(before)


def _bury(loops: list[SimLoop], root: Path) -> None:
    """What the kernel does with a dead process: its memory is gone, and its files are closed."""
    hook, sys.unraisablehook = sys.unraisablehook, lambda _: None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for task in (t for loop in loops for t in loop.tasks):
            _end(task.get_coro())
        gc.collect()
    sys.unraisablehook = hook
    _close_files(root)


def _end(coroutine: Any) -> None:
    """Let its clean-up, which no dead process would do, come to nothing now and not later."""
    for _ in range(10):
        try:
            coroutine.close()
        except BaseException:
            continue
        return


def _open_files(root: Path) -> list[tuple[int, str]]:
    found = []
    for fd in os.listdir("/proc/self/fd"):
        with suppress(OSError):
            path = os.readlink(f"/proc/self/fd/{fd}")
            if path.startswith(f"{root}/"):
                found.append((int(fd), path))
    return found


def _close_files(root: Path) -> None:
    for fd, _ in _open_files(root):
        os.close(fd)
