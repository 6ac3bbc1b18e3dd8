"""What a worker sends to replicas: so many requests at once, the most urgent first, and none for ever to a dead one."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from errata.engines.base import Reply, Request
from errata.engines.oracle import Oracle
from tests.engines.test_journal import reply
from tests.engines.test_journal import request as numbered

pytest.importorskip("ray")
from ray.exceptions import ActorUnavailableError

from errata.runners.ray_engines import AT_ONCE, RemoteEngine


class Call:
    """A method of an actor."""

    def __init__(self, remote: Callable[..., Any]) -> None:
        self.remote = remote


class Replica:
    """What a handle to an engine's actor offers; it answers, and dies, when it is told to."""

    def __init__(self, *, up: bool = True) -> None:
        self.held: list[tuple[Request, asyncio.Future[Reply]]] = []
        self.told: list[Request] = []
        self._ready = asyncio.Event()
        self.generate, self.pulse = Call(self._generate), Call(self._ready.wait)
        if up:
            self.come_up()

    def come_up(self) -> None:
        self._ready.set()

    async def _generate(self, request: Request) -> Reply:
        self.told.append(request)
        self.held.append((request, asyncio.get_running_loop().create_future()))
        return await self.held[-1][1]

    def answer(self) -> None:
        """All that is asked at present."""
        held, self.held = self.held, []
        for request, answer in held:
            answer.set_result(reply(str(request.seed)))

    def die(self) -> None:
        """Take all that is asked at present along, and do not come back."""
        self._ready.clear()
        held, self.held = self.held, []
        for _, answer in held:
            answer.set_exception(ActorUnavailableError("dead", b"0" * 16))


async def asked(engine: RemoteEngine, requests: list[Request]) -> "list[asyncio.Task[Reply]]":
    """Requests that have gone as far as they can."""
    tasks = [asyncio.create_task(engine.generate(request)) for request in requests]
    await settled()
    return tasks


async def settled() -> None:
    for _ in range(30):
        await asyncio.sleep(0)


async def until(condition: Callable[[], bool]) -> None:
    """What wakes by a timer comes late on a busy machine."""
    async with asyncio.timeout(60):
        while not condition():  # noqa: ASYNC110  any condition
            await asyncio.sleep(0.01)


async def whole(engine: RemoteEngine, tasks: "list[asyncio.Task[Reply]]", *replicas: Replica) -> None:
    """Answer until all have their own reply."""
    while not all(task.done() for task in tasks):
        for replica in replicas:
            replica.answer()
        await settled()
    assert [task.result().text for task in tasks] == [str(i) for i in range(len(tasks))]
    await engine.close()


def urgent(i: int, urgency: float) -> Request:
    return Request(messages=numbered(i).messages, sampling=numbered(i).sampling, seed=i, urgency=urgency)


def test_a_worker_sends_so_many_at_once_and_of_the_others_the_most_urgent_first() -> None:
    async def main() -> None:
        replica = Replica()
        engine = RemoteEngine(Oracle(), [replica])
        tasks = await asked(engine, [urgent(i, float(i > AT_ONCE + 5)) for i in range(AT_ONCE + 10)])
        assert len(replica.held) == AT_ONCE and engine.load.waiting == 10
        replica.answer()
        await settled()
        assert [r.seed - AT_ONCE for r in replica.told[AT_ONCE:]] == [6, 7, 8, 9, 0, 1, 2, 3, 4, 5]
        await whole(engine, tasks, replica)

    asyncio.run(main())


def test_those_who_wait_go_to_a_replica_that_comes_up_and_leave_one_that_dies() -> None:
    async def main() -> None:
        early, late = Replica(), Replica(up=False)
        engine = RemoteEngine(Oracle(), [early, late])
        tasks = [asyncio.create_task(engine.generate(numbered(i))) for i in range(3 * AT_ONCE)]
        await until(lambda: len(early.held) >= AT_ONCE)  # the first waits for the others, but not for long
        await settled()
        assert len(early.held) == AT_ONCE and not late.held
        late.come_up()
        await until(lambda: len(late.held) >= AT_ONCE)
        assert len(late.held) == AT_ONCE and engine.load.waiting == AT_ONCE
        late.die()
        await until(lambda: not late.held)  # nothing is sent to the dead
        await whole(engine, tasks, early)

    asyncio.run(main())


def test_a_drained_worker_sends_nothing_more() -> None:
    async def main() -> None:
        replica = Replica()
        engine = RemoteEngine(Oracle(), [replica])
        tasks = await asked(engine, [numbered(i) for i in range(AT_ONCE + 3)])
        engine.drain()
        replica.answer()
        await settled()
        assert not replica.held and engine.load.waiting == 3 and sum(task.done() for task in tasks) == AT_ONCE
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await engine.close()

    asyncio.run(main())
