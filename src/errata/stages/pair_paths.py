"""Set good ends of a tree against bad ones that share their first steps: the raw material of revision trajectories.

    ceiling   r_bad < beta < alpha < r_good
    gap       r_good > alpha and r_good - r_bad > beta

The constraint of the paper is the first, that of the published code the second (Agent-R, arXiv:2501.11425). Nothing is
above the highest reward: at an alpha of 1 a good end is one that has it.
"""

from typing import Literal

from errata.errors import RecipeError
from errata.records.tree import shared, tree_of
from errata.records.types import Additions, Attempt, Check, Drop, Episode, Pair, Tag, Verdict
from errata.registry import Most, StepName, stage
from errata.stages.base import Context, chosen, filtered, new_id, rng

VERSION = 1


@stage(version=VERSION)
async def pair_paths(
    episode: Episode,
    ctx: Context,
    *,
    of: StepName = "tree",
    alpha: float = 0.5,
    beta: float = 0.2,
    beta_mode: Literal["ceiling", "gap"] = "gap",
    most: Most = 0,
) -> Additions:
    """Pair the good ends of the tree of the step `of` with its bad ones, at most `most` pairs (0: all) in random order.

    `alpha` is the reward that a good end exceeds; `beta` by its mode is the reward that a bad one stays below, or the
    least difference. The pair's `step` is where the common beginning ends, its `margin` the difference of rewards. A
    tree whose root is worth nothing is skipped. Ends that are not good, and leaves without an end, get a failing
    verdict of the sorter `filter`: an export of the tree itself then holds the good trajectories alone.
    """
    if beta_mode == "ceiling" and not beta < alpha:
        raise RecipeError(f"pair_paths: the ceiling of bad ends, beta {beta}, must lie below alpha {alpha}")
    leaves = [a for a in chosen(episode, of=of, outcome="any") if a.kind == "search"]
    if not leaves:
        return Additions()
    known = {v.target: v.score for v in episode.verdicts if v.verifier == "world" and v.outcome != "unknown"}
    score = {a.id: s for a in leaves if (s := known.get(a.id)) is not None}
    good = [a for a in leaves if a.id in score and above(score[a.id], alpha)]
    sorted_out = _sorted_out(ctx, leaves, {a.id for a in good})
    nothing = new_id(episode, ctx, "tree", 0)
    if tree_of(episode, of).value <= 0:
        drop = filtered(episode, ctx, nothing, "no_reward", "no simulation of the tree ended with a reward")
        return Additions(verdicts=sorted_out, drops=(drop,))
    both = [
        (a, b)
        for a in good
        for b in leaves
        if b.id in score and (score[b.id] < beta if beta_mode == "ceiling" else score[a.id] - score[b.id] > beta)
    ]
    if not both:
        why = f"{len(good)} ends above {alpha}, {len(score) - len(good)} others"
        drop = filtered(episode, ctx, nothing, "no_bad_end" if good else "no_good_end", why)
        return Additions(verdicts=sorted_out, drops=(drop,))
    rng(episode, ctx, "pairs").shuffle(both)
    pairs: list[Pair] = []
    drops: list[Drop] = []
    for a, b in both:
        id = new_id(episode, ctx, f"{a.id}:{b.id}", 0)
        if most and len(pairs) >= most:
            drops.append(filtered(episode, ctx, id, "enough", f"{most} pairs a tree"))
            continue
        pairs.append(
            Pair(
                id=id, stage=ctx.stage, index=len(pairs), rule="paths", chosen=a.id, rejected=b.id,
                step=shared(a.steps, b.steps), margin=score[a.id] - score[b.id],
                tags=(Tag(name="alpha", value=str(alpha)),),
            )
        )  # fmt: skip
    return Additions(pairs=tuple(pairs), verdicts=sorted_out, drops=tuple(drops))


def above(reward: float, alpha: float) -> bool:
    """Whether a reward exceeds alpha, or is the highest there is."""
    return reward > alpha or reward >= 1.0


def _sorted_out(ctx: Context, leaves: list[Attempt], good: set[str]) -> tuple[Verdict, ...]:
    return tuple(
        Verdict(
            target=a.id, stage=ctx.stage, verifier="filter", version=VERSION,
            outcome="pass" if a.id in good else "fail",
            checks=(Check(name="good_end", outcome="pass" if a.id in good else "fail"),),
        )
        for a in leaves
    )  # fmt: skip
