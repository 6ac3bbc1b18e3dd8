"""Keep a share of right-to-right rows: too few and a model learns to change what is right, too many and it copies."""

from collections.abc import Sequence

from errata.corpus.base import Narrow
from errata.errors import RecipeError
from errata.registry import corpus


@corpus(version=1)
def balance(rows: Sequence[Narrow], *, config: str = "sft", right_to_right: float = 0.0) -> dict[str, str]:
    """Drop right-to-right rows of `config` above their share of the whole, the lowest ids staying."""
    if not 0 <= right_to_right < 1:
        raise RecipeError(f"right_to_right is {right_to_right}, not a share of all rows: from 0 to below 1")
    mine = [r for r in rows if r.config == config]
    others = sum(r.transition != "right_to_right" for r in mine)
    # others / (1 - share) rows in all, of which share are right-to-right.
    allowed = int(others * right_to_right / (1 - right_to_right) + 1e-9)
    candidates = sorted(r.id for r in mine if r.transition == "right_to_right")
    return {id: "over_share" for id in candidates[allowed:]}
