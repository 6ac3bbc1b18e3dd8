"""The value of every step of a tree: how much nearer it leads to a right end (ReST-MCTS*, arXiv:2406.03816).

`min_steps` is the published rule. The root is worth 0; a step after a node worth V is worth
max(0, V + (1 - V) / m * s), where m is the fewest steps from it to a right end, itself included, s is 1 if a right end
lies below it and -1 if none does. A step off every right way has the m of the last node before it that is on one. A
right way thus rises to 1 in even strides, and a wrong step takes a stride of the node that it left off again.

`mc` is the share of the ends below that are right, `env` the share of the way to a world's goal that is behind.
"""

from collections.abc import Iterator, Mapping
from typing import Literal, NamedTuple

from errata.environments.base import behind
from errata.errors import RecipeError, WorldError
from errata.records.trajectory import moves
from errata.records.tree import Node, tree_of
from errata.records.types import Additions, Episode, Estimate, Outcome
from errata.registry import StepName, stage
from errata.stages.base import Context, filtered, quarantined


class _Ends(NamedTuple):
    """What lies below a node."""

    right: int
    known: int
    """Ends with a verdict, right or wrong."""
    unknown: int
    """Leaves without one: what comes after them nobody has seen."""
    steps: int | None
    """The fewest to a right end, the node's own included; None where there is none."""


class _Place(NamedTuple):
    """A node, the index of its last step but the world's answer, and the leaves that it leads to."""

    node: Node
    step: int
    leaves: tuple[str, ...]


@stage(version=1)
async def step_values(
    episode: Episode,
    ctx: Context,
    *,
    of: StepName = "tree",
    rule: Literal["min_steps", "mc", "env"] = "min_steps",
    open: Literal["skip", "wrong"] = "skip",
) -> Additions:
    """Estimates `value` at the last step of every node of the tree that `of` grew, in each leaf that it leads to.

    Below an `open` node no end is right, and one at least is not known: nobody can tell, and it gets no value, or it
    counts as wrong, as published. A tree without a right end is filtered by `min_steps` (`no_right_end`).
    """
    try:
        root = tree_of(episode, of)
    except LookupError:
        return Additions(drops=(filtered(episode, ctx, episode.id, "no_tree", f"{of} has grown none"),))
    outcomes: dict[str, Outcome] = {a.id: episode.outcome(a.id) for a in episode.attempts if a.stage == of}
    places = tuple(_places(root, 0))
    ends: dict[int, _Ends] = {}
    _count(root, outcomes, ends)
    if rule == "env":
        try:
            far = await _distances(episode, ctx, of)
        except WorldError as error:
            return Additions(drops=(quarantined(episode, ctx, episode.id, error.code, str(error)),))
        told = {id(p.node): (far[at], 1) for p in places if (at := (p.leaves[0], p.step)) in far}
    elif rule == "mc":
        told = {at: (e.right / e.known, e.known) for at, e in ends.items() if e.known}
    elif ends[id(root)].right:
        told = dict(_by_strides(root, ends, open))
    else:
        return Additions(drops=(filtered(episode, ctx, episode.id, "no_right_end", f"{of} found no right end"),))
    return Additions(
        estimates=tuple(
            Estimate(target=leaf, stage=ctx.stage, name="value", value=round(value, 9), n=n, step=p.step)
            for p in places
            if id(p.node) in told
            for value, n in (told[id(p.node)],)
            for leaf in p.leaves
        )
    )


def _places(node: Node, start: int) -> Iterator[_Place]:
    """The nodes below one that ends before the step `start`."""
    for child in node.children:
        said = [s for s in child.steps if s.role != "observation"]
        below = tuple(_places(child, start + len(child.steps)))
        leaves = [p.leaves[0] for p in below if not p.node.children] if child.children else [child.attempt or ""]
        yield _Place(child, start + len(said) - 1, tuple(leaves))
        yield from below


def _count(node: Node, outcomes: Mapping[str, Outcome], ends: dict[int, _Ends]) -> _Ends:
    """What lies below a node and every node below it, by their ids."""
    if node.children:
        below = [_count(c, outcomes, ends) for c in node.children]
        near = [e.steps for e in below if e.steps is not None]
        right, known, unknown = (sum(e[i] or 0 for e in below) for i in range(3))
        found = _Ends(right, known, unknown, min(near) + 1 if near else None)
    else:
        said = outcomes.get(node.attempt or "", "unknown")
        found = _Ends(
            int(said == "pass"), int(said != "unknown"), int(said == "unknown"), 1 if said == "pass" else None
        )
    ends[id(node)] = found
    return found


def _by_strides(root: Node, ends: Mapping[int, _Ends], open: str) -> Iterator[tuple[int, tuple[float, int]]]:
    """The published rule; below a node without a value none has one."""
    stack: list[tuple[Node, float, int]] = [(root, 0.0, ends[id(root)].steps or 1)]
    while stack:
        node, before, near = stack.pop()
        for child in node.children:
            e = ends[id(child)]
            if not e.right and e.unknown and open == "skip":
                continue
            m = e.steps or near
            value = max(0.0, before + (1 - before) / m * (1 if e.right else -1))
            yield id(child), (value, e.known)
            stack.append((child, value, m))


async def _distances(episode: Episode, ctx: Context, of: str) -> dict[tuple[str, int], float]:
    """How much of the way from the start is behind after each action of each attempt, by the action's step."""
    if episode.problem.task is None:
        raise RecipeError("step_values: rule env needs a problem that is a task in a world: use min_steps or mc")
    found: dict[tuple[str, int], float] = {}
    for attempt in (a for a in episode.attempts if a.stage == of):
        session = await ctx.world(episode.problem)
        start = await session.distance()
        for move in moves(attempt.steps):
            await session.step(move.action)
            left = await session.distance()
            if left is None or not start:
                raise WorldError("no_distance", f"{episode.problem.task.world} cannot tell how far the goal is")
            found[attempt.id, move.step] = behind(left, start)
        await session.close()
    return found
