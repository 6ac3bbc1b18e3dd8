"""Preferences between steps, from a tree: at every depth of its best way the best sibling before the worst.

Siblings are ranked by their value Q, of equals by their prior; those that were never visited have none and are in no
pair. How much was seen of both tells how sure the preference is: conf = N_w / (N_w + N_l), and a loss that smooths its
labels takes min(1 - conf, 0.5). Source: MCTS-DPO (arXiv:2405.00451).
"""

from collections.abc import Iterator
from typing import NamedTuple

from errata.records.tree import Node, tree_of
from errata.records.types import Additions, Drop, Episode, Estimate, Outcome, Pair
from errata.registry import Most, StepName, stage
from errata.stages.base import Context, filtered, named, new_id


class _Siblings(NamedTuple):
    """Two children of one node of the best way."""

    best: Node
    worst: Node
    step: int
    """Index of their first step."""


@stage(version=1)
async def sibling_pairs(
    episode: Episode,
    ctx: Context,
    *,
    of: StepName = "tree",
    margin: float = 0.0,
    most: Most = 8,
    tags: tuple[str, ...] = (),
) -> Additions:
    """Pair the best and the worst sibling along the best way of the tree that `of` grew.

    They are more than `margin` apart in Q; a tree gives at most `most` pairs (0: all), from its root on. A pair names
    an attempt on either side that goes through the step: one that passes where the chosen step has one, one that fails
    where the rejected has. Estimates about the pair: `q_w`, `q_l`, `n_w`, `n_l`, `conf` and `label_smoothing`.
    """
    try:
        root = tree_of(episode, of)
    except LookupError:
        return Additions(drops=(filtered(episode, ctx, episode.id, "no_tree", f"{of} has grown none"),))
    pairs: list[Pair] = []
    estimates: list[Estimate] = []
    drops: list[Drop] = []
    for depth, s in enumerate(_best_way(root)):
        id = new_id(episode, ctx, f"{of}/{depth}", 0)
        chosen, rejected = _leaf(episode, s.best, "pass"), _leaf(episode, s.worst, "fail")
        refused = ""
        if s.best.value - s.worst.value <= margin:
            refused = "no_margin"
        elif most and len(pairs) >= most:
            refused = "enough"
        elif (episode.outcome(chosen), episode.outcome(rejected)) == ("fail", "pass"):
            # By their values alone; what is known of their ends says the opposite.
            refused = "contradicted"
        if refused:
            drops.append(filtered(episode, ctx, id, refused, f"depth {depth}: {s.best.value:.3f}, {s.worst.value:.3f}"))
            continue
        pairs.append(
            Pair(
                id=id, stage=ctx.stage, index=len(pairs), rule="sibling", chosen=chosen, rejected=rejected, step=s.step,
                margin=s.best.value - s.worst.value, tags=named(tags),
            )
        )  # fmt: skip
        estimates += _numbers(ctx, id, s)
    return Additions(pairs=tuple(pairs), estimates=tuple(estimates), drops=tuple(drops))


def _best_way(root: Node) -> Iterator[_Siblings]:
    """The best and the worst visited child of every node of the best way that has two."""
    node, start = root, 0
    while visited := [c for c in node.children if c.visits]:
        ranked = sorted(visited, key=lambda c: (c.value, c.prior))
        if len(ranked) > 1:
            yield _Siblings(ranked[-1], ranked[0], start)
        node, start = ranked[-1], start + len(ranked[-1].steps)


def _leaf(episode: Episode, node: Node, wanted: Outcome) -> str:
    """An attempt through the node, of those with the wanted outcome if there is one."""
    stack, found = [node], list[str]()
    while stack:
        at = stack.pop()
        if at.attempt:
            found.append(at.attempt)
        stack += reversed(at.children)
    return next((a for a in found if episode.outcome(a) == wanted), found[0])


def _numbers(ctx: Context, pair: str, s: _Siblings) -> Iterator[Estimate]:
    conf = s.best.visits / (s.best.visits + s.worst.visits)
    numbers = {
        "q_w": s.best.value, "q_l": s.worst.value, "n_w": float(s.best.visits), "n_l": float(s.worst.visits),
        "conf": conf, "label_smoothing": min(1 - conf, 0.5),
    }  # fmt: skip
    for name, value in numbers.items():
        yield Estimate(target=pair, stage=ctx.stage, name=name, value=value, n=s.best.visits + s.worst.visits)
