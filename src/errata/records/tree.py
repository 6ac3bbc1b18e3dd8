"""The tree that a search grew, rebuilt from its episode alone.

A search in a world (errata.stages.tree) leaves its leaves behind as attempts, and at every action of each the
estimates of the node that the action leads to: `q` (its value; n is its visits), `prior` (n is how often it was
proposed) and `order` (its place in the order of first visits, from 1). What leaves share is one node here.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from msgspec import Struct

from errata.records.trajectory import action_of
from errata.records.types import Attempt, Episode, Step

OPEN = "open"
"""The tag of a leaf at which the search did not end an episode: it was proposed and never played to its end."""


class Node(Struct, frozen=True, kw_only=True, gc=False):
    """A place in a tree: what was done and seen last, and what the search came to think of it."""

    action: str = ""
    """That leads here, as the world was given it; empty at the root."""
    steps: tuple[Step, ...] = ()
    """The turn of the agent that leads here and the world's answer, if it gave one; none at the root."""
    visits: int
    """Simulations that went through, or evaluations below: what `value` is a mean of."""
    value: float
    """Mean reward (or evaluation) of those; 0 where there was none."""
    prior: float = 1.0
    """Share of the proposals at its parent."""
    proposed: int = 0
    """How often it was proposed there; words that differ in case, white space or punctuation alone are one."""
    order: int | None = None
    """Its number in the order of first visits, 0 at the root; None where it was never visited."""
    attempt: str | None = None
    """At a leaf: the attempt that ends here."""
    children: tuple["Node", ...] = ()


class Path(NamedTuple):
    """The way from the root to a leaf."""

    nodes: tuple[Node, ...]
    """Without the root, the leaf last."""

    @property
    def attempt(self) -> str:
        """The leaf's attempt."""
        return self.nodes[-1].attempt or ""


def root_of(children: Sequence[Node]) -> Node:
    """The root over these: its value is the mean of theirs, weighted by visits."""
    visits = sum(c.visits for c in children)
    value = sum(c.visits * c.value for c in children) / visits if visits else 0.0
    return Node(visits=visits, value=value, order=0 if visits else None, children=tuple(children))


def tree_of(episode: Episode, stage: str) -> Node:
    """The root of the tree that the step `stage` grew. Raises LookupError where it grew none."""
    leaves = sorted((a for a in episode.attempts if a.stage == stage and a.kind == "search"), key=lambda a: a.index)
    if not leaves:
        raise LookupError(f"the step {stage} has grown no tree in {episode.id}")
    wanted = {a.id for a in leaves}
    numbers = {
        (e.target, e.name, e.step): (e.value, e.n) for e in episode.estimates if e.stage == stage and e.target in wanted
    }
    return root_of(_children([(a, turns(a.steps)) for a in leaves], 0, 0, numbers))


def paths(root: Node) -> Iterator[Path]:
    """Every way from the root to a leaf, in the order of the leaves' attempts."""
    stack: list[tuple[Node, ...]] = [(c,) for c in reversed(root.children)]
    while stack:
        way = stack.pop()
        if not way[-1].children:
            yield Path(way)
        stack += [(*way, c) for c in reversed(way[-1].children)]


def turns(steps: Sequence[Step]) -> tuple[tuple[Step, ...], ...]:
    """The steps of a trajectory by turns of the agent, each with the world's answer to it."""
    found: dict[int, list[Step]] = {}
    for s in steps:
        found.setdefault(s.turn // 2, []).append(s)
    return tuple(tuple(found[t]) for t in sorted(found))


Leaf = tuple[Attempt, tuple[tuple[Step, ...], ...]]
Numbers = dict[tuple[str, str, int | None], tuple[float, int]]


def _children(leaves: Sequence[Leaf], depth: int, start: int, numbers: Numbers) -> tuple[Node, ...]:
    """The nodes of one depth below the same node; `start` is the index of its first step."""
    groups: dict[tuple[Step, ...], list[Leaf]] = {}
    for leaf in leaves:
        groups.setdefault(leaf[1][depth], []).append(leaf)
    made = []
    for steps, below in groups.items():
        said = [s for s in steps if s.role != "observation"]
        first, whole = below[0]
        at = start + len(said) - 1
        value, visits = numbers[first.id, "q", at]
        prior, proposed = numbers[first.id, "prior", at]
        order = numbers.get((first.id, "order", at))
        deeper = len(whole) > depth + 1
        made.append(
            Node(
                action=action_of(said[-1].text), steps=steps, visits=visits, value=value, prior=prior,
                proposed=proposed, order=None if order is None else int(order[0]),
                attempt=None if deeper else first.id,
                children=_children(below, depth + 1, start + len(steps), numbers) if deeper else (),
            )
        )  # fmt: skip
    return tuple(made)
