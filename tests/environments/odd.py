"""A world that breaks on command, for tests: every action is counted, and some do what no world should."""

import os
import signal
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from weakref import WeakSet

from msgspec.structs import replace

from errata.environments.base import DEAD_END, Turn
from errata.errors import WorldError
from errata.records.ids import canonical
from errata.records.types import Additions, Attempt, Drop, Episode, Message, Problem, Step, Task
from errata.registry import environment, source, stage

KEPT: list[bytearray] = []
ALIVE: WeakSet[Any] = WeakSet()


ODD: dict[str, Any] = {
    "hang": lambda _: time.sleep(60),
    "exit": lambda _: os._exit(7),
    "kill": lambda _: os.kill(os.getpid(), signal.SIGKILL),
    "raise": {}.__getitem__,
    "print": lambda _: print("x" * 50_000),
    "whisper": lambda _: print("x" * 5_000),
    "hog": lambda _: bytearray(3 << 30),
    "grow": lambda _: KEPT.append(bytearray(b"x") * (64 << 20)),
}
"""What is done by actions that break the process."""

CHANGED: dict[str, dict[str, Any]] = {
    "flood": {"observation": "x" * 70_000},
    "high": {"reward": 1.5},
    "pid": {"observation": str(os.getpid())},
}
"""What is answered by actions that break the protocol."""


class _Base:
    instructions = "Say a word."
    snapshots = False

    def reset(self, spec: Mapping[str, Any]) -> str:
        if "no task" in spec:
            raise ValueError("that is no task")
        self.spec, self.said = dict(spec), list[str]()
        return f"Say {spec.get('words', 3)} words."

    def step(self, action: str) -> Any:
        self.said.append(action)
        ALIVE.add(self)
        if action == "alive":
            return Turn(observation=str(len(ALIVE)), reward=0.0)
        turn = Turn(observation=f"{len(self.said)} {action}", reward=min(1.0, len(self.said) / 100))
        if "once:" in action:
            marker = Path(action.removeprefix("once:"))
            if not marker.exists():
                marker.touch()
                os._exit(3)
        ODD.get(action, len)(action)
        return replace(turn, **CHANGED[action]) if action in CHANGED else None if action == "none" else turn

    def valid_actions(self) -> Any:
        return {"set": {"a"}, "long": tuple("x" * 60_000 for _ in range(20))}.get(self.last, ("a", "b"))

    def gold_actions(self) -> Any:
        return None if self.last == "lost" else ("win",)

    def distance(self) -> Any:
        return {"lost": DEAD_END, "minus": -1, "who knows": None}.get(self.last, 1)

    def checks(self) -> Any:
        return {"spoke": 1 if self.last == "one" else bool(self.said)}

    @property
    def last(self) -> str:
        return self.said[-1] if self.said else ""


@environment(version=1, inline=False)
class Odd(_Base):
    """In a process."""


@environment(version=1, inline=False)
class Heavy(_Base):
    """One at a time."""

    live = 1


@environment(version=1)
class Here(_Base):
    """On the event loop."""


@source(version=1)
def tasks(*, count: int) -> Iterator[Episode]:
    """A problem for each of the first actions."""
    for i in range(count):
        task = Task(world="odd.py:Odd", spec=canonical({"words": i}))
        message = Message(role="user", content=f"Say {i} words.")
        yield Episode(problem=Problem(id=f"{i:016x}", messages=(message,), verifier="number", answer="1", task=task))


@stage(version=1)
async def play(episode: Episode, ctx: Any, *, actions: tuple[str, ...]) -> Additions:
    """Act, fork, act again and leave the sessions open; a world that fails costs the attempt."""
    i = int(episode.id, 16)
    session = await ctx.world(episode.problem, ("a",))
    try:
        await session.step(actions[i % len(actions)])
        other = await session.fork()
        turn = await other.step("b")
    except WorldError as error:
        drop = Drop(
            episode=episode.id, stage=ctx.stage, code=error.code, kind="quarantined", target=episode.id,
            detail=str(error),
        )  # fmt: skip
        return Additions(drops=(drop,))
    steps = (Step(text=turn.observation, role="answer", source="environment"),)
    return Additions(attempts=(Attempt(id=f"{i + 1000:016x}", stage=ctx.stage, index=0, kind="rollout", steps=steps),))
