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
from errata.runners.episode import ours
from errata.runners.local import SELDOM, Progress, Worker
from errata.runners.plan import Plan
from errata.store.parts import Parts

PARTS_IN_FLIGHT = 2
"""Parts that a worker holds at once, so that the end of one does not leave its engine idle."""
RETRIES = 3
"""Times that a part may lose its worker, or a request its engine, before the run stops."""
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


def _first(error: Exception) -> str:
    """The first line of what Ray says, which can be many."""
    return str(error).strip().split("\n", 1)[0]


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
        """What the engine counts of itself."""
        return dict(getattr(self.engine, "stats", {}))

    async def close(self) -> None:
        await self.engine.close()


class RemoteEngine:
    """An engine that answers from its actor; what identifies it is known here."""

    def __init__(self, local: Engine, actor: str) -> None:
        import ray

        self._identity, self._seen, self._lost = local.identity, local.seen, ray.exceptions.RayActorError
        self._actor = ray.get_actor(actor) if actor else None

    @property
    def identity(self) -> Identity:
        return self._identity

    @property
    def seen(self) -> tuple[str, ...]:
        return self._seen

    async def generate(self, request: Request) -> Reply:
        if self._actor is None:
            raise EngineDown(f"a replay has no actor of {self.identity.model} to ask")
        try:
            answer = await self._actor.generate.remote(request)
        except self._lost as error:
            # Without this the death of an engine would be told as a fault of each stage that asked it.
            raise EngineDown(f"the actor of {self.identity.model} died {RETRIES + 1} times: {_first(error)}") from error
        if isinstance(answer, Told):
            _raise(answer)
        return answer

    async def close(self) -> None:
        """The driver closes the actor."""


class WorkerHost:
    """A worker in an actor of its own: runs parts, writes its own journal file, commits."""

    def __init__(
        self, recipe: Recipe, folder: str, work: str, journal: str, engines: dict[str, str], replay: bool
    ) -> None:
        """`engines` names the actor of each role: a handle would not outlast a restart."""
        gc.set_threshold(*SELDOM)
        plan = Plan(recipe, Path(folder))
        self.journal = Journal(Path(journal))
        made: dict[int, Journaled] = {}
        wrapped: dict[str, Journaled] = {}
        for role, engine in plan.engines().items():
            if id(engine) not in made:
                made[id(engine)] = Journaled(RemoteEngine(engine, engines.get(role, "")), self.journal, replay=replay)
            wrapped[role] = made[id(engine)]
        self.worker = Worker(plan, wrapped, Parts(Path(work), plan.types))

    async def part(self, index: int, episodes: bytes, drops: bytes) -> Told | None:
        """Run and commit a part; one that was lost with its worker finds its replies in the journal."""
        try:
            await self.worker.part(index, [*unpack(episodes, Episode), *unpack(drops, Drop)])
        except Exception as error:
            known = ours(error)
            if known is None:
                raise
            return _tell(known)
        return None

    async def look(self) -> Progress:
        """What the worker has done so far."""
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
        connect(address)
    try:
        driver = _Driver(ray, plan, parts, journal, replay=replay, workers=workers)
        return asyncio.run(driver.run(todo, watch))
    finally:
        if started:
            ray.shutdown()


def connect(address: str | None = None) -> None:
    """Reach the Ray at `address` or the variable RAY_ADDRESS, or start one of one node. Raises EngineDown.

    Ray gives a node 30 seconds to start, which a busy machine exceeds: so it is tried twice.
    """
    import ray

    address = address or os.environ.get("RAY_ADDRESS")
    paths = (str(Path(registry.__file__).parents[1]), os.environ.get("PYTHONPATH", ""))
    variables = {"PYTHONPATH": os.pathsep.join(p for p in paths if p)}
    for again in (True, False):
        try:
            ray.init(
                address=address or "local", include_dashboard=None if address else False, log_to_driver=False,
                logging_level=logging.ERROR, runtime_env={"env_vars": variables},
            )  # fmt: skip
            return
        except Exception as error:  # Ray raises plain exceptions too
            ray.shutdown()
            if not again:
                raise EngineDown(f"Ray could not be started or reached: {_first(error)}") from error


class _Driver:
    """Hands parts to workers and waits."""

    def __init__(self, ray: Any, plan: Plan, parts: Parts, journal: Path, *, replay: bool, workers: int) -> None:
        self.ray, self.plan = ray, plan
        self._run = f"errata-{os.getpid()}-{time.time_ns()}"
        self.names: dict[str, str] = {}
        """The name of each role's actor."""
        self.engines: dict[str, Any] = {}
        """The actors by their names, none for a replay."""
        if not replay:
            self._host_engines()
        folders = (str(plan.folder), str(parts.folder.resolve()), str(journal.resolve()))
        host = ray.remote(WorkerHost)
        self.workers = [
            host.options(
                name=f"{self._run}-worker-{i}", num_cpus=0, max_restarts=-1, max_task_retries=RETRIES,
                max_concurrency=64, scheduling_strategy="SPREAD",
            ).remote(plan.recipe, *folders, self.names, replay)
            for i in range(workers)
        ]  # fmt: skip

    def _host_engines(self) -> None:
        """One named actor for each engine; roles that name the same engine share it."""
        known: dict[str, str] = {}
        gpus = self.ray.cluster_resources().get("GPU")
        for role, spec in self.plan.recipe.engines.items():
            name = known.setdefault(canonical([spec.use, dict(spec.with_)]), f"{self._run}-{role}")
            self.names[role] = name
            if name not in self.engines:
                host = self.ray.remote(EngineHost).options(
                    name=name, num_cpus=0, num_gpus=spec.with_.get("tensor_parallel", 0) if gpus else 0,
                    max_restarts=-1, max_task_retries=RETRIES, max_concurrency=CALLS,
                )  # fmt: skip
                self.engines[name] = host.remote(spec.use, dict(spec.with_), str(self.plan.folder))

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
            stats = {role: await self.engines[name].stats.remote() for role, name in self.names.items()}
            await asyncio.gather(*(a.close.remote() for a in (*self.workers, *self.engines.values())))
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
        try:
            told = await self.workers[worker].part.remote(index, episodes, drops)
        except self.ray.exceptions.RayActorError as error:
            raise EngineDown(
                f"part {index} lost its worker {RETRIES + 1} times ({_first(error)}): see Ray's logs, mend the cause "
                "and run the same command again"
            ) from error
        if told is not None:
            _raise(told)

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
