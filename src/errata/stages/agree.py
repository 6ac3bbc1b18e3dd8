"""How far those who located an attempt's first error agree, as a number that filters, exports and bands can use.

A stage of its own, as no locator sees the others: they may run side by side, in any order, on any engines.
"""

from itertools import combinations
from typing import Literal

from errata.records.types import Additions, CritiqueSource, Episode, Estimate, Outcome
from errata.registry import StepName, stage
from errata.stages.base import Context, chosen


@stage(version=1)
async def agree(
    episode: Episode,
    ctx: Context,
    *,
    of: StepName = "sample",
    outcome: Outcome | Literal["any"] = "any",
    sources: tuple[CritiqueSource, ...] = (),
) -> Additions:
    """Measure `location_agreement` of each attempt: the share of pairs of sources that name the same first error.

    "No error" is a place like any other. A source that gives no answer is in no pair, and an attempt without a pair has
    no estimate. Of two answers of one source, the first by name counts. Empty `sources` takes all there are.
    """
    made: list[Estimate] = []
    for attempt in chosen(episode, of=of, outcome=outcome):
        places: dict[str, int | None] = {}
        for c in episode.critiques:
            if c.attempt == attempt.id and c.verdict != "unknown" and (not sources or c.source in sources):
                places.setdefault(c.source, c.first_error if c.verdict == "error" else None)
        same = [places[a] == places[b] for a, b in combinations(sorted(places), 2)]
        if same:
            share = sum(same) / len(same)
            made.append(
                Estimate(target=attempt.id, stage=ctx.stage, name="location_agreement", value=share, n=len(same))
            )
    return Additions(estimates=tuple(made))
