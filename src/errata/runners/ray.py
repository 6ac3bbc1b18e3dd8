"""The Ray runner: worker actors that take parts, engines as named actors, and a driver that hands out and waits.

Ray executes at least once, and nothing here depends on more: replies are durable in the journal before they are used,
a part commits by rename, and a part whose worker died is run again from the journal. Ray Data is not used: its blocks
starve an engine. Where no address is given, a Ray of one node is started and ended with the run.
"""

import asyncio
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from errata import registry
from errata.engines.base import Engine, Identity, Reply, Request
from errata.engines.journal import Journal, Journaled
from errata.errors import EngineDown, EngineError, ErrataError, MissingExtra, StoreError
from errata.recipe.spec import Recipe
from errata.records.arrow import from_table, to_table
from errata.records.ids import canonical
from errata.records.types import Drop, Episode
from errata.runners.local import Progress, Worker
from errata.runners.plan import Plan
from errata.store.parts import Parts

PARTS_IN_FLIGHT = 2
"""Parts that a worker holds at once, so that the end of one does not leave its engine idle."""
TRIES = 3
"""Times that a part may lose its worker before the run stops."""
CALLS = 4096
"""Requests that an engine's actor takes at once; the engine itself decides how many run."""


@dataclass(frozen=True, slots=True)
class Told:
    """What crosses between actors in place of an exception: its kind, code and text."""

    kind: str
    code: str
    text: str


def _tell(error: ErrataError) -> Told:
    kind = "down" if isinstance(error, EngineDown) else "engine" if isinstance(error, EngineError) else "store"
    return Told(kind, getattr(error, "code", ""), str(error))


def _raise(told: Told) -> None:
    if told.kind == "engine":
        raise EngineError(told.code, told.text)
    raise (EngineDown if told.kind == "down" else StoreError)(told.text)


class EngineHost:
    """An engine in an actor of its own."""

    def __init__(self, use: str, with_: dict[str, Any], folder: str) -> None:
        self.engine: Engine = registry.find("engine", use, Path(folder)).make(**with_)

    async def generate(self, request: Request) -> Reply | Told:
        try:
            return await self.engine.generate(request)
        except ErrataError as error:
            return _tell(error)

    async def stats(self) -> dict[str, Any]:
        return dict(getattr(self.engine, "stats", {}))

    async def close(self) -> None:
        await self.engine.close()


class RemoteEngine:
    """An engine that answers from its actor; what identifies it is known here."""

    def __init__(self, local: Engine, actor: Any) -> None:
        self._identity, self._seen, self._actor = local.identity, local.seen, actor

    @property
    def identity(self) -> Identity:
        return self._identity

    @property
    def seen(self) -> tuple[str, ...]:
        return self._seen

    async def generate(self, request: Request) -> Reply:
        answer = await self._actor.generate.remote(request)
        if isinstance(answer, Told):
            _raise(answer)
        return answer  # type: ignore[no-any-return]

    async def close(self) -> None:
        """The driver closes the actor."""


class WorkerHost:
    """A worker in an actor of its own: runs parts, writes its own journal file, commits."""

    def __init__(
        self, recipe: Recipe, folder: str, work: str, journal: str, engines: dict[str, Any], replay: bool
    ) -> None:
        plan = Plan(recipe, Path(folder))
        self.journal = Journal(Path(journal))
        made: dict[int, Journaled] = {}
        wrapped: dict[str, Journaled] = {}
        for role, engine in plan.engines().items():
            if id(engine) not in made:
                made[id(engine)] = Journaled(RemoteEngine(engine, engines.get(role)), self.journal, replay=replay)
            wrapped[role] = made[id(engine)]
        self.worker = Worker(plan, wrapped, Parts(Path(work), plan.types))

    async def part(self, index: int, episodes: bytes, drops: bytes, again: bool) -> Told | None:
        """Run and commit a part; one that lost its worker before finds its replies in the journal."""
        if again:
            self.journal.refresh()
        try:
            await self.worker.part(index, [*unpack(episodes, Episode), *unpack(drops, Drop)])
        except ErrataError as error:
            return _tell(error)
        except BaseExceptionGroup as group:
            found = group.subgroup(ErrataError)
            while isinstance(found, BaseExceptionGroup):
                found = found.exceptions[0]  # type: ignore[assignment]
            if isinstance(found, ErrataError):
                return _tell(found)
            raise
        return None

    async def look(self) -> Progress:
        return self.worker.look()

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
    plan: Plan, parts: Parts, journal: Path, todo: Iterator[tuple[int, list[Episode | Drop]]], *,
    replay: bool, workers: int, watch: Callable[[Progress], None], address: str | None = None,
) -> dict[str, Any]:  # fmt: skip
    """Run parts on Ray actors; returns what `run.json` says of the engines."""
    try:
        import ray
    except ImportError as error:
        raise MissingExtra("ray", "ray", "--runner ray") from error
    started = not ray.is_initialized()
    if started:
        paths = os.pathsep.join(
            p for p in (str(Path(registry.__file__).parents[1]), os.environ.get("PYTHONPATH", "")) if p
        )
        ray.init(
            address=address or "local", include_dashboard=False, log_to_driver=False, configure_logging=False,
            runtime_env={"env_vars": {"PYTHONPATH": paths}},
        )  # fmt: skip
    try:
        driver = _Driver(ray, plan, parts, journal, replay=replay, workers=workers)
        return asyncio.run(driver.run(todo, watch))
    finally:
        if started:
            ray.shutdown()


class _Driver:
    """Hands parts to workers and waits; a part whose worker died goes to a living one."""

    def __init__(self, ray: Any, plan: Plan, parts: Parts, journal: Path, *, replay: bool, workers: int) -> None:
        self.ray, self.plan = ray, plan
        self.engines = {} if replay else self._host_engines()
        host = ray.remote(WorkerHost).options(num_cpus=0, max_restarts=-1, max_concurrency=64)
        self.workers = [
            host.remote(
                plan.recipe, str(plan.folder), str(parts.folder.resolve()), str(journal.resolve()), self.engines, replay
            )
            for _ in range(workers)
        ]

    def _host_engines(self) -> dict[str, Any]:
        """One named actor for each engine; roles that name the same engine share it."""
        actors: dict[str, Any] = {}
        made: dict[str, Any] = {}
        for role, spec in self.plan.recipe.engines.items():
            key = canonical([spec.use, dict(spec.with_)])
            if key not in made:
                gpus = spec.with_.get("tensor_parallel", 0) if self.ray.cluster_resources().get("GPU") else 0
                made[key] = (
                    self.ray.remote(EngineHost)
                    .options(
                        name=f"errata-{role}-{os.getpid()}-{time.time_ns()}", num_cpus=0, num_gpus=gpus,
                        max_restarts=-1,
                        max_task_retries=TRIES, max_concurrency=CALLS,
                    )
                    .remote(spec.use, dict(spec.with_), str(self.plan.folder))
                )  # fmt: skip
            actors[role] = made[key]
        return actors

    async def run(
        self, todo: Iterator[tuple[int, list[Episode | Drop]]], watch: Callable[[Progress], None]
    ) -> dict[str, Any]:
        waiting: dict[asyncio.Task[None], int] = {}
        reporter = asyncio.create_task(self._report(watch))
        try:
            for number, (index, items) in enumerate(todo):
                while len(waiting) >= PARTS_IN_FLIGHT * len(self.workers):
                    await self._one(waiting)
                held = list(waiting.values())
                worker = min(range(len(self.workers)), key=lambda w: (held.count(w), (w - number) % len(self.workers)))
                waiting[asyncio.create_task(self._part(worker, index, items))] = worker
            while waiting:
                await self._one(waiting)
            watch(await self._look())
            stats = {role: await actor.stats.remote() for role, actor in self.engines.items()}
            await asyncio.gather(
                *(w.close.remote() for w in self.workers), *(a.close.remote() for a in set(self.engines.values()))
            )
            return stats
        finally:
            reporter.cancel()
            for task in waiting:
                task.cancel()

    async def _one(self, waiting: dict[asyncio.Task[None], int]) -> None:
        done, _ = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            del waiting[task]
            task.result()

    async def _part(self, worker: int, index: int, items: list[Episode | Drop]) -> None:
        episodes = pack([i for i in items if isinstance(i, Episode)], Episode)
        drops = pack([i for i in items if isinstance(i, Drop)], Drop)
        for attempt in range(TRIES):
            actor = self.workers[(worker + attempt) % len(self.workers)]
            try:
                told = await actor.part.remote(index, episodes, drops, attempt > 0)
            except self.ray.exceptions.RayActorError:
                continue
            if told is not None:
                _raise(told)
            return
        raise EngineDown(
            f"part {index} lost its worker {TRIES} times; see Ray's logs, mend the cause and run the same command again"
        )

    async def _look(self) -> Progress:
        total = Progress()
        for found in await asyncio.gather(*(w.look.remote() for w in self.workers), return_exceptions=True):
            if isinstance(found, Progress):
                for name, value in asdict(found).items():
                    setattr(total, name, getattr(total, name) + value)
        return total

    async def _report(self, watch: Callable[[Progress], None]) -> None:
        while True:
            await asyncio.sleep(1.0)
            watch(await self._look())
