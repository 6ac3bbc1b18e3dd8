"""Prove a critique by what it does: revisions with it, against revisions with a placebo and with a wrong critique.

A critique's worth is how much more often the student mends its attempt with it than when it is told to try again: a
student that mends half of its mistakes by itself owes nothing to a critique after which it mends half. The control in
the other direction is a critique that is known to be wrong: a student that does as well with it reads no critiques.

A wrong critique is made by rule, never by an engine (the first rule of `wrong` that applies):

    other      what was said of another attempt at this problem, where it finds another first error
    moved      the fixed words `blame`, said of another step; none of the critique's own words are kept, as it is they
               that help, more than the number that they are said of
    all_clear  the fixed words `all_clear`, said of an attempt that fails

No wrong critique names the step that gold steps, forks or a label find wrong.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any, Literal, NamedTuple

from msgspec.structs import replace

from errata.prompts import Prompt
from errata.records.segment import Rule
from errata.records.types import (
    Additions,
    Attempt,
    Check,
    Critique,
    Drop,
    Episode,
    Estimate,
    Outcome,
    Tag,
    Verdict,
)
from errata.registry import Count, PromptName, Role, StepName, stage
from errata.stages.base import Context, ask_attempt, filtered, gather, new_id, quarantined, rng, verdict_of
from errata.statistics import newcombe

VERSION = 1
Arm = Literal["critique", "placebo", "wrong"]
WrongRule = Literal["other", "moved", "all_clear"]
_TRUE_SOURCES = ("gold", "label", "forks")


@stage(version=VERSION)
async def close_loop(
    episode: Episode,
    ctx: Context,
    *,
    role: Role = "student",
    critiques: tuple[StepName, ...] = ("critique",),
    outcome: Outcome | Literal["any"] = "fail",
    prompt: PromptName = "revise",
    placebo: PromptName = "try_again",
    wrong: tuple[WrongRule, ...] = ("other", "moved", "all_clear"),
    blame: str = "Step {step} is wrong: {text}",
    all_clear: str = "Every step is right.",
    k: Count = 10,
    min_rate: float = 0.3,
    min_gain: float = -1.0,
    options: dict[str, Any] = {},
    steps: Rule = "lines",
) -> Additions:
    """Revise k times with each critique, k times with a placebo, k with a wrong critique; keep critiques that help.

    Tried are critiques of the steps `critiques` that could be read and that no filter rejects, where the verifier says
    `outcome` of the attempt. `placebo` is the prompt that tells nothing; its k revisions are asked once an attempt and
    shared by its critiques. `blame` may hold {step}, counted from 1, and {text}, the step itself. Empty `placebo` or
    `wrong` leaves that arm out.

    A critique is kept if at least `min_rate` of its revisions pass (k 10 and 0.3 as in AutoMathCritique,
    arXiv:2411.16579) and its gain over the placebo is at least `min_gain`; -1 asks for none. Shares are of revisions
    with a known verdict; `options` are the verifier's.
    """
    loop = _Loop(episode, ctx, role, k, options, steps)
    tried = [
        (episode.attempt(c.attempt), c)
        for c in episode.critiques
        if c.stage in critiques and c.verdict != "unknown" and not episode.rejects(c.id)
    ]
    tried = [(a, c) for a, c in tried if outcome in ("any", episode.outcome(a.id))]
    with_it, told_nothing = ctx.prompt(prompt), ctx.prompt(placebo) if placebo else None
    for attempt, critique in tried:
        loop.plan(critique.id, "critique", attempt, critique, with_it)
        if told_nothing:
            loop.plan(f"{attempt.id}:placebo", "placebo", attempt, None, told_nothing)
        control = _wrong(episode, ctx, attempt, critique, wrong, {"moved": blame, "all_clear": all_clear})
        if control:
            loop.controls[critique.id] = control
            loop.plan(control.id, "wrong", attempt, control, with_it)
        elif wrong:
            loop.drops.append(filtered(episode, ctx, new_id(episode, ctx, critique.id, 0), "no_wrong_critique"))
    await loop.run()
    estimates: list[Estimate] = []
    verdicts: list[Verdict] = []
    for attempt, critique in tried:
        found = loop.measured(attempt, critique)
        estimates += found
        verdict = _kept(ctx, critique, {e.name: e.value for e in found}, min_rate, min_gain)
        verdicts.append(verdict)
        if verdict.outcome == "fail":
            loop.drops.append(filtered(episode, ctx, critique.id, *_reason(verdict)))
        elif verdict.outcome == "unknown":
            loop.drops.append(quarantined(episode, ctx, critique.id, *_reason(verdict)))
    return Additions(
        attempts=tuple(loop.attempts), critiques=tuple(loop.controls.values()),
        verdicts=(*loop.verdicts, *verdicts), estimates=tuple(estimates), drops=tuple(loop.drops),
    )  # fmt: skip


class Share(NamedTuple):
    """Revisions that pass, of those with a known verdict."""

    passed: int
    n: int

    @property
    def value(self) -> float:
        return self.passed / self.n


class _Loop:
    """The revisions of all arms: planned under the name of their arm, each asked once, then counted."""

    def __init__(self, episode: Episode, ctx: Context, role: str, k: int, options: dict[str, Any], steps: Rule) -> None:
        self.episode, self.ctx, self.role, self.k, self.options, self.steps = episode, ctx, role, k, options, steps
        self.controls: dict[str, Critique] = {}
        """The wrong critique for each critique's id."""
        self.attempts: list[Attempt] = []
        self.verdicts: list[Verdict] = []
        self.drops: list[Drop] = []
        self._planned: dict[str, _Planned] = {}
        self._shares: dict[str, Share] = {}

    def plan(self, branch: str, arm: Arm, attempt: Attempt, shown: Critique | None, template: Prompt) -> None:
        """Ask for k revisions under this name, unless they are planned already."""
        self._planned.setdefault(branch, _Planned(arm, attempt, shown, template))

    async def run(self) -> None:
        """Ask for all planned revisions side by side and verify them."""
        episode, ctx = self.episode, self.ctx
        tasks = {
            new_id(episode, ctx, branch, i): self._ask(branch, plan, i)
            for branch, plan in self._planned.items()
            for i in range(self.k)
        }
        made, drops = await gather(episode, ctx, tasks)
        self.drops += drops
        outcomes: dict[str, list[Outcome]] = {branch: [] for branch in self._planned}
        branches = {new_id(episode, ctx, branch, i): branch for branch in self._planned for i in range(self.k)}
        for attempt in made:
            verdict = await verdict_of(episode, ctx, attempt, options=self.options)
            self.attempts.append(attempt)
            self.verdicts.append(verdict)
            outcomes[branches[attempt.id]].append(verdict.outcome)
        for branch, found in outcomes.items():
            self._shares[branch] = Share(found.count("pass"), len(found) - found.count("unknown"))

    async def _ask(self, branch: str, plan: "_Planned", i: int) -> Attempt:
        attempt, shown = plan.attempt, plan.shown
        return await ask_attempt(
            self.episode, self.ctx, plan.template.render(self.episode.problem, attempt, shown, index=i),
            kind="revised", role=self.role, branch=branch, k=i, steps=self.steps, template=plan.template.label,
            parent=attempt.id, critique=shown.id if shown else None,
            # What the critic knew may have reached the student through the critique.
            seen=tuple(sorted({*attempt.seen, *(shown.seen if shown else ())})),
            tags=(Tag(name="arm", value=plan.arm),),
        )  # fmt: skip

    def measured(self, attempt: Attempt, critique: Critique) -> list[Estimate]:
        """The shares of the three arms, and the gain over the placebo with its interval, where they have samples.

        Intervals are 95 %, by Newcombe's method 10.
        """
        control = self.controls.get(critique.id)
        names = {"closed_loop_rate": critique.id, "placebo_rate": f"{attempt.id}:placebo"}
        names |= {"wrong_critique_rate": control.id} if control else {}
        shares = {name: s for name, branch in names.items() if (s := self._shares.get(branch)) and s.n}
        values = {name: (s.value, s.n) for name, s in shares.items()}
        own, none = shares.get("closed_loop_rate"), shares.get("placebo_rate")
        if own and none:
            low, high = newcombe(own.passed, own.n, none.passed, none.n)
            values["closed_loop_gain"] = (own.value - none.value, own.n)
            values |= {"closed_loop_gain_low": (low, own.n), "closed_loop_gain_high": (high, own.n)}
        return [
            Estimate(target=critique.id, stage=self.ctx.stage, name=name, value=value, n=n, engine=self.role)
            for name, (value, n) in values.items()
        ]


@dataclass(frozen=True, slots=True)
class _Planned:
    arm: Arm
    attempt: Attempt
    shown: Critique | None
    template: Prompt


def _kept(ctx: Context, critique: Critique, found: dict[str, float], min_rate: float, min_gain: float) -> Verdict:
    """Whether a critique helps enough; unknown where no revision with it, or with the placebo, has a verdict."""
    wanted = {"min_rate": ("closed_loop_rate", min_rate)}
    if min_gain > -1:
        wanted["min_gain"] = ("closed_loop_gain", min_gain)
    checks = tuple(_check(name, found.get(measure), least) for name, (measure, least) in wanted.items())
    told = {c.outcome for c in checks}
    outcome: Outcome = "unknown" if "unknown" in told else "fail" if "fail" in told else "pass"
    return Verdict(
        target=critique.id, stage=ctx.stage, verifier="close_loop", version=VERSION, outcome=outcome,
        score=found.get("closed_loop_rate"), checks=checks,
    )  # fmt: skip


def _check(name: str, value: float | None, least: float) -> Check:
    if value is None:
        return Check(name=name, outcome="unknown", detail="no revision has a known verdict")
    # A share such as 3/10 is compared with 0.3 as it was meant.
    held = value >= least - 1e-9
    return Check(name=name, outcome="pass" if held else "fail", detail=f"{value:.3f}, at least {least:g} is asked")


def _reason(verdict: Verdict) -> tuple[str, str]:
    """Code and detail of a drop: the first rule that does not hold."""
    first = next(c for c in verdict.checks if c.outcome != "pass")
    codes = {"min_rate": "low_rate", "min_gain": "low_gain"}
    return (codes[first.name] if first.outcome == "fail" else "not_measured", first.detail)


# ---- wrong critiques


def _wrong(
    episode: Episode, ctx: Context, attempt: Attempt, critique: Critique, rules: Sequence[WrongRule],
    words: Mapping[str, str],
) -> Critique | None:  # fmt: skip
    """A wrong critique by the first rule that gives one; `words` are the fixed ones of each rule that has some."""
    truth = {c.first_error for c in episode.critiques if c.attempt == attempt.id and c.source in _TRUE_SOURCES}
    taken = truth | {critique.first_error}
    for rule in rules:
        draw = rng(episode, ctx, f"{critique.id}:{rule}")
        made = {"other": _other, "moved": _moved, "all_clear": _clear}[rule](
            draw, episode, attempt, critique, taken, words.get(rule, "")
        )
        if made is not None:
            id = new_id(episode, ctx, f"{critique.id}:wrong", 0)
            return replace(
                made, id=id, attempt=attempt.id, stage=ctx.stage, index=0, source="control", of=(critique.id,),
                steps=(), findings=(), call=None, tags=(Tag(name="control", value=rule),),
            )  # fmt: skip
    return None


def _other(
    draw: Random, episode: Episode, attempt: Attempt, critique: Critique, taken: set[int | None], _: str
) -> Critique | None:
    """What the same critics said of another attempt, where they find a first error that this one does not have."""
    found = [
        c
        for c in episode.critiques
        if c.stage == critique.stage and c.attempt != attempt.id and c.verdict == "error"
        and c.first_error not in taken and c.text.strip() and c.text != critique.text
        and not episode.rejects(c.id)
    ]  # fmt: skip
    return draw.choice(found) if found else None


def _moved(
    draw: Random, _: Episode, attempt: Attempt, critique: Critique, taken: set[int | None], said: str
) -> Critique | None:
    """A step that nobody finds wrong, blamed in fixed words."""
    others = [i for i in range(len(attempt.steps)) if i not in taken and attempt.steps[i].text.strip()]
    if not others or not said.strip():
        return None
    to = draw.choice(others)
    text = said.replace("{step}", str(to + 1)).replace("{text}", attempt.steps[to].text.strip())
    return replace(critique, verdict="error", first_error=to, text=text, seen=())


def _clear(
    _: Random, episode: Episode, attempt: Attempt, critique: Critique, taken: set[int | None], said: str
) -> Critique | None:
    """An all-clear for an attempt that fails."""
    if episode.outcome(attempt.id) != "fail" or not said.strip() or critique.verdict == "no_error":
        return None
    return replace(critique, verdict="no_error", first_error=None, text=said, seen=())
