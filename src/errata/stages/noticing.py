"""A mistake, what its maker thinks on noticing it, and the right way from there, played in the world.

Shared by the stages that make such trajectories (GUI-Reflection); it is no stage itself.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from errata.environments.base import Turn
from errata.environments.hosts import Session
from errata.prompts import Prompt
from errata.records.trajectory import action_of
from errata.records.types import (
    Attempt,
    Call,
    Check,
    Drop,
    Episode,
    Injection,
    Outcome,
    Step,
    StepRole,
    StepSource,
    Tag,
    Verdict,
)
from errata.stages.agent import next_turn, observed, world_verdict
from errata.stages.base import Context, filtered, new_id, request_seed
from errata.verifiers.grounding import ungrounded
from errata.verifiers.leak import leaked

UNDO = "undo"


class Fault(NamedTuple):
    """Why a trajectory goes no further: a drop's code and detail."""

    code: str
    detail: str


class Told(NamedTuple):
    """An attempt with its verdicts, and its drop where it is not fit to learn from."""

    attempt: Attempt
    verdicts: tuple[Verdict, ...]
    drops: tuple[Drop, ...] = ()


@dataclass(kw_only=True)
class Telling:
    """A trajectory with a mistake in it, step by step."""

    episode: Episode
    ctx: Context
    session: Session
    branch: str
    """Where in the episode it is made: ids and seeds hash it."""
    role: str
    """Who writes what is noticed."""
    template: Prompt
    steps: tuple[Step, ...] = ()
    calls: tuple[Call, ...] = ()
    seen: frozenset[str] = frozenset()
    fault: Fault | None = None
    mistake: int = 0
    """Index of the step that is the mistake."""
    tags: tuple[Tag, ...] = field(default=())

    async def go(
        self, text: str, *, role: StepRole = "action", source: StepSource = "teacher", train: bool = True,
        before: Sequence[Step] = (),
    ) -> Turn:  # fmt: skip
        """Play the action of a turn, after other steps of the same turn."""
        turn = next_turn(self.steps)
        self.steps = (*self.steps, *before, Step(text=text, role=role, source=source, train=train, turn=turn))
        answer = await self.session.step(action_of("".join(s.text for s in self.steps if s.turn == turn)))
        self.steps = (*self.steps, observed(answer.observation, turn + 1))
        return answer

    async def err(self, text: str, train: bool = False) -> Turn:
        """Play the mistake."""
        self.mistake = len(self.steps)
        return await self.go(text, source="injector", train=train)

    async def notice(self, right: str) -> Step | None:
        """What the agent thinks of its last action before it takes the `right` one; None, and a fault, if it is unfit.

        It may name only what has been seen, and nothing of the way to the goal word for word.
        """
        turn = next_turn(self.steps)
        so_far = Attempt(id="", stage="", index=0, kind="sampled", steps=self.steps)
        answer = await self.ctx.ask(
            self.role, self.template.render(self.episode.problem, so_far, shown={"notes": {"action": right}}),
            seed=request_seed(self.episode, self.ctx, f"{self.branch}/{turn}", 0), template=self.template.label,
        )  # fmt: skip
        self.calls, self.seen = (*self.calls, answer.call), self.seen | set(answer.seen)
        said = " ".join(answer.text.split())
        known = [s.text for s in self.steps]
        if not (said and answer.complete) or action_of(f"{said}\n{right}") != action_of(right):
            self.fault = Fault("parse" if answer.complete else "truncated", said[:200])
        elif name := ungrounded(self.episode.problem, said, [*known, right]):
            self.fault = Fault("ungrounded", f"{name!r} has not been seen: {said[:200]!r}")
        elif found := leaked(self.episode.problem, said):
            self.fault = Fault("leak", found)
        return None if self.fault else Step(text=f"{said}\n", role="reflection", source="teacher", turn=turn)

    async def mend(self, undo: bool) -> None:
        """Notice the mistake and take the best action: `undo` where it may be, and leads nearer to the goal."""
        self.seen |= {"gold_steps"}
        now, gold = await self.session.distance(), await self.session.gold_actions()
        right = gold[0] if gold else ""
        if undo and UNDO in await self.session.valid_actions():
            fork = await self.session.fork()
            await fork.step(UNDO)
            back = await fork.distance()
            await fork.close()
            right = UNDO if back is not None and now is not None and back < now else right
        if not right:
            self.fault = Fault("no_way_back", "the world knows no way to the goal")
            return
        thought = await self.notice(right)
        if thought:
            await self.go(right, role="correction", before=[thought])

    async def arrive(self) -> None:
        """Go the rest of the way to the goal."""
        for action in await self.session.gold_actions() or ():
            await self.go(action)

    async def told(self, kind: str, original: str, index: int, verified: bool = True) -> Told:
        """What it has become. One that is whole (`verified`) has the world's verdict, all have that of the filter."""
        attempt = Attempt(
            id=new_id(self.episode, self.ctx, self.branch, 0), stage=self.ctx.stage, index=index, kind="injected",
            style="reflection", steps=self.steps, fork_step=self.mistake, calls=self.calls,
            injection=Injection(kind=kind, step=self.mistake, original=original), seen=tuple(sorted(self.seen)),
            tags=(Tag(name="inject", value=kind), *self.tags),
        )  # fmt: skip
        verdict = await world_verdict(self.ctx, attempt, self.session)
        await self.session.close()
        if verified and self.fault is None and verdict.outcome != "pass":
            self.fault = Fault("not_solved", verdict.evidence)
        fit = verdict_of_filter(self.ctx, attempt, self.fault)
        drops = (filtered(self.episode, self.ctx, attempt.id, *self.fault),) if self.fault else ()
        return Told(attempt, (verdict, fit) if verified else (fit,), drops)


def verdict_of_filter(ctx: Context, attempt: Attempt, fault: Fault | None) -> Verdict:
    """Whether an attempt is fit to learn from, for the exports."""
    outcome: Outcome = "fail" if fault else "pass"
    check = Check(name=fault.code if fault else "noticed", outcome=outcome, detail=fault.detail if fault else "")
    return Verdict(
        target=attempt.id, stage=ctx.stage, verifier="filter", version=1, outcome=outcome, checks=(check,)
    )  # fmt: skip
