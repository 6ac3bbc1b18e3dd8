"""The local runner: one process, one event loop, thousands of episodes in flight."""

import asyncio
import gc
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack, contextmanager
from typing import Any

from errata.engines.base import Load
from errata.engines.journal import Journal, Journaled
from errata.environments.hosts import Worlds
from errata.records.types import Drop, Episode
from errata.runners.context import Tools
from errata.runners.drain import drained
from errata.runners.episode import Ended, run_episode
from errata.runners.options import Options
from errata.runners.part import finish_part
from errata.runners.plan import Plan
from errata.runners.progress import Progress
from errata.store.parts import Parts
from errata.verifiers.pool import Judges, Pool

MILLION = 1_000_000
UNCOMMITTED = 3
"""Parts that have ended and are not committed when no other part is begun any more."""
LOOK_SECONDS = 0.5
"""Between two looks at a run's progress."""


class Worker:
    """Runs parts: episodes of several parts at once, so that a straggler leaves no slot of the engine empty."""

    def __init__(
        self, plan: Plan, engines: dict[str, Journaled], parts: Parts, *, pool: Callable[[], Judges] = Pool
    ) -> None:
        self.plan, self.engines, self.parts = plan, engines, parts
        self.progress = Progress()
        self._pool = pool()
        self._worlds = Worlds(plan.folder)
        self._tools = Tools(plan, engines, self._pool, self._worlds)
        self._room = asyncio.Semaphore(plan.recipe.concurrency)
        self._ended = asyncio.Semaphore(UNCOMMITTED)
        self._committing = asyncio.Lock()

    async def run(self, work: Iterator[tuple[int, list[Episode | Drop]]]) -> None:
        """Run and commit the parts of `work`; the first failure stops all, and what is committed stays."""
        async with asyncio.TaskGroup() as group:
            for index, items in work:
                # Room for one more episode means that the engine is about to run dry of the parts before. Where replies
                # come faster than parts are committed, as from a journal, the parts that have ended must wait in line.
                async with self._room, self._ended:
                    pass
                group.create_task(self._finish(index, items, await self._start(group, items)))
            self.ending()

    async def part(self, index: int, items: list[Episode | Drop]) -> None:
        """Run and commit one part."""
        async with asyncio.TaskGroup() as group:
            await self._finish(index, items, await self._start(group, items))

    async def _start(self, group: asyncio.TaskGroup, items: list[Episode | Drop]) -> "list[asyncio.Task[Ended]]":
        """Start the episodes as room allows; returns when the last one has begun."""
        tasks = []
        for item in items:
            if isinstance(item, Episode):
                await self._room.acquire()
                tasks.append(group.create_task(self._episode(item)))
        return tasks

    async def _episode(self, episode: Episode) -> Ended:
        try:
            ended = await run_episode(self.plan, self._tools, episode)
            self.progress.episodes += 1
            self.progress.calls += sum(p.made.get("requests", 0) for p in ended.passages)
            return ended
        finally:
            self._room.release()

    async def _finish(self, index: int, items: list[Episode | Drop], started: "list[asyncio.Task[Ended]]") -> None:
        ended = [await task for task in started]
        async with self._ended, self._committing:
            done = await asyncio.to_thread(finish_part, self.plan, items, ended)
            await asyncio.to_thread(self.parts.commit, index, done.episodes, done.drops, done.rows, done.counts)
        self.progress.parts += 1
        self.progress.rows += sum(len(rows) for rows in done.rows.values())

    def ending(self) -> None:
        """No part will follow those that were given."""
        self._tools.foresight.ending = True

    def look(self) -> Progress:
        """The progress, with what the engines count."""
        p = self.progress
        roles = {id(e): role for role, e in reversed(self.engines.items())}
        engines = self._distinct()
        p.requests, p.reused = sum(e.asked for e in engines), sum(e.hits for e in engines)
        p.prompt_tokens = sum(e.prompt_tokens for e in engines)
        p.completion_tokens = sum(e.completion_tokens for e in engines)
        p.corrupted = engines[0].journal.corrupted if engines else 0
        loads = [getattr(e.engine, "load", None) or Load(e.running, 0, 0) for e in engines]
        p.running, p.waiting, p.room = (sum(each) for each in zip(Load(0, 0, 0), *loads, strict=True))
        prices = [(e, self.plan.recipe.engines[roles[id(e)]].price) for e in engines]
        p.cost = sum(e.prompt_tokens * c.prompt + e.completion_tokens * c.completion for e, c in prices) / MILLION
        return p

    def _distinct(self) -> list[Journaled]:
        """Each engine once, whatever roles it plays."""
        return list({id(e): e for e in self.engines.values()}.values())

    async def drain(self) -> None:
        """Ask no engine anything more."""
        for engine in self._distinct():
            engine.draining = True
            getattr(engine.engine, "drain", bool)()

    async def busy(self) -> int:
        """Requests that engines work on or whose replies are on their way to the journal."""
        waiting = sum(load.waiting for e in self._distinct() if (load := getattr(e.engine, "load", None)))
        under_way: int = sum(e.running for e in self._distinct()) - waiting
        return max(0, under_way)

    async def close(self) -> None:
        await self._pool.close()
        await self._worlds.close()


SELDOM = (100_000, 50, 100)
"""Thresholds of the collector of cycles. Records have none, and with Python's own thresholds it walked all episodes in
flight again and again, in vain, for a fifth of a run's CPU time."""


@contextmanager
def few_collections() -> Iterator[None]:
    """Let the collector of cycles run seldom."""
    before = gc.get_threshold()
    gc.set_threshold(*SELDOM)
    try:
        yield
    finally:
        gc.set_threshold(*before)


def journaled(plan: Plan, journal: Journal, *, replay: bool) -> dict[str, Journaled]:
    """Each role's engine behind the journal; roles that share an engine share its count."""
    made: dict[int, Journaled] = {}
    return {role: made.setdefault(id(e), Journaled(e, journal, replay=replay)) for role, e in plan.engines().items()}


async def run_local(  # noqa: PLR0913  all that one run has
    plan: Plan, parts: Parts, journal: Journal, todo: Iterator[tuple[int, list[Episode | Drop]]], options: Options,
    watch: Callable[[Progress], None], pool: Callable[[], Judges] = Pool,
) -> dict[str, Any]:  # fmt: skip
    """Run parts in this process; returns what `run.json` says of the engines."""
    engines = journaled(plan, journal, replay=options.replay)
    worker = Worker(plan, engines, parts, pool=pool)

    async def report() -> None:
        while True:
            watch(worker.look())
            await asyncio.sleep(LOOK_SECONDS)

    async with AsyncExitStack() as ends:  # all of it, also where a run is told to stop while it ends
        ends.push_async_callback(journal.close)
        for engine in {id(e): e.engine for e in engines.values()}.values():
            ends.push_async_callback(engine.close)
        ends.push_async_callback(worker.close)
        ends.callback(lambda: watch(worker.look()))
        ends.callback(asyncio.create_task(report()).cancel)
        with few_collections():
            await drained(worker.run(todo), worker, options.grace)
    return {role: getattr(e.engine, "stats", {}) for role, e in engines.items()}
