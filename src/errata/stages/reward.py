"""Give each attempt a number: what its outcome is worth, and a part of what its worst step is worth."""

from typing import Literal

from errata.records.types import Additions, Attempt, Drop, Episode, Estimate
from errata.registry import StepName, stage
from errata.stages.base import Context, chosen, filtered


@stage(version=1)
async def reward(
    episode: Episode,
    ctx: Context,
    *,
    of: tuple[StepName, ...] = ("sample",),
    right: float = 1.0,
    wrong: float = 0.0,
    process: Literal["checks", "values", "none"] = "checks",
    share: float = 0.2,
) -> Additions:
    """Estimates of attempts: `outcome_reward`, `process_reward_min`, and `reward`, the one plus `share` of the other.

    The process reward of a step is 1 or 0 by the verifier's check called `steps`, or the share of continuations from
    it that pass (`values`: estimates `mc_value` of a step that forks); the least one counts. An attempt without a
    verdict or without process rewards is dropped: what is not known is not bad. `sample_index` tells which sample of
    its step an attempt is, `distinct` is 1 for the first one with its text and 0 for the others.
    Source: B-STaR's score, ORM + PRM_min / 5 (arXiv:2412.17256).
    """
    estimates: list[Estimate] = []
    drops: list[Drop] = []
    for step in of:
        texts: set[str] = set()
        for attempt in chosen(episode, of=step, outcome="any"):
            outcome = episode.outcome(attempt.id)
            if outcome == "unknown":
                drops.append(filtered(episode, ctx, attempt.id, "no_verdict"))
                continue
            worst = 0.0 if process == "none" else _worst(episode, attempt, process)
            if worst is None:
                said = "the verifier checks no steps" if process == "checks" else "no step has an mc_value"
                drops.append(filtered(episode, ctx, attempt.id, "no_process_reward", said))
                continue
            base = right if outcome == "pass" else wrong
            words = " ".join(attempt.text.split())
            numbers = {
                "outcome_reward": base, "reward": base + share * worst, "distinct": float(words not in texts),
                "sample_index": float(attempt.index), **({} if process == "none" else {"process_reward_min": worst}),
            }  # fmt: skip
            texts.add(words)
            estimates += [
                Estimate(target=attempt.id, stage=ctx.stage, name=name, value=value, n=1)
                for name, value in numbers.items()
            ]
    return Additions(estimates=tuple(estimates), drops=tuple(drops))


def _worst(episode: Episode, attempt: Attempt, process: str) -> float | None:
    """The least process reward of the attempt's steps; None where there is none."""
    if process == "values":
        return min((e.value for e in episode.estimates if (e.target, e.name) == (attempt.id, "mc_value")), default=None)
    checks = [
        c.outcome
        for v in episode.verdicts
        if (v.target, v.verifier) == (attempt.id, episode.problem.verifier)
        for c in v.checks
        if c.name == "steps"
    ]
    return {"pass": 1.0, "fail": 0.0}.get(checks[0]) if checks else None
