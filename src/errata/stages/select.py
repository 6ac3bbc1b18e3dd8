"""Take some of a group and turn the others away: the right ones first, or the best by a named number."""

from typing import Literal

from errata.records.types import Additions, Attempt, Check, Drop, Episode, Verdict
from errata.registry import Count, StepName, stage
from errata.stages.base import Context, chosen, filtered, rng

VERSION = 1


@stage(version=VERSION)
async def select(
    episode: Episode,
    ctx: Context,
    *,
    of: StepName,
    most: Count = 1,
    prefer: Literal["right", "estimate"] = "right",
    estimate: str = "",
) -> Additions:
    """Take at most `most` attempts of the step `of`; the others get a failing verdict of the sorter `filter`.

    `right` prefers those that pass to those that fail to those of no known verdict; `estimate` those with more of it,
    and ones without it last. Ties are drawn from the problem's id.
    """
    attempts = [a for a in chosen(episode, of=of, outcome="any") if not episode.rejects(a.id)]
    rng(episode, ctx, "ties").shuffle(attempts)

    def rank(a: Attempt) -> float:
        if prefer == "right":
            return {"pass": 0.0, "fail": 1.0, "unknown": 2.0}[episode.outcome(a.id)]
        value = episode.estimate(a.id, estimate)
        return float("inf") if value is None else -value

    verdicts: list[Verdict] = []
    drops: list[Drop] = []
    for place, a in enumerate(sorted(attempts, key=rank)):
        taken = place < most
        check = Check(name="selected", outcome="pass" if taken else "fail", detail=f"place {place + 1}")
        verdicts.append(
            Verdict(
                target=a.id, stage=ctx.stage, verifier="filter", version=VERSION, outcome=check.outcome, checks=(check,)
            )
        )
        if not taken:
            drops.append(filtered(episode, ctx, a.id, "not_selected", f"{most} of {len(attempts)} are taken"))
    return Additions(verdicts=tuple(verdicts), drops=tuple(drops))
