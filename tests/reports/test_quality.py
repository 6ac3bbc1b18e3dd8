"""Figures of a corpus from small episodes whose figures are known by hand."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from errata.records.types import Episode, Outcome
from errata.reports.quality import edit_ratio, measure_quality, quality
from tests.stages.support import attempt, critique, episode, problem, verdict

P = problem(3)
TEXT: dict[Outcome, str] = {"pass": f"The answer is {P.answer}", "fail": "The answer is 77", "unknown": "Hm"}


def revised(*cases: tuple[Outcome, list[Outcome]]) -> Episode:
    """First attempts by outcome, each with its revisions'."""
    made, outcomes = [], []
    for i, (first, then) in enumerate(cases):
        made.append(attempt(P, TEXT[first], i))
        outcomes.append(first)
        for k, outcome in enumerate(then):
            made.append(attempt(P, TEXT[outcome], k, "revise", parent=made[-1 - k].id, kind="revised"))
            outcomes.append(outcome)
    return episode(P, *made, outcomes=outcomes)


def figures(*episodes: Episode) -> dict[str, dict[str, dict[str, object]]]:
    total: Counter[str] = Counter()
    for e in episodes:
        total.update(measure_quality(e))
    return quality(total)


def test_scores_of_a_reviser_are_those_of_their_definition() -> None:
    # Question 1: a = 1/2, b = 1/2, d = 1; question 2: a = 0, d = 0.
    one = revised(("pass", ["pass", "fail"]), ("fail", ["pass", "pass"]))
    two = revised(("fail", ["fail", "fail"]))
    found = figures(one, two)["reviser"]["revise"]
    assert found["confidence_level"] == 0.5, "sum(a b) / sum(a) = 0.25 / 0.5"
    assert found["critique_score"] == pytest.approx((0.5 * 1 + 1 * 0) / 1.5, abs=1e-6)
    assert (found["accuracy_first"], found["accuracy_second"]) == (0.25, 0.375)
    assert found["relative_self_correction"] == pytest.approx((0.375 - 0.0625) / (2 * 0.25 * 0.75), abs=1e-6)


def test_what_has_no_case_is_none_and_the_unknown_counts_nowhere() -> None:
    found = figures(revised(("fail", ["pass", "unknown"]), ("unknown", ["pass"])))["reviser"]["revise"]
    assert found["confidence_level"] is None and found["relative_self_correction"] is None
    assert found["critique_score"] == 1.0 and found["questions"] == 1
    assert figures(revised(("unknown", ["pass"])))["reviser"] == {}


@given(st.text(max_size=30), st.text(max_size=30))
def test_an_edit_ratio_is_a_share_and_symmetric(a: str, b: str) -> None:
    assert 0 <= edit_ratio(a, b) <= 1 and edit_ratio(a, b) == edit_ratio(b, a)
    assert (edit_ratio(a, b) == 0) == (a == b)


def test_edits_are_told_by_tenths_with_copies_apart() -> None:
    first = attempt(P, "aaaaa")
    others = ["aaaaa", "aaaab", "bbbbb"]
    made = [attempt(P, text, k, "revise", parent=first.id, kind="revised") for k, text in enumerate(others)]
    found = figures(episode(P, first, *made))["edit_ratio"]["revise"]
    assert found["tenths"] == [1, 1, 0, 0, 0, 1, 0, 0, 0, 0] and found["copied"] == pytest.approx(1 / 3, abs=1e-6)


def test_difficulty_and_diversity() -> None:
    outcomes: list[list[Outcome]] = [["pass", "pass"], ["fail", "fail"], ["pass", "fail"], ["unknown", "unknown"]]
    made = [episode(P, *(attempt(P, TEXT[o], i) for i, o in enumerate(some)), outcomes=some) for some in outcomes]
    found = figures(*made)
    between = [0, 0, 0, 0, 0, 1, 0, 0, 0, 0]
    third = round(1 / 3, 6)
    told = {"problems": 3, "none_right": third, "all_right": third, "tenths_between": between}
    assert found["difficulty"]["sample"] == told
    assert found["diversity"]["sample"]["distinct_wrong_answers"] == 2 and found["diversity"]["sample"]["wrong"] == 3


def test_leaks_are_counted_of_critiques_whose_maker_saw_something() -> None:
    wrong = attempt(P, "amber is 1\nThe answer is 77")
    says = [
        critique(wrong, 0, f"Wrong: the answer is {P.answer}", index=0, seen=("reference",)),
        critique(wrong, 0, "Step 1 is wrong", index=1, seen=("reference",)),
        critique(wrong, 0, f"Wrong: the answer is {P.answer}", index=2),
    ]
    found = figures(episode(P, wrong, outcomes=["fail"], critiques=says))["leaks"]["critique"]
    assert found == {"critiques": 2, "leaking": 1, "share": 0.5}


@given(st.permutations(range(6)))
def test_sums_do_not_depend_on_their_order(order: list[int]) -> None:
    some = [revised(("pass", ["pass"] * (k + 1) + ["fail"]), ("fail", ["pass"] + ["fail"] * k)) for k in range(6)]
    assert figures(*(some[i] for i in order)) == figures(*some)


def test_a_rejected_or_second_verdict_changes_no_figure() -> None:
    start = revised(("fail", ["pass"]))
    second = next(a for a in start.attempts if a.kind == "revised")
    filtered = replace(start, verdicts=(*start.verdicts, verdict(second, "fail", "filter", "filter")))
    assert figures(filtered) == figures(start)
