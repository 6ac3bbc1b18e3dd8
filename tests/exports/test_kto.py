"""KTO rows: one reply each, labelled by its verdict and weighted by its problem."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from errata import prompts
from errata.exports.base import ExportContext
from errata.exports.kto import kto
from errata.records.rows import KtoRow
from errata.records.types import Additions, Drop, Episode, Step
from tests.stages.support import attempt, episode, problem, verdict

PROBLEM = problem(5)


def rows_of(start: Episode, **options: Any) -> tuple[list[KtoRow], list[Drop]]:
    found = list(kto(start, ExportContext("kto", prompts.load), **options))
    return [r for r in found if isinstance(r, KtoRow)], [d for d in found if isinstance(d, Drop)]


def test_a_reply_is_desirable_if_it_passes_and_unknown_is_neither() -> None:
    made = [attempt(PROBLEM, f"a\nThe answer is {i}", i) for i in range(4)]
    outcomes: Any = ["pass", "fail", "unknown", "fail"]
    start = episode(PROBLEM, *made, outcomes=outcomes)
    rows, drops = rows_of(start)
    assert [(r.lineage, r.label, r.weight) for r in rows] == [
        ((made[0].id,), True, 1), ((made[1].id,), False, 1), ((made[3].id,), False, 1),
    ]  # fmt: skip
    assert [d.code for d in drops] == ["no_verdict"]
    for row, a in zip(rows, (made[0], made[1], made[3]), strict=True):
        assert row.prompt == PROBLEM.messages
        assert [(m.role, m.content) for m in row.completion] == [("assistant", a.text)]


@given(st.lists(st.sampled_from(["pass", "fail", "unknown"]), max_size=9))
@settings(max_examples=60, deadline=None)
def test_balanced_weights_are_one_in_the_mean_and_the_same_on_both_sides(outcomes: Any) -> None:
    made = [attempt(PROBLEM, f"The answer is {i}", i) for i in range(len(outcomes))]
    rows, drops = rows_of(episode(PROBLEM, *made, outcomes=outcomes), weights="balanced")
    sides = [[r.weight for r in rows if r.label is label] for label in (True, False)]
    assert len(rows) + len(drops) == len(outcomes)
    if all(sides):
        assert sum(sides[0]) == pytest.approx(sum(sides[1])) == pytest.approx(len(rows) / 2)
    else:
        assert {w for side in sides for w in side} <= {1.0}


def test_a_reply_of_several_turns_is_its_last_and_the_rest_is_prompt() -> None:
    turns = [Step(text="first", train=False), Step(text="again", role="feedback", turn=1, train=False)]
    steps = (*turns, Step(text="second", role="answer", turn=2))
    start = episode(PROBLEM, replace(attempt(PROBLEM, "x"), kind="spliced", steps=steps), outcomes=["pass"])
    ((row,), _) = rows_of(start)
    assert [m.content for m in row.prompt[len(PROBLEM.messages) :]] == ["first", "again"]
    assert [m.content for m in row.completion] == ["second"]


def test_masked_text_is_refused_as_nothing_here_could_mask_it() -> None:
    steps = (Step(text="wrong\n", train=False), Step(text="The answer is 1", role="answer"))
    start = episode(PROBLEM, replace(attempt(PROBLEM, "x"), steps=steps), outcomes=["pass"])
    assert [d.code for d in rows_of(start)[1]] == ["masked_text"]


def test_a_revision_is_shown_what_it_revises_only_by_a_prompt() -> None:
    first = attempt(PROBLEM, "The answer is 1")
    second = attempt(PROBLEM, "The answer is 2", 0, "revise", kind="revised", parent=first.id)
    outcomes: Any = ["pass", "fail"]
    start = episode(PROBLEM, first, second, outcomes=outcomes)
    ((plain,), _), ((shown,), _) = rows_of(start, of=("revise",)), rows_of(start, of=("revise",), prompt="try_again")
    assert plain.prompt == PROBLEM.messages and plain.transition == shown.transition == "right_to_wrong"
    assert [m.content for m in shown.prompt][1] == first.text and not shown.label
    rejected = start.add(Additions(verdicts=(verdict(first, "fail", "filter", "filter"),)))
    assert [d.code for d in rows_of(rejected)[1]] == ["not_accepted"]
