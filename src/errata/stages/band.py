"""Keep problems of a certain difficulty: too easy ones teach nothing, hopeless ones give nothing to learn from."""

from errata.errors import RecipeError
from errata.records.types import Additions, Episode
from errata.registry import stage
from errata.stages.base import Context, filtered


@stage(version=1)
async def band(
    episode: Episode, ctx: Context, *, estimate: str = "pass_rate", lo: float = 0.0, hi: float = 1.0, zero: bool = False
) -> Additions:
    """End the episode where its `estimate` lies outside [lo, hi]; with `zero`, exactly 0 stays whatever `lo` is.

    An episode that nobody rated ends, too: what is not known lies in no band. Raises RecipeError where lo > hi.
    """
    if lo > hi:
        raise RecipeError(f"{ctx.stage}: the band from {lo} to {hi} is empty; put the smaller bound into lo")
    value = episode.estimate(episode.id, estimate)
    if value is None:
        return Additions(drops=(filtered(episode, ctx, episode.id, "not_rated", f"it has no {estimate}"),))
    if lo <= value <= hi or (zero and value == 0):
        return Additions()
    code = "below_band" if value < lo else "above_band"
    detail = f"{estimate} is {value:.3g}, not within [{lo:g}, {hi:g}]"
    return Additions(drops=(filtered(episode, ctx, episode.id, code, detail),))
