"""An event loop in which time passes when nothing else can happen, and the order of what is ready is drawn.

It runs one callback at a time, so that a process can be killed, or told to stop, between any two of them. Threads are
calls that happen at one instant between two drawn delays. Connections lead into a simulated network.
"""

import asyncio
import heapq
import random
from collections.abc import Callable
from typing import Any, Protocol

EPOCH = 1_800_000_000.0
"""What the wall clock shows at first."""
STEP_SECONDS = 2e-5
"""What each callback takes."""
LONGEST = 20_000.0
"""Seconds of virtual time after which a life is taken to wait for ever."""


class Crash(BaseException):
    """The process is gone. Raised through everything; from then on it changes nothing."""


class Network(Protocol):
    """What connections lead to."""

    async def connect(self, loop: "SimLoop", address: tuple[str, int]) -> None:
        """Wait as long as it takes, or raise OSError."""
        ...

    def open(self, loop: "SimLoop", address: tuple[str, int], protocol: asyncio.Protocol) -> asyncio.Transport:
        """A connection whose other end is a server's."""
        ...


class Trace:
    """What happened, in order."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def note(self, now: float, what: str) -> None:
        """One event at the virtual time `now`."""
        self.lines.append(f"{now:.6f} {what}")


class Process:
    """One life of the program: when it is killed or stopped, and what its clocks show."""

    def __init__(self, draw: random.Random, trace: Trace, *, now: float = 0.0) -> None:
        self.draw, self.trace, self.now = draw, trace, now
        self.dies_at: int | None = None
        """The callback before which it is killed."""
        self.stops_at: int | None = None
        """The callback before which its main task is cancelled, as Ctrl-C does."""
        self.jumps_at: int | None = None
        """The callback before which its wall clock is set forward or back by an hour."""
        self.dead = self.stopped = False
        self.steps = 0
        self.died: Callable[[], None] = lambda: None
        """Called at the instant of death."""
        self._off = 0.0

    def note(self, what: str) -> None:
        self.trace.note(self.now, what)

    def clock(self) -> float:
        """Monotonic seconds."""
        return self.now

    def wall(self) -> float:
        """Seconds since 1970, as somebody set them."""
        return EPOCH + self.now + self._off

    def die(self, where: str) -> None:
        """Kill it here."""
        if not self.dead:
            self.note(f"killed {where}")
            self.dead = True
            self.died()
        raise Crash(where)

    def jump(self) -> None:
        """Set the wall clock."""
        self._off += self.draw.choice((-3600.0, 3600.0))
        self.note("the wall clock jumps")


class Task(asyncio.Task[Any]):
    """A task with a number of its own, so that a set of tasks has the same order in every process."""

    def __init__(self, coroutine: Any, *, loop: "SimLoop", context: Any = None) -> None:
        loop.tasks.append(self)
        self.number = len(loop.tasks)
        super().__init__(coroutine, loop=loop, context=context)

    def __hash__(self) -> int:
        return self.number


class SimLoop(asyncio.BaseEventLoop):
    """Seeded and single-threaded; made once a life by `errata.runners.job`."""

    def __init__(self, process: Process, network: Network) -> None:
        super().__init__()
        self.process, self.network = process, network
        self.tasks: list[Task] = []
        """All there ever were, so that none goes before its turn."""
        self.jobs = 0
        """Calls in threads that are under way."""
        self.complaints: list[str] = []
        """What asyncio would have logged: exceptions that nobody took, tasks destroyed while they waited."""
        self.left: list[str] = []
        """Tasks that still ran, uncancelled, when the program's main coroutine was done."""
        self._clock_resolution = 1e-9
        self._ends = process.now + LONGEST
        self._addresses: dict[int, tuple[str, int]] = {}
        self._main: asyncio.Task[Any] | None = None
        # As asyncio promises, or against a promise that no program should lean on.
        self._in_order = process.draw.random() < 0.25
        self.set_task_factory(lambda loop, coroutine, context=None: Task(coroutine, loop=self, context=context))
        self.set_exception_handler(lambda loop, context: self._complain(context))

    def time(self) -> float:
        """Virtual seconds."""
        return self.process.now

    def run_until_complete(self, future: Any) -> Any:
        """As ever; a dead process runs nothing."""
        if self.process.dead:
            if asyncio.iscoroutine(future):
                future.close()
            raise Crash("dead")
        first = self._main is None
        if first:
            self._main = future
        try:
            return super().run_until_complete(future)
        finally:
            if first and not self.process.dead:
                alive = (t for t in asyncio.all_tasks(self) if not t.done() and not t.cancelling())
                self.left = sorted(name(t) for t in alive if t is not future)

    def run_in_executor(self, executor: Any, function: Callable[..., Any], *args: Any) -> "asyncio.Future[Any]":
        """The call happens at one instant; a caller who gave up does not stop a call that has begun."""
        draw, future = self.process.draw, self.create_future()
        begun = draw.random() < 0.5
        self.jobs += 1

        def run() -> None:
            if future.cancelled() and not begun:
                self.jobs -= 1
                return
            try:
                result, error = function(*args), None
            except Exception as caught:
                result, error = None, caught
            self.call_later(self._a_while(), finish, result, error)

        def finish(result: Any, error: Exception | None) -> None:
            self.jobs -= 1
            if not future.done():
                if error is None:
                    future.set_result(result)
                else:
                    future.set_exception(error)

        self.call_later(self._a_while(), run)
        return future

    async def shutdown_default_executor(self) -> None:
        """Wait until every call has ended."""
        while self.jobs:  # noqa: ASYNC110  they end in virtual time
            await asyncio.sleep(0.001)

    async def sock_connect(self, sock: Any, address: Any) -> None:
        """Nothing is sent: the address alone counts."""
        await self.network.connect(self, address[:2])
        self._addresses[sock.fileno()] = address[:2]

    async def create_connection(self, protocol_factory: Callable[[], Any], **options: Any) -> Any:  # type: ignore[override]
        """A transport whose other end is in the simulated network."""
        sock = options["sock"]
        address = self._addresses.pop(sock.fileno())
        sock.close()
        protocol = protocol_factory()
        transport = self.network.open(self, address, protocol)
        protocol.connection_made(transport)
        return transport, protocol

    def _write_to_self(self) -> None:
        """There is no other thread to be woken by."""

    def _a_while(self) -> float:
        return self.process.draw.expovariate(1 / 0.003)

    def _complain(self, context: dict[str, Any]) -> None:
        if not self.process.dead:
            self.complaints.append(f"{context.get('message')}: {context.get('exception')!r}")

    def _run_once(self) -> None:
        process, ready, timers = self.process, self._ready, self._scheduled
        process.steps += 1
        if process.steps == process.dies_at:
            process.die("between two callbacks")
        if process.steps == process.jumps_at:
            process.jump()
        if process.steps == process.stops_at and self._main is not None and not self._main.done():
            process.note("told to stop")
            process.stopped = True
            self._main.cancel()
        process.now += STEP_SECONDS
        self._due(timers)
        while not ready:
            if not timers:
                raise AssertionError("nothing is left to happen, and the run has not ended: it waits for ever")
            process.now += max(0.0, timers[0]._when - self.time())
            self._due(timers)
        if process.now > self._ends:
            raise AssertionError("the run does not end")
        at = 0 if self._in_order else process.draw.randrange(len(ready))
        handle = ready[at]
        del ready[at]
        if not handle._cancelled:
            process.note(label(handle))
            handle._run()
        if process.dead:
            raise Crash("dead")

    def _due(self, timers: list[Any]) -> None:
        while timers and (timers[0]._cancelled or timers[0]._when <= self.time()):
            handle = heapq.heappop(timers)
            handle._scheduled = False
            if handle._cancelled:
                self._timer_cancelled_count -= 1
            else:
                self._ready.append(handle)


def label(handle: Any) -> str:
    """Whose turn it is."""
    callback = handle._callback
    owner = getattr(callback, "__self__", None)
    if isinstance(owner, Task):
        return name(owner)
    return str(getattr(callback, "__qualname__", type(callback).__name__))


def name(task: "asyncio.Task[Any]") -> str:
    """Its number and what it runs."""
    number = task.number if isinstance(task, Task) else "?"
    return f"task {number} {getattr(task.get_coro(), '__qualname__', '?')}"
