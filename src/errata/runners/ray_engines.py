"""Engines as Ray actors: each engine as one or more replicas that outlive their deaths.

A worker asks the replica that holds a request's prefix, unless that one is busier than the others. When a replica dies,
Ray starts it again, and what it was working on is asked again - one request at a time, because one of them may be what
killed it. A request that was there at three deaths is given up; the rest goes on. A replica that hangs without dying is
found by the driver, which watches whether anything gets finished, and is killed so that it starts anew.
"""

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import Any, NamedTuple

import ray
from ray.exceptions import ActorDiedError, RayActorError

from errata import registry
from errata.engines.admission import Admission, TurnedAway
from errata.engines.base import Engine, Identity, Load, Reply, Request
from errata.engines.router import Router
from errata.errors import EngineDown, EngineError, ErrataError, StoreError

DEATHS = 3
"""Deaths of a replica that a request may be there at before it is given up as their cause."""
HOPELESS = 12
"""Deaths of an engine's replicas without a single reply in between after which it is taken to be broken."""
_CALLS = 65_536
"""Requests that a replica's actor takes at once: whatever workers send."""
AT_ONCE = 512
"""Requests that a worker sends a replica at once where the engine does not say how many it takes. The others wait in
the worker, the most urgent first, and can still go elsewhere; a call that waits in the actor takes 90 kB there."""
_TOGETHER = 2.0
"""Seconds that the first replica to come up waits for the others, so that it is not sent everything."""
_LOST = 30
"""Times, a second apart, that a replica may be told to be dead for good before that is believed."""
_LOOK_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Told:
    """What crosses between actors in place of an exception: its kind, code and text."""

    kind: str
    code: str
    text: str


class Pulse(NamedTuple):
    """What a replica says of itself: requests under way, and requests finished so far."""

    running: int
    finished: int


def tell(error: ErrataError) -> Told:
    """The error as data."""
    kind = "down" if isinstance(error, EngineDown) else "engine" if isinstance(error, EngineError) else "store"
    return Told(kind, getattr(error, "code", ""), str(error))


def raise_told(told: Told) -> None:
    """Raise the error that was told."""
    if told.kind == "engine":
        raise EngineError(told.code, told.text)
    raise (EngineDown if told.kind == "down" else StoreError)(told.text)


def first_line(error: Exception) -> str:
    """The first line of what Ray says, which can be many."""
    return str(error).strip().split("\n", 1)[0]


class EngineHost:
    """One replica: an engine in an actor of its own."""

    def __init__(self, use: str, with_: dict[str, Any], folder: str) -> None:
        self.engine: Engine = registry.find("engine", use, Path(folder)).make(**with_)
        self._running = self._finished = 0

    async def generate(self, request: Request) -> Reply | Told:
        """The engine's reply, or what it raised."""
        self._running += 1
        try:
            return await self.engine.generate(request)
        except ErrataError as error:
            return tell(error)
        finally:
            self._running -= 1
            self._finished += 1

    async def pulse(self) -> Pulse:
        """Whether the replica lives and gets on."""
        return Pulse(self._running, self._finished)

    async def load(self) -> Load:
        """What the engine has to do."""
        return getattr(self.engine, "load", None) or Load(self._running, 0, 0)

    async def drain(self) -> None:
        """Let the engine begin nothing more."""
        getattr(self.engine, "drain", bool)()

    async def stats(self) -> dict[str, Any]:
        """What the engine counts of itself."""
        return dict(getattr(self.engine, "stats", {}))

    async def close(self) -> None:
        """Let go of what the engine holds."""
        await self.engine.close()


def host(name: str, use: str, with_: Mapping[str, Any], folder: str, *, gpus: float) -> Any:
    """Start one replica as the actor `name`; the death of an actor fails its calls, which whoever asked repeats."""
    actor = ray.remote(EngineHost).options(
        name=name, num_cpus=0, num_gpus=gpus, max_restarts=-1, max_task_retries=0, max_concurrency=_CALLS,
        enable_task_events=False,  # Ray would keep a record of every call, in its head
    )  # fmt: skip
    return actor.remote(use, dict(with_), folder)


class RemoteEngine:
    """An engine that answers from its replicas; what identifies it is known here."""

    def __init__(self, local: Engine, actors: Sequence[Any]) -> None:
        """`actors` are the replicas' handles, none for a replay."""
        self._identity, self._seen = local.identity, local.seen
        self._replicas = list(actors)
        most = getattr(local, "at_once", 0) * 5 // 4 or AT_ONCE
        self._gates = [Admission(most=most, start=most) for _ in actors]
        self._router = Router(max(1, len(actors)))
        for replica in range(len(actors)):
            self._router.lost(replica)
        self._awaited = False
        self._suspects = asyncio.Semaphore(1)
        self._coming: dict[int, asyncio.Task[None]] = {}
        self._gone: set[int] = set()
        self._deaths = 0

    @property
    def identity(self) -> Identity:
        return self._identity

    @property
    def seen(self) -> tuple[str, ...]:
        return self._seen

    @property
    def load(self) -> Load:
        """Requests that wait here; of the others the replicas tell, which several workers share."""
        return Load(0, sum(gate.waiting for gate in self._gates), 0)

    def drain(self) -> None:
        """Send the replicas nothing more."""
        for gate in self._gates:
            gate.shut()

    async def generate(self, request: Request) -> Reply:
        """The reply of one replica. Raises EngineError `engine_death` for a request that replicas die of."""
        if not self._replicas:
            raise EngineDown(f"a replay has no actor of {self.identity.model} to ask")
        for death in range(DEATHS):
            async with self._suspects if death else nullcontext():
                answer = await self._once(request)
            if isinstance(answer, Told):
                raise_told(answer)
            if isinstance(answer, Reply):
                self._deaths = 0
                return answer
        raise EngineError("engine_death", f"{DEATHS} times the engine {self.identity.model} died with this request")

    async def close(self) -> None:
        """The driver closes the actors."""
        for task in self._coming.values():
            task.cancel()

    async def _once(self, request: Request) -> Reply | Told | None:
        """What a replica answers, or None if it died; one that has not answered yet, e.g. for want of a node, waits."""
        if not self._awaited:
            self._awaited = True
            self._coming = {r: asyncio.create_task(self._comes_back(r)) for r in range(len(self._replicas))}
        while True:
            await self._up()
            replica = self._router.pick(request)
            try:
                return await self._asked(replica, request)
            except TurnedAway:
                pass
            finally:
                self._router.done(replica)

    async def _up(self) -> None:
        """Wait until a replica can be asked."""
        while len(self._coming) + len(self._gone) >= len(self._replicas):
            if not self._coming:
                raise EngineDown(f"no replica of {self.identity.model} is left: see Ray's logs, mend the cause")
            await asyncio.wait(self._coming.values(), return_when=asyncio.FIRST_COMPLETED)
            if self._coming:
                await asyncio.wait(self._coming.values(), timeout=_TOGETHER)

    async def _asked(self, replica: int, request: Request) -> Reply | Told | None:
        """What this replica answers, or None if it died. Raises TurnedAway if that was before it was asked."""
        gate = self._gates[replica]
        await gate.enter(urgency=request.urgency)
        try:
            answer: Reply | Told = await self._replicas[replica].generate.remote(request)
            return answer
        except RayActorError as error:
            self._died(replica, error)
            return None
        finally:
            gate.leave()

    def _died(self, replica: int, error: RayActorError) -> None:
        """Ask this replica no more until it has come back; told by every request that it died with."""
        if replica in self._coming or replica in self._gone:
            return
        self._deaths += 1
        if self._deaths >= HOPELESS:
            raise EngineDown(
                f"the engine {self.identity.model} died {self._deaths} times without a reply ({first_line(error)}): "
                "see Ray's logs, mend the cause"
            ) from error
        self._router.lost(replica)
        self._gates[replica].turn_away()
        self._coming[replica] = asyncio.create_task(self._comes_back(replica))

    async def _comes_back(self, replica: int) -> None:
        """Wait until Ray has started the replica again, or tells for good that it will not."""
        dead = 0
        while dead < _LOST:
            try:
                await self._replicas[replica].pulse.remote()
                self._router.back(replica)
                for gate in self._gates:
                    gate.turn_away()  # some of those who wait elsewhere now go here
                break
            except RayActorError as error:
                dead += isinstance(error, ActorDiedError)
                await asyncio.sleep(1.0)
        else:
            self._gone.add(replica)
        del self._coming[replica]


async def guard(actor: Any, patience: float) -> None:
    """Kill a replica that has had work for `patience` seconds and finished none of it; Ray starts it again."""
    while True:
        # Before it first answers it may be loading a model, which takes as long as it takes. Workers send it no work
        # before it has answered them either, so that it cannot hang unmet.
        try:
            last, since = await actor.pulse.remote(), monotonic()
        except RayActorError:
            await asyncio.sleep(1.0)
            continue
        while monotonic() - since <= patience:
            await asyncio.sleep(min(_LOOK_SECONDS, patience / 4))
            try:
                pulse = await asyncio.wait_for(actor.pulse.remote(), patience / 4)
            except TimeoutError:
                pulse = Pulse(1, last.finished)
            except RayActorError:
                break
            if not pulse.running or pulse.finished != last.finished:
                since = monotonic()
            last = pulse
        else:
            ray.kill(actor, no_restart=False)
