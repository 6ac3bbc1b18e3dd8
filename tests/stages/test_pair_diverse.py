"""Distinct right attempts against the wrong ones that look most like them, and labels of pairs."""

from errata.records.types import Tag
from errata.stages.pair import pair
from tests.stages.support import World, attempt, episode, problem, run

P = problem(5)


def test_each_wording_is_in_one_pair_with_the_wrong_one_that_shares_most_of_it() -> None:
    right = [attempt(P, ["a", "b", "r"], 0), attempt(P, ["a", "b ", "r"], 1), attempt(P, ["z", "y", "r"], 2)]
    wrong = [attempt(P, ["a", "b", "w"], 3), attempt(P, ["z", "x", "w"], 4), attempt(P, ["q", "w"], 5)]
    start = episode(P, *right, *wrong, outcomes=["pass"] * 3 + ["fail"] * 3)
    found = run(pair, start, World(), rule="diverse", most=0, tags={"stage": "s", "a": "b"})
    text = {a.id: " ".join(a.text.split()) for a in (*right, *wrong)}
    assert {(text[p.chosen], text[p.rejected]) for p in found.pairs} == {("a b r", "a b w"), ("z y r", "z x w")}
    assert {p.tags for p in found.pairs} == {(Tag(name="a", value="b"), Tag(name="stage", value="s"))}
    assert text[found.pairs[0].chosen] == "a b r", "the hardest first"


def test_unknown_attempts_are_in_no_pair() -> None:
    start = episode(P, attempt(P, "r"), attempt(P, "w", 1), attempt(P, "u", 2), outcomes=["pass", "unknown", "unknown"])
    assert not run(pair, start, World(), rule="diverse", most=0).pairs
