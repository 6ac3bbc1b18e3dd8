"""Trees that a test writes down: `{"a": {"b": "pass", "c": None}}` with numbers as a search would have left them."""

from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any

from errata.records.ids import digest
from errata.records.types import Additions, Attempt, Episode, Estimate, Outcome, Problem, Step, Verdict

Grove = Mapping[str, Any]
"""Steps, each with what follows it, or with the outcome of the leaf that it is (None: an open one)."""
Numbers = Mapping[str, tuple[float, int, float]]
"""Q, visits and prior of a node by the words of its way, joined; 0.5, 1 and 1 where nothing is said."""


def grove(problem: Problem, tree: Grove, numbers: Numbers = MappingProxyType({}), stage: str = "tree") -> Episode:
    """An episode with this tree; every step is a line."""
    attempts, estimates, verdicts = [], [], []
    order: dict[str, int] = {}
    for i, (way, outcome) in enumerate(_leaves(tree, ())):
        steps = tuple(Step(text=f"{word}\n", role="reasoning") for word in way)
        made = Attempt(
            id=digest(problem=problem.id, way=way), stage=stage, index=i, kind="search", steps=steps, seen=("x",)
        )
        attempts.append(made)
        if outcome:
            verdicts.append(Verdict(target=made.id, stage=stage, verifier=problem.verifier, version=1, outcome=outcome))
        for k in range(len(way)):
            name = "".join(way[: k + 1])
            q, n, prior = numbers.get(name, (0.5, 1, 1.0))
            told = {"q": (q, n), "prior": (prior, 1)}
            if n:
                told["order"] = (float(order.setdefault(name, len(order) + 1)), 1)
            estimates += [
                Estimate(target=made.id, stage=stage, name=x, value=v, n=c, step=k) for x, (v, c) in told.items()
            ]
    new = Additions(attempts=tuple(attempts), estimates=tuple(estimates), verdicts=tuple(verdicts))
    return Episode(problem=problem).add(new)


def _leaves(tree: Grove, way: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Outcome | None]]:
    for word, below in tree.items():
        if isinstance(below, Mapping):
            yield from _leaves(below, (*way, word))
        else:
            yield (*way, word), below
