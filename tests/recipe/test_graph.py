"""The DAG: steps follow the one above unless `after` names others."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from errata.recipe.graph import ancestors, ends, order, predecessors
from errata.recipe.spec import ExportSpec, Recipe, StepSpec, Use

After = tuple[str, ...] | None


def recipe(*steps: tuple[str, After]) -> Recipe:
    return Recipe(
        name="r", version="1", source=Use(use="procedural"), exports=(ExportSpec(use="sft"),),
        stages=tuple(StepSpec(use="verify", name=n, after=a) for n, a in steps),
    )  # fmt: skip


def test_without_after_steps_are_a_chain() -> None:
    made = recipe(("a", None), ("b", None), ("c", None))
    assert predecessors(made) == {"a": (), "b": ("a",), "c": ("b",)}
    assert order(made) == (["a", "b", "c"], []) and ends(made) == ["c"]


def test_branches_and_a_merge() -> None:
    made = recipe(("a", None), ("b", ("a",)), ("c", ("a",)), ("d", ("b", "c")), ("e", ("a",)))
    assert order(made)[0].index("d") > max(order(made)[0].index(x) for x in "bc")
    assert ends(made) == ["d", "e"]
    assert ancestors(made, "d") == {"a", "b", "c"} and ancestors(made, "e") == {"a"} and ancestors(made, "a") == set()


def test_after_nothing_is_after_the_source() -> None:
    made = recipe(("a", None), ("b", ()), ("c", None))
    assert predecessors(made) == {"a": (), "b": (), "c": ("b",)} and ends(made) == ["a", "c"]


def test_a_step_may_stand_below_what_follows_it() -> None:
    assert order(recipe(("late", ("early",)), ("early", ()))) == (["early", "late"], [])


def test_no_steps_at_all() -> None:
    assert order(recipe()) == ([], []) and ends(recipe()) == []


@pytest.mark.parametrize(
    "steps",
    [
        [("a", ("a",))],
        [("a", ("b",)), ("b", ("a",))],
        [("s", ()), ("a", ("c", "s")), ("b", ("a",)), ("c", ("b",))],
    ],
)
def test_a_circle_is_told_with_its_steps(steps: list[tuple[str, After]]) -> None:
    done, faults = order(recipe(*steps))
    waiting = ", ".join(n for n, _ in steps if n != "s")
    assert done == [] and faults == [f"stages: {waiting} wait for each other"]


def test_every_unknown_predecessor_is_told() -> None:
    done, faults = order(recipe(("a", ("x", "y")), ("b", ("z",))))
    assert done == [] and len(faults) == 3
    assert faults[0] == "stages.a.after: there is no step 'x'; there are a, b"


@settings(max_examples=100)
@given(st.integers(0, 10**6))
def test_any_graph_without_a_circle_is_put_in_order(seed: int) -> None:
    rng = random.Random(seed)
    names = [f"s{i}" for i in range(rng.randint(1, 9))]
    steps = [(n, tuple(rng.sample(names[:i], rng.randint(0, min(i, 3))))) for i, n in enumerate(names)]
    rng.shuffle(steps)
    made = recipe(*steps)
    done, faults = order(made)
    assert not faults and sorted(done) == sorted(names)
    for name, after in steps:
        assert all(done.index(p) < done.index(name) for p in after)
        assert ancestors(made, name) >= set(after) and name not in ancestors(made, name)
    assert order(made) == (done, []), "the same each time"
    assert set(ends(made)) == set(names) - {p for _, after in steps for p in after}
