"""Values of steps by the published rule, by shares and by a world's distance; what nobody can tell has none."""

from typing import Any

import pytest

from errata.errors import RecipeError
from errata.records.types import Additions, Episode
from errata.stages.step_values import step_values
from errata.stages.tree import tree
from tests.stages.grove import Grove, grove
from tests.stages.letters import spell
from tests.stages.support import Says, World, codes, grown, run, user

P = user("q")


def values(tree: Grove, **options: Any) -> dict[str, float]:
    """The value of every node that has one, by the words of its way."""
    e = grove(P, tree)
    made = run(step_values, e, **options)
    found: dict[str, float] = {}
    for x in made.estimates:
        assert x.name == "value" and x.step is not None
        way = "".join(s.text for s in e.attempt(x.target).steps[: x.step + 1]).replace("\n", "")
        assert found.setdefault(way, x.value) == x.value, "a node is worth the same in every leaf"
    return found


def test_a_right_way_rises_to_one_in_even_strides() -> None:
    assert values({"a": {"b": {"c": {"d": "pass"}}}}) == {"a": 0.25, "ab": 0.5, "abc": 0.75, "abcd": 1.0}
    assert values({"a": "pass"}) == {"a": 1.0}


def test_a_step_without_a_right_end_takes_a_stride_of_the_last_node_that_has_one() -> None:
    tree = {"a": {"b": {"c": {"d": "pass"}, "x": {"y": "fail"}}}, "z": "fail"}
    found = values(tree)
    # b: m = 3, V = 1/2. x and y inherit m = 3: 1/2 - 1/2 / 3, then a third less again of what is missing.
    x = 0.5 - 0.5 / 3
    assert found["abx"] == pytest.approx(x) and found["abxy"] == pytest.approx(max(0, x - (1 - x) / 3))
    assert found["z"] == 0, "nothing is worth less than nothing"


def test_the_nearest_right_end_counts() -> None:
    found = values({"a": {"b": "pass", "c": {"d": {"e": "pass"}}}})
    assert found["a"] == 0.5 and found["ab"] == 1.0
    assert [found[k] for k in ("ac", "acd", "acde")] == pytest.approx([0.5 + 0.5 / 3, 0.5 + 1 / 3, 1.0])


def test_below_what_nobody_saw_the_end_of_there_is_no_value_unless_open_means_wrong() -> None:
    tree = {"a": {"b": "pass", "c": {"d": None, "e": "fail"}}, "f": "fail"}
    assert set(values(tree)) == {"a", "ab", "f"}
    assert set(values(tree, open="wrong")) == {"a", "ab", "f", "ac", "acd", "ace"}
    assert values(tree, open="wrong")["ac"] == 0.5 - 0.5 / 2
    assert values({"a": {"b": "pass", "c": None}})["a"] == 0.5, "a right end below is enough"


def test_shares_of_right_ends() -> None:
    tree = {"a": {"b": "pass", "c": {"d": "fail", "e": None}, "f": None}, "g": "fail", "h": None}
    assert values(tree, rule="mc") == {"a": 0.5, "ab": 1.0, "ac": 0.0, "acd": 0.0, "g": 0.0}
    made = run(step_values, grove(P, tree), rule="mc")
    assert {(e.value, e.n) for e in made.estimates if e.step == 0} == {(0.5, 2), (0.0, 1)}


def test_trees_that_tell_nothing_are_filtered() -> None:
    assert codes(run(step_values, grove(P, {"a": "fail", "b": None})).drops) == ["no_right_end"]
    assert not run(step_values, grove(P, {"a": "fail"}), rule="mc").drops
    assert codes(run(step_values, Episode(problem=P)).drops) == ["no_tree"]


def test_the_way_to_a_worlds_goal_that_is_behind() -> None:
    e = grown(tree, Episode(problem=spell("abc", ink="d")), World({"student": Says(lambda r: "abcd"[r.seed % 4])}),
              simulations=12, depth=4)  # fmt: skip
    made = run(step_values, e, rule="env")
    assert made.estimates
    for x in made.estimates:
        assert x.step is not None
        said = "".join(s.text for s in e.attempt(x.target).steps[: x.step + 1] if s.role == "action")
        right = next((i for i in range(len(said)) if said[i] != "abc"[i : i + 1]), len(said))
        far = len(said) - right + 3 - right
        assert x.value == pytest.approx(0.0 if "d" in said[right:] else max(0.0, 1 - far / 3))
    with pytest.raises(RecipeError, match="needs a problem that is a task"):
        run(step_values, grove(P, {"a": "pass"}), rule="env")
    mc = run(step_values, e, rule="mc")
    assert mc.estimates == () or {x.step for x in mc.estimates} <= {0, 2, 4, 6}, "numbers stand at the actions"
    assert Additions(estimates=mc.estimates) == Additions(estimates=run(step_values, e, rule="mc").estimates)
