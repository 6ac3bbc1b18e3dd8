"""The Ray runner: worker actors that take parts, engines as named actors, and a driver that hands out and waits.

Ray executes at least once, and nothing here depends on more: replies are durable in the journal before they are used,
a part commits by rename, and Ray runs a part whose worker died again, in a new worker that has read the journal. Ray
Data is not used: its blocks starve an engine. Where no address is given, a Ray of one node is started and ended with
the run.
"""

import asyncio
import gc
import logging
import os
import platform
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

import pyarrow as pa
import ray
from ray.exceptions import ActorDiedError, RayActorError

from errata import registry
from errata.engines.base import Load
from errata.engines.journal import Journal, Journaled
from errata.errors import EngineDown, StoreError
from errata.memory import pool
from errata.objects import Location, locate
from errata.recipe.spec import Recipe
from errata.records.arrow import from_table, to_table
from errata.records.ids import canonical
from errata.records.types import Drop, Episode
from errata.runners.drain import drained
from errata.runners.episode import ours
from errata.runners.local import SELDOM, Worker
from errata.runners.options import Options
from errata.runners.plan import Plan
from errata.runners.progress import Progress
from errata.runners.ray_engines import RemoteEngine, Told, first_line, guard, host, raise_told, tell
from errata.store.parts import Parts

SOON = 2.0
"""Seconds in which an actor says how it gets on, or is left out of the account."""
PARTS_IN_FLIGHT = 2
"""Parts that a worker holds at least, so that the end of one does not leave its engine idle."""
CLOSING_SECONDS = 30.0
"""In which actors may close what they hold; then they are ended."""
RETRIES = 3
"""Times that a part may lose its worker before the run stops."""


Answer = TypeVar("Answer")


class WorkerHost:
    """A worker in an actor of its own: runs parts, writes its own journal file, commits."""

    def __init__(
        self, recipe: Recipe, folder: str, work: str, journal: str, engines: dict[str, list[str]], replay: bool
    ) -> None:
        """`engines` names the replicas of each role: a handle would not outlast a restart."""
        gc.set_threshold(*SELDOM)
        seen = locate(work)
        self._blind = work if isinstance(seen, Path) and not seen.is_dir() else ""
        plan = Plan(recipe, Path(folder))
        self.journal = Journal(locate(journal))
        made: dict[int, Journaled] = {}
        wrapped: dict[str, Journaled] = {}
        for role, engine in plan.engines().items():
            if id(engine) not in made:
                actors = [ray.get_actor(name) for name in engines.get(role, ())]
                made[id(engine)] = Journaled(RemoteEngine(engine, actors), self.journal, replay=replay)
            wrapped[role] = made[id(engine)]
        self.worker = Worker(plan, wrapped, Parts(locate(work), plan.types))

    async def part(self, index: int, episodes: bytes, drops: bytes) -> Told | None:
        """Run and commit a part; one that was lost with its worker finds its replies in the journal."""
        if self._blind:
            node = platform.node()
            return tell(StoreError(f"node {node} sees no {self._blind}: --out must lie where all nodes see it"))
        try:
            await self.worker.part(index, [*unpack(episodes, Episode), *unpack(drops, Drop)])
        except Exception as error:
            known = ours(error)
            if known is None:
                raise
            return tell(known)
        return None

    async def ending(self) -> None:
        """No part will follow those that were given."""
        self.worker.ending()

    async def look(self) -> Progress:
        """What the worker has done so far."""
        return self.worker.look()

    async def drain(self) -> None:
        """Ask no engine anything more."""
        await self.worker.drain()

    async def busy(self) -> int:
        """Requests that have been asked for and are not in the journal yet."""
        return await self.worker.busy()

    async def close(self) -> None:
        await self.worker.close()
        await self.journal.close()


def pack(rows: list[Any], record: type) -> bytes:
    """Records as an Arrow stream."""
    table = to_table(rows, record)
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return sink.getvalue().to_pybytes()  # type: ignore[no-any-return]


def unpack(data: bytes, record: type) -> list[Any]:
    """The inverse of `pack`."""
    return from_table(pa.ipc.open_stream(data).read_all(), record)


def run_ray(
    plan: Plan, parts: Parts, journal: Location, todo: Iterator[tuple[int, list[Episode | Drop]]], options: Options,
    watch: Callable[[Progress], None],
) -> dict[str, Any]:  # fmt: skip
    """Run parts on Ray actors; returns what `run.json` says of the engines."""
    started = not ray.is_initialized()
    if started:
        connect(options.address)
    try:
        driver = _Driver(plan, parts, journal, replay=options.replay, workers=options.workers)
        return asyncio.run(driver.run(todo, watch, options.grace))
    finally:
        if started:
            ray.shutdown()


def connect(address: str | None = None) -> None:
    """Reach the Ray at `address` or the variable RAY_ADDRESS, or start one of one node. Raises EngineDown.

    Ray gives a node 30 seconds to start, which a busy machine exceeds: so it is tried twice.
    """
    address = address or os.environ.get("RAY_ADDRESS")
    paths = (str(Path(registry.__file__).parents[1]), os.environ.get("PYTHONPATH", ""))
    variables = {"PYTHONPATH": os.pathsep.join(p for p in paths if p), **pool()}
    more: dict[str, Any] = {"address": address, "runtime_env": {"env_vars": variables}}
    if not address:
        # Ray starts a process for each CPU ahead of need. Two are soon the workers; but only where they have the
        # environment as it is, for which of others each has its own processes.
        os.environ |= variables
        more = {"address": "local", "include_dashboard": False, "num_cpus": 2}
    for again in (True, False):
        try:
            ray.init(log_to_driver=False, logging_level=logging.ERROR, **more)
            return
        except Exception as error:  # Ray raises plain exceptions too
            ray.shutdown()
            if not again:
                raise EngineDown(f"Ray could not be started or reached: {first_line(error)}") from error


class _Driver:
    """Hands parts to workers and waits."""

    def __init__(self, plan: Plan, parts: Parts, journal: Location, *, replay: bool, workers: int) -> None:
        self.plan = plan
        self._run = f"errata-{os.getpid()}-{time.time_ns()}"
        self.names: dict[str, list[str]] = {}
        """The names of each role's replicas."""
        self.engines: dict[str, Any] = {}
        """The replicas' actors by their names, none for a replay."""
        self.patience: dict[str, float] = {}
        """Seconds in which a replica with work has to finish some of it, by its name."""
        if not replay:
            self._host_engines()
        folders = (str(plan.folder), str(parts.folder.resolve()), str(journal.resolve()))
        worker = ray.remote(WorkerHost)
        self._seen = [Progress()] * workers
        self._lost = Progress()
        """What workers had done that were lost."""
        self.workers: list[Any] = [
            worker.options(
                name=f"{self._run}-worker-{i}", num_cpus=0, max_restarts=-1, max_task_retries=0,
                max_concurrency=64, scheduling_strategy="SPREAD", enable_task_events=False,
            ).remote(plan.recipe, *folders, self.names, replay)
            for i in range(workers)
        ]  # fmt: skip

    def _host_engines(self) -> None:
        """Named actors for each engine; roles that name the same engine share them."""
        known: dict[str, list[str]] = {}
        has_gpus = bool(ray.cluster_resources().get("GPU"))  # type: ignore[no-untyped-call]
        for role, spec in self.plan.recipe.engines.items():
            key = canonical([spec.use, dict(spec.with_)])
            names = known.setdefault(key, [])
            self.names[role] = names
            gpus = spec.with_.get("tensor_parallel", 0) if spec.gpus is None else spec.gpus
            for i in range(len(names), spec.replicas):
                name = f"{self._run}-{role}-{i}"
                names.append(name)
                self.patience[name] = spec.patience
                folder = str(self.plan.folder)
                self.engines[name] = host(name, spec.use, spec.with_, folder, gpus=gpus if has_gpus else 0)

    async def run(
        self, todo: Iterator[tuple[int, list[Episode | Drop]]], watch: Callable[[Progress], None], grace: float
    ) -> dict[str, Any]:
        """Run all parts; returns what `run.json` says of the engines."""
        watching = [asyncio.create_task(self._report(watch))]
        watching += [asyncio.create_task(guard(a, self.patience[n])) for n, a in self.engines.items()]
        try:
            await drained(self._parts(todo), self, grace)
            watching[0].cancel()  # of two looks at once the older may end last
            watch(await self._look())
            return {role: await self._stats(names) for role, names in self.names.items()}
        finally:
            for task in watching:
                task.cancel()
            closing = (a.close.remote() for a in (*self.workers, *self.engines.values()))
            with suppress(TimeoutError):
                await asyncio.wait_for(asyncio.gather(*closing, return_exceptions=True), CLOSING_SECONDS)

    async def _parts(self, todo: Iterator[tuple[int, list[Episode | Drop]]]) -> None:
        """Hand out the parts, each to a worker that holds few."""
        waiting: dict[asyncio.Task[None], int] = {}
        most = max(PARTS_IN_FLIGHT, -(-self.plan.recipe.concurrency // self.plan.recipe.part_size))
        try:
            for number, (index, items) in enumerate(todo):
                while len(waiting) >= most * len(self.workers):
                    await self._one(waiting)
                held = list(waiting.values())
                worker = min(range(len(self.workers)), key=lambda w: (held.count(w), (w - number) % len(self.workers)))
                waiting[asyncio.create_task(self._part(worker, index, items))] = worker
            # One that is told too late, or never, merely foresees less.
            await self._answers([w.ending.remote() for w in self.workers], bool)
            while waiting:
                await self._one(waiting)
        finally:
            for task in waiting:
                task.cancel()

    async def drain(self) -> None:
        """Ask no engine anything more."""
        actors = (*self.workers, *self.engines.values())
        await asyncio.gather(*(a.drain.remote() for a in actors), return_exceptions=True)

    async def busy(self) -> int:
        """Requests that engines work on or whose replies are on their way to the journal."""
        under_way = await self._answers([w.busy.remote() for w in self.workers], int)
        return max(0, sum(under_way) - sum(load.waiting for load in await self._loads()))

    async def _loads(self) -> list[Load]:
        return await self._answers([e.load.remote() for e in self.engines.values()], Load)

    async def _answers(self, asked: list[Any], kind: type[Answer]) -> list[Answer]:
        """What actors say that can say it soon: some may be starting, hang or be dead."""

        async def one(answer: Any) -> Any:
            return await asyncio.wait_for(answer, SOON)

        found = await asyncio.gather(*map(one, asked), return_exceptions=True)
        return [f for f in found if isinstance(f, kind)]

    async def _stats(self, names: list[str]) -> dict[str, Any]:
        """What the replicas count of themselves, added up; one that died has forgotten."""
        total: Counter[str] = Counter()
        for found in await self._answers([self.engines[n].stats.remote() for n in names], dict):
            total.update(found)
        return dict(total)

    async def _one(self, waiting: dict[asyncio.Task[None], int]) -> None:
        done, _ = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            del waiting[task]
            task.result()

    async def _part(self, worker: int, index: int, items: list[Episode | Drop]) -> None:
        episodes = pack([i for i in items if isinstance(i, Episode)], Episode)
        drops = pack([i for i in items if isinstance(i, Drop)], Drop)
        for left in reversed(range(RETRIES + 1)):
            try:
                told = await self.workers[worker].part.remote(index, episodes, drops)
                break
            except RayActorError as error:
                if not left:
                    raise EngineDown(
                        f"part {index} lost its worker {RETRIES + 1} times ({first_line(error)}): see Ray's logs, mend "
                        "the cause and run the same command again"
                    ) from error
                await self._back(worker)
        if told is not None:
            raise_told(told)

    async def _back(self, worker: int) -> None:
        """Wait until Ray has started a worker again, on another node if its own is gone."""
        while True:
            try:
                await self.workers[worker].look.remote()
                return
            except ActorDiedError:
                return  # for good, as asking it once more will tell
            except RayActorError:
                await asyncio.sleep(1.0)

    async def _look(self) -> Progress:
        async def one(worker: int, asked: Any) -> None:
            for now in await self._answers([asked], Progress):
                if now.requests < (before := self._seen[worker]).requests:
                    self._lost += before  # it was started again, and counts anew
                self._seen[worker] = now

        await asyncio.gather(*(one(i, w.look.remote()) for i, w in enumerate(self.workers)))
        total = sum(self._seen, self._lost)
        loads = await self._loads()
        here = Load(total.running, total.waiting, total.room)
        total.running, total.waiting, total.room = (sum(each) for each in zip(here, *loads, strict=True))
        return total

    async def _report(self, watch: Callable[[Progress], None]) -> None:
        while True:
            await asyncio.sleep(1.0)
            watch(await self._look())
