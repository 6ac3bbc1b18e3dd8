"""Put what a verifier said of attempts into critiques, so that it can be compared, shown to a reviser and quoted."""

from errata.records.types import Additions, Episode, Outcome
from errata.registry import StepName, stage
from errata.stages.base import Context
from errata.stages.evidence import evidence_of


@stage(version=1)
async def feedback(
    episode: Episode,
    ctx: Context,
    *,
    of: StepName = "sample",
    verifier: str = "",
    outcomes: tuple[Outcome, ...] = ("fail",),
) -> Additions:
    """A critique of the source `verifier` for every attempt of the step `of` whose verdict is one of `outcomes`."""
    name = verifier or episode.problem.verifier
    judged = {v.target: v for v in episode.verdicts if v.verifier == name and v.outcome in outcomes}
    return Additions(
        critiques=tuple(
            evidence_of(episode, ctx, a, judged[a.id])
            for a in episode.attempts
            if a.id in judged and (not of or a.stage == of)
        )
    )
