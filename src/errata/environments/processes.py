"""Sessions of worlds in processes of their own: a world may be slow, large or broken, and costs its own episode alone.

One process serves many sessions, one call at a time, each with a deadline that starts when the process does. A session
is its task and its actions, so it outlives its world: a process that hangs, dies, floods or answers nonsense is killed;
the session whose call that was is replayed once in a fresh one, and its second failure is a WorldError. All others are
replayed when they are next touched, which costs them time only. So are sessions that made room for others, forks, and
those of a process that had grown too large. A replay must give what was seen before, or the world is nonsense.
"""

import asyncio
import itertools
import json
from collections.abc import Sequence
from typing import Any, Literal

import msgspec
from msgspec import Struct

from errata.environments.answers import Question
from errata.environments.base import Turn
from errata.errors import ErrataError, WorldError
from errata.pipes import START_LIMIT, Fault, Lost, Process, unreadable
from errata.records.types import Task

PROCESSES = 2
"""Started when first needed."""

DEADLINE = 60.0
"""Seconds for each thing that a world is asked: a gold path of ScienceWorld genetics, the
slowest that is known, takes half of it on a busy machine."""

LIVE = 128
"""Sessions whose worlds one process holds at most; a class of heavy worlds may say less (`live`)."""

MEMORY = 2 << 30
"""Bytes of a process and its children above which it is replaced before its next session. Twice as much in the middle
of a call is a MemoryError in the world."""


class _Reply(Struct, frozen=True, forbid_unknown_fields=True):
    """What a process says: a value, or why there is none (see errata.environments.worker)."""

    value: Any = None
    gone: bool = False
    error: str = ""
    fault: Fault | None = None
    why: str = ""
    large: bool = False


class _Opened(Struct, frozen=True):
    first: str = ""
    turns: tuple[Turn, ...] = ()
    refused: str = ""


class _Gone(Exception):
    """The process does not hold the session's world, or not any more."""


KINDS: dict[Question, Any] = {
    "valid_actions": tuple[str, ...],
    "gold_actions": tuple[str, ...] | None,
    "distance": float | Literal["inf"] | None,
    "checks": dict[str, bool],
}
"""What answers each question, in JSON's types."""


class _Host:
    """A place for one process at a time. Who asks it holds `lock`."""

    def __init__(self, deadline: float, live: int, memory: int) -> None:
        self._deadline, self._arguments = deadline, (str(live), str(memory))
        self.lock = asyncio.Lock()
        self.sessions = 0
        self._process: Process | None = None
        self._loaded: set[tuple[str, str]] = set()
        self._freed: list[int] = []
        self._worn = self._closed = False

    async def ready(self) -> None:
        """Replace a process that has grown too large."""
        if self._worn:
            await self._end()

    async def open(self, session: int, task: Task, folder: str, actions: Sequence[str]) -> _Opened:
        """Reset a world and take the actions."""
        world = {"world": task.world, "folder": folder}
        if (task.world, folder) not in self._loaded:
            await self.ask({"ask": "load", **world}, None, START_LIMIT)
            self._loaded.add((task.world, folder))
        message = {"ask": "open", **world, "session": session, "spec": json.loads(task.spec), "actions": actions}
        found: _Opened = await self.ask(message, _Opened, calls=1 + len(actions))
        return found

    async def ask(self, message: dict[str, Any], kind: Any, deadline: float = 0.0, calls: int = 1) -> Any:
        """The answer, of this kind. Raises Lost, and the process is gone, where it failed; _Gone; ErrataError for what
        a user must mend."""
        if self._closed:
            raise RuntimeError("the worlds are closed")
        if self._process is None:
            self._process = await Process.start("errata.environments.worker", *self._arguments)
        freed, self._freed = self._freed, []
        whole = False
        try:
            raw = await self._process.exchange({**message, "freed": freed}, deadline or self._deadline, calls)
            reply = _understood(raw, _Reply)
            if reply.fault:
                raise Lost(reply.fault, reply.why)
            value = None if reply.gone or reply.error else _understood(reply.value, kind)
            whole = True
        finally:
            if not whole:  # a call that was cancelled leaves an answer in the pipe
                await asyncio.shield(self._end())
        self._worn = reply.large
        if reply.error:
            raise ErrataError(reply.error)
        if reply.gone:
            raise _Gone
        return value

    def free(self, session: int) -> None:
        """The world of a session is needed no more; the process is told with its next call."""
        self.sessions -= 1
        if self._process is not None:
            self._freed.append(session)

    async def _end(self) -> None:
        process, self._process = self._process, None
        self._worn = False
        self._loaded.clear()
        self._freed.clear()
        if process is not None:
            await process.close()

    async def close(self) -> None:
        """End the process; a call under way is lost."""
        self._closed = True
        if self._process is not None:
            self._process.kill()
        async with self.lock:
            await self._end()


class Hosted:
    """A session of a world in a process (errata.environments.hosts.Session); `opened` holds it until it is closed."""

    def __init__(self, place: "Processes", task: Task, folder: str, opened: "set[Hosted]") -> None:
        self.task, self.first = task, ""
        self.actions: tuple[str, ...] = ()
        self.turns: tuple[Turn, ...] = ()
        self._place, self._folder, self._opened = place, folder, opened
        self._host, self._number = place.assign()
        self._turn = asyncio.Lock()
        self._begun = self._retried = self._closed = False
        self._failure: WorldError | None = None
        opened.add(self)

    async def begin(self, actions: Sequence[str] = ()) -> "Hosted":
        """Reset, and take the first actions. Raises WorldError as all that follows."""
        try:
            await self._ask(None, None, tuple(actions))
        except BaseException:
            await self.close()
            raise
        return self

    async def step(self, action: str) -> Turn:
        """Act."""
        turn: Turn = await self._ask({"ask": "step", "action": action}, Turn)
        self.actions, self.turns = (*self.actions, action), (*self.turns, turn)
        return turn

    async def valid_actions(self) -> tuple[str, ...]:
        """Actions that the world would allow now."""
        return await self._question("valid_actions")  # type: ignore[no-any-return]

    async def gold_actions(self) -> tuple[str, ...] | None:
        """A way from here to the goal; None where the world knows none."""
        return await self._question("gold_actions")  # type: ignore[no-any-return]

    async def distance(self) -> float | None:
        """Fewest actions from here to the goal."""
        found = await self._question("distance")
        return None if found is None else float(found)

    async def checks(self) -> dict[str, bool]:
        """Named parts of the goal, and whether each holds now."""
        return await self._question("checks")  # type: ignore[no-any-return]

    async def fork(self) -> "Hosted":
        """A session of its own, whose world is made by replay when it is first asked for something."""
        made = Hosted(self._place, self.task, self._folder, self._opened)
        made.first, made.actions, made.turns = self.first, self.actions, self.turns
        made._begun, made._failure = True, self._failure
        return made

    async def close(self) -> None:
        """Free the world; nothing may be asked of the session any more."""
        if not self._closed:
            self._closed = True
            self._opened.discard(self)
            self._host.free(self._number)

    async def _question(self, question: Question) -> Any:
        return await self._ask({"ask": question}, KINDS[question])

    async def _ask(self, message: dict[str, Any] | None, kind: Any, actions: tuple[str, ...] = ()) -> Any:
        """The answer, after one retry if need be; without a message the world is made and takes the actions."""
        async with self._turn:
            if self._closed:
                raise RuntimeError("the session is closed")
            while True:
                if self._failure:
                    raise self._failure
                try:
                    async with self._host.lock:
                        return await self._once(message, kind, actions)
                except Lost as lost:
                    if self._retried:
                        self._failure = self._error(lost.fault, str(lost))
                    self._retried = True

    async def _once(self, message: dict[str, Any] | None, kind: Any, actions: tuple[str, ...]) -> Any:
        await self._host.ready()
        if not self._begun:
            await self._replay(actions)
        if message is None:
            return None
        try:
            return await self._host.ask({**message, "session": self._number}, kind)
        except _Gone:
            await self._replay(actions)
            return await self._host.ask({**message, "session": self._number}, kind)

    async def _replay(self, more: tuple[str, ...]) -> None:
        """Make the world again, as far as it was seen and by these actions; what was seen must be seen again."""
        actions = (*self.actions, *more)
        found = await self._host.open(self._number, self.task, self._folder, actions)
        if self._begun and (found.first != self.first or found.turns[: len(self.turns)] != self.turns):
            self._failure = self._error("nonsense", "not deterministic: a replay gave other observations")
            raise self._failure
        if found.refused:
            self._failure = self._error("spec", f"cannot play the task: {found.refused}")
            raise self._failure
        self._begun = True
        self.first, self.actions, self.turns = found.first, actions, found.turns

    def _error(self, code: str, why: str) -> WorldError:
        return WorldError(f"world_{code}", f"{self.task.world}: {why}")


class Processes:
    """Plays worlds in `processes` processes. It belongs to one event loop and must be closed there."""

    def __init__(
        self, *, processes: int = PROCESSES, deadline: float = DEADLINE, live: int = LIVE, memory: int = MEMORY
    ) -> None:
        if processes < 1 or live < 1 or not deadline > 0:
            raise ValueError(
                f"worlds need a process, a live session and time, not {processes}, {live} and {deadline} s"
            )
        self._hosts = [_Host(deadline, live, memory) for _ in range(processes)]
        self._numbers = itertools.count()

    def assign(self) -> tuple[_Host, int]:
        """A place for one more session, with the fewest others, and its number."""
        host = min(self._hosts, key=lambda h: h.sessions)
        host.sessions += 1
        return host, next(self._numbers)

    @property
    def sessions(self) -> int:
        """Open now."""
        return sum(host.sessions for host in self._hosts)

    async def close(self) -> None:
        """End all processes."""
        await asyncio.gather(*(host.close() for host in self._hosts))


def _understood(value: Any, kind: Any) -> Any:
    try:
        return msgspec.convert(value, kind)
    except (msgspec.ValidationError, ValueError) as error:
        raise unreadable(error) from None
