"""Have engines judge attempts: one by one, two side by side, by a score or by a list of checks; alone or as a panel.

    pointwise   is it right? A verdict of the verifier `judge`, by majority of all votes
    pairwise    which of two is better? The order is drawn by a hash, the estimate `judge_wins` is the share that it won
    score       how good is it? The estimate `judge_score` is the mean of all votes
    checklist   which of the named checks does it pass? The verdict's checks; its score is the share that passed

A judge is itself judged: on a share of the episodes it is shown canaries, replies without content that must lose, and
one that passes a canary is believed nothing in that episode. Attempts without any readable vote are unknown.
"""

from collections.abc import Mapping
from itertools import combinations
from typing import Any, Literal, NamedTuple

from errata.records.ids import digest
from errata.records.types import (
    Additions,
    Attempt,
    Check,
    Drop,
    Episode,
    Estimate,
    Outcome,
    Verdict,
)
from errata.registry import Count, Most, PromptName, Role, StepName, stage
from errata.stages.base import Context, chosen, filtered, gather, new_id, quarantined, request_seed, rng, steps_of

VERSION = 1
CANARIES = ("", ":", "Solution:")
"""Replies without content, which some judges were found to reward (arXiv:2507.08794)."""

Form = Literal["pointwise", "pairwise", "score", "checklist"]


class _Vote(NamedTuple):
    """What one judge said of one attempt, or of two."""

    target: str
    """The attempt, or both, joined by a colon, the one that was shown first in front."""
    canary: bool
    told: Mapping[str, Any] | None
    """None where nothing could be read."""


@stage(version=VERSION)
async def judge(
    episode: Episode,
    ctx: Context,
    *,
    form: Form = "pointwise",
    roles: tuple[Role, ...] = ("judge",),
    prompt: PromptName = "judge_pointwise",
    of: tuple[StepName, ...] = ("sample",),
    outcome: Outcome | Literal["any"] = "any",
    most: Most = 0,
    votes: Count = 1,
    see: tuple[Literal["reference", "gold_steps"], ...] = (),
    canaries: float = 0.05,
    score: tuple[float, float] = (1, 10),
) -> Additions:
    """Have each of `roles` vote on the attempts of the steps `of`, and on canaries in a share of the episodes.

    A prompt answers as JSON: `correct` (pointwise), `better` A or B (pairwise), `score` within `score`, `checks` (by
    name). For a pairwise one the template sees `attempt` as A and `other` as B.
    """
    judging = _Judging(episode, ctx, form, prompt, see, score)
    attempts = [a for step in of for a in chosen(episode, of=step, outcome=outcome, most=most) if a.complete]
    if not attempts:
        return Additions()
    tested = rng(episode, ctx, "canaries").random() < canaries
    tasks = {}
    for role in roles:
        for k in range(votes):
            for first, second in judging.shows(attempts, tested):
                branch = f"{role}:{first.id}:{second.id if second else ''}"
                tasks[new_id(episode, ctx, branch, k)] = judging.ask(role, first, second, branch, k)
    made, drops = await gather(episode, ctx, tasks)
    unread = tuple(
        quarantined(episode, ctx, v.target.split(":")[0], "parse", f"{form} judgement") for v in made if v.told is None
    )
    fooled = [v for v in made if v.canary and v.told is not None and judging.rewards(v)]
    if fooled:
        lost = tuple(
            filtered(episode, ctx, a.id, "canary_passed", f"{len(fooled)} replies without content won")
            for a in attempts
        )
        return Additions(drops=(*drops, *unread, *lost))
    read = [v for v in made if not v.canary and v.told is not None]
    return judging.results(attempts, read, (*drops, *unread))


class _Judging(NamedTuple):
    """One form of judgement over one episode."""

    episode: Episode
    ctx: Context
    form: Form
    prompt: str
    see: tuple[str, ...]
    score: tuple[float, float]

    def shows(self, attempts: list[Attempt], tested: bool) -> list[tuple[Attempt, Attempt | None]]:
        """What is shown together; for canaries, also these, each beside a real attempt where two are shown."""
        blank = [canary(self.episode, self.ctx, i) for i in range(len(CANARIES))] if tested else []
        if self.form != "pairwise":
            return [(a, None) for a in (*attempts, *blank)]
        draw = rng(self.episode, self.ctx, "order")
        pairs = [*combinations(attempts, 2), *((attempts[0], b) for b in blank)]
        return [(a, b) if draw.random() < 0.5 else (b, a) for a, b in pairs]

    async def ask(self, role: str, first: Attempt, second: Attempt | None, branch: str, k: int) -> _Vote:
        """One vote."""
        template = self.ctx.prompt(self.prompt)
        problem = self.episode.problem
        values = {"reference": problem.answer or "", "gold_steps": list(problem.solution)}
        shown: dict[str, Any] = {name: values[name] for name in self.see} | ({"other": second} if second else {})
        answer = await self.ctx.ask(
            role, template.render(problem, first, index=k, shown=shown),
            seed=request_seed(self.episode, self.ctx, branch, k), template=template.label, schema=template.schema,
        )  # fmt: skip
        told = template.values(answer.text) if answer.complete else None
        target = first.id if second is None else f"{first.id}:{second.id}"
        return _Vote(target, _is_canary(first, second), self._kept(told))

    def _kept(self, told: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
        """Only what this form asks for, and only if it is of the right kind."""
        if told is None:
            return None
        kinds = {"pointwise": ("correct", bool), "pairwise": ("better", str), "checklist": ("checks", dict)}
        if self.form == "score":
            value = told.get("score")
            well = isinstance(value, int | float) and not isinstance(value, bool)
            return told if well and self.score[0] <= float(str(value)) <= self.score[1] else None
        name, kind = kinds[self.form]
        value = told.get(name)
        if not isinstance(value, kind) or (self.form == "pairwise" and value not in ("A", "B")):
            return None
        return told

    def rewards(self, vote: _Vote) -> bool:
        """Whether a canary won: it is called right, preferred, scored above the middle, or passes most checks."""
        told = vote.told or {}
        if self.form == "pointwise":
            return bool(told["correct"])
        if self.form == "pairwise":
            first = vote.target.split(":")[0]
            blank = {canary(self.episode, self.ctx, i).id for i in range(len(CANARIES))}
            return bool((told["better"] == "A") == (first in blank))
        if self.form == "score":
            return float(told["score"]) > sum(self.score) / 2
        return sum(map(bool, told["checks"].values())) * 2 > len(told["checks"])

    def results(self, attempts: list[Attempt], votes: list[_Vote], drops: tuple[Drop, ...]) -> Additions:
        """Votes as records."""
        by_target: dict[str, list[Mapping[str, Any]]] = {a.id: [] for a in attempts}
        for v in votes:
            first, _, second = v.target.partition(":")
            told = v.told or {}
            if second:
                by_target[first].append({"won": told["better"] == "A"})
                by_target[second].append({"won": told["better"] == "B"})
            else:
                by_target[first].append(told)
        verdicts, estimates = [], []
        for target, said in by_target.items():
            if self.form in ("pointwise", "checklist"):
                verdicts.append(self._verdict(target, said))
            elif said:
                name = "judge_wins" if self.form == "pairwise" else "judge_score"
                values = [float(s["won"] if self.form == "pairwise" else s["score"]) for s in said]
                mean = sum(values) / len(values)
                estimates.append(Estimate(target=target, stage=self.ctx.stage, name=name, value=mean, n=len(values)))
        return Additions(verdicts=tuple(verdicts), estimates=tuple(estimates), drops=drops)

    def _verdict(self, target: str, said: list[Mapping[str, Any]]) -> Verdict:
        """The majority's; a tie and no vote are unknown."""
        if self.form == "checklist":
            names = sorted({name for s in said for name in s["checks"]})
            checks = tuple(
                Check(name=n, outcome=_majority([bool(s["checks"][n]) for s in said if n in s["checks"]]))
                for n in names
            )
            passed = sum(c.outcome == "pass" for c in checks)
            outcome: Outcome = "unknown" if not checks else "pass" if passed == len(checks) else "fail"
            score = passed / len(checks) if checks else None
            return self._made(target, outcome, score, checks)
        votes = [bool(s["correct"]) for s in said]
        return self._made(target, _majority(votes), sum(votes) / len(votes) if votes else None, ())

    def _made(self, target: str, outcome: Outcome, score: float | None, checks: tuple[Check, ...]) -> Verdict:
        return Verdict(
            target=target, stage=self.ctx.stage, verifier="judge", version=VERSION, outcome=outcome, score=score,
            checks=checks,
        )  # fmt: skip


def _majority(votes: list[bool]) -> Outcome:
    right = sum(votes)
    return "unknown" if 2 * right == len(votes) else "pass" if 2 * right > len(votes) else "fail"


def canary(episode: Episode, ctx: Context, index: int) -> Attempt:
    """A reply without content; it is shown to a judge and never becomes a record of the episode."""
    return Attempt(
        id=digest(canary=index, problem=episode.id), stage=ctx.stage, index=index, kind="sampled",
        steps=steps_of(CANARIES[index], "lines", "template"), style="canary",
    )  # fmt: skip


def _is_canary(first: Attempt, second: Attempt | None) -> bool:
    return "canary" in (first.style, second.style if second else "")
