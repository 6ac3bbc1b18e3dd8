"""Trajectories in the making: an agent and a world by turns, as steps of an attempt (errata.records.trajectory).

Shared by the stages that act; it is no stage itself.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from dataclasses import replace as copied
from typing import Any

from msgspec.structs import replace

from errata.environments.base import Turn
from errata.environments.hosts import Session, done, reward
from errata.records.trajectory import STOP, action_at, action_of, actions
from errata.records.types import (
    Attempt,
    AttemptKind,
    Call,
    Check,
    Episode,
    Message,
    Outcome,
    Step,
    StepSource,
    Verdict,
)
from errata.stages.base import Answer, Context, new_id, request_seed


def spoken(text: str, turn: int, source: StepSource = "student", train: bool = True) -> tuple[Step, ...]:
    """The steps of one turn of the agent: its thought, if it says one, and its action."""
    at = action_at(text)
    steps = [Step(text=text[at:], role="action", source=source, train=train, turn=turn)]
    if text[:at]:
        steps.insert(0, Step(text=text[:at], role="reasoning", source=source, train=train, turn=turn))
    return tuple(steps)


def observed(text: str, turn: int) -> Step:
    """The world's answer as a step."""
    return Step(text=text, role="observation", source="environment", train=False, turn=turn)


def messages(first: Sequence[Message], steps: Sequence[Step], window: int = 0) -> tuple[Message, ...]:
    """The conversation so far. With a `window`, only so many of the latest turns of both are kept after the first two.

    Dropping the oldest pairs of turns but the first is how Agent-R fits a context (arXiv:2501.11425).
    """
    turns: dict[int, list[str]] = {}
    for s in steps:
        turns.setdefault(s.turn, []).append(s.text)
    said = [Message(role="user" if turn % 2 else "assistant", content="".join(turns[turn])) for turn in sorted(turns)]
    if window and len(said) > 2 + window:
        said = said[:2] + said[len(said) - window + (len(said) - window) % 2 :]
    return (*first, *said)


def next_turn(steps: Sequence[Step]) -> int:
    """The number of the turn after the last step."""
    return steps[-1].turn + 1 if steps else 0


@dataclass(kw_only=True)
class Trajectory:
    """An episode of a world under way, step by step."""

    episode: Episode
    ctx: Context
    session: Session
    role: str
    branch: str
    """Where in the episode it is played: ids and seeds hash it."""
    k: int = 0
    first: tuple[Message, ...] = ()
    """What the agent is shown before its first turn; the problem's messages where empty."""
    source: StepSource = "student"
    steps: tuple[Step, ...] = ()
    calls: tuple[Call, ...] = ()
    seen: frozenset[str] = frozenset()
    complete: bool = True
    """Whether every turn of the agent was whole."""
    window: int = 0
    template: str = ""
    sampling: Mapping[str, Any] = field(default_factory=dict)

    @property
    def standing(self) -> bool:
        """An episode is judged at its end."""
        return False

    @property
    def over(self) -> bool:
        """Whether there is nothing more to do."""
        ended = bool(self.steps) and self.steps[-1].role == "answer"
        return done(self.session) or not self.complete or ended

    async def run(self, limit: int) -> None:
        """Ask and act until there is nothing more to do, for at most `limit` turns of the agent."""
        for _ in range(limit):
            if self.over:
                return
            await self.act(await self.ask())

    async def ask(self, k: int | None = None, role: str = "", **more: Any) -> Answer:
        """One reply to the conversation so far, by the agent or another role. Raises EngineError."""
        number = self.k if k is None else k
        drawn = request_seed(self.episode, self.ctx, f"{self.branch}/{next_turn(self.steps)}", number)
        said = messages(self.first or self.episode.problem.messages, self.steps, self.window)
        return await self.ctx.ask(
            role or self.role, said, seed=drawn, template=self.template, sampling=self.sampling, **more
        )

    def says(self, answer: Answer) -> str:
        """The action of a reply."""
        return action_of(answer.text)

    async def branched(self, branch: str, *, whole: bool = True, keep: bool = True, **changes: Any) -> "Trajectory":
        """A copy, in the session of this one or in a fork of it; where it has lost its own, in one played anew."""
        session = self.session
        if not whole:
            session = await self.ctx.world(self.episode.problem, actions(self.steps))
        elif keep:
            session = await session.fork()
        return copied(self, branch=branch, session=session, **changes)

    async def outcome(self) -> float:
        """The reward so far, in 0..1."""
        return reward(self.session)

    async def verdict(self, attempt: Attempt) -> Verdict:
        """What the world says of it."""
        return await world_verdict(self.ctx, attempt, self.session)

    async def close(self) -> None:
        """End the session."""
        await self.session.close()

    async def act(self, answer: Answer) -> Turn | None:
        """Take a reply for the next turn and play its action; None where the agent stops, or its words were cut."""
        said = spoken(answer.text, next_turn(self.steps), self.source)
        self.calls, self.seen = (*self.calls, answer.call), self.seen | set(answer.seen)
        if not answer.complete:
            self.steps, self.complete = (*self.steps, *said), False
            return None
        return await self.play(said)

    async def play(self, said: Sequence[Step], ends: bool = True) -> Turn | None:
        """Play the action of a turn that is whole, and write down what the world answers.

        An action that means to end the episode does so where it `ends`, and is the world's to answer otherwise.
        """
        action = action_of(said[-1].text)
        if ends and action in STOP and action not in await self.session.valid_actions():
            self.steps = (*self.steps, *said[:-1], replace(said[-1], role="answer"))  # not for the world
            return None
        self.steps = (*self.steps, *said)
        turn = await self.session.step(action)
        self.steps = (*self.steps, observed(turn.observation, next_turn(self.steps)))
        return turn

    def attempt(self, kind: AttemptKind = "sampled", **fields: Any) -> Attempt:
        """The attempt that it has become."""
        seen = tuple(sorted(self.seen | set(fields.pop("seen", ()))))
        return Attempt(
            id=new_id(self.episode, self.ctx, self.branch, self.k), stage=self.ctx.stage, index=self.k, kind=kind,
            steps=self.steps, complete=self.complete, calls=self.calls, seen=seen, **fields,
        )  # fmt: skip


async def world_verdict(ctx: Context, attempt: Attempt, session: Session) -> Verdict:
    """What the world says of a trajectory that was played in `session`; one that was cut is unknown, never wrong."""
    score = reward(session)
    checks = tuple(
        Check(name=name, outcome="pass" if holds else "fail") for name, holds in (await session.checks()).items()
    )
    known = attempt.complete
    outcome: Outcome = ("pass" if score >= session.task.success else "fail") if known else "unknown"
    ended = "" if done(session) else "ended before the world did" if known else "cut by its length limit"
    return Verdict(
        target=attempt.id, stage=ctx.stage, verifier="world", version=session.task.version, outcome=outcome,
        score=score, checks=checks, evidence=ended,
    )  # fmt: skip
