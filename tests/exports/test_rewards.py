"""Reward tables against the methods' own words, cell by cell."""

from itertools import product
from typing import Any

import pytest

from errata.errors import RecipeError
from errata.exports.rewards import KINDS, reward_table, table_names, turns

CELLS = {
    # (first, second): right to right, wrong to right, right to wrong, wrong to wrong
    "outcome": (1, 1, 0, 0),
    "score_stage_1": (1, 1, 0, 0),
    "score_stage_2": (2, 11, -9, 0),
    "srpo": (0.75, 1, 0.25, 0),
    "rise": (1, 1, -0.5, -0.5),
}
VERDICTS = {"critic": (1, -1), "sneaky": (-1, 1), "rise_verify": (1, -0.5), "refcritic": (1, 0)}
ORDER = (("pass", "pass"), ("fail", "pass"), ("pass", "fail"), ("fail", "fail"))


@pytest.mark.parametrize("name", CELLS)
def test_all_four_cells_of_two_turns_are_the_methods(name: str) -> None:
    table = reward_table(name)
    assert tuple(table.cell(*turns) for turns in ORDER) == CELLS[name]


@pytest.mark.parametrize("name", CELLS)
def test_a_correction_is_worth_more_than_a_failure_and_no_less_than_a_spoilt_answer(name: str) -> None:
    # The published slip of operator precedence paid wrong to right as little as right to wrong.
    kept, mended, spoilt, failed = (reward_table(name).cell(*turns) for turns in ORDER)
    assert mended > failed and mended > spoilt and kept > spoilt
    if name == "score_stage_2":
        assert spoilt < failed, "to spoil a right answer is the worst"
    if name == "srpo":
        assert mended > kept > spoilt > failed


def test_score_shapes_by_the_change_between_both_turns() -> None:
    for alpha in (0.0, 1.0, 10.0):
        table = reward_table("score_stage_2", {"alpha": alpha})
        for first, second in product((0, 1), repeat=2):
            words = tuple({0: "fail", 1: "pass"}[v] for v in (first, second))
            assert table.cell(*words) == first + second + alpha * (second - first)


def test_score_holds_the_first_turn_to_the_reference_in_stage_one_alone() -> None:
    held = {
        name: {t.segment: t.value for t in reward_table(name).terms if t.kind == "kl"}
        for name in ("score_stage_1", "score_stage_2")
    }
    assert held == {"score_stage_1": {"all": -0.01, "first": -0.1}, "score_stage_2": {"all": -0.01}}
    strong = reward_table("score_stage_1", {"kl_first": 0.5})
    assert [t.value for t in strong.terms if (t.segment, t.kind) == ("first", "kl")] == [-0.5]


def test_rise_pays_by_the_same_rule_for_solutions_and_verifications() -> None:
    for name, segment, kind, words in (
        ("rise", "last", "outcome", ("pass", "fail")),
        ("rise_verify", "verdict", "verdict", ("right", "wrong")),
    ):
        table = reward_table(name)
        assert [table.worth({(segment, kind): w}) for w in words] == [1, -0.5]
        assert table.worth({(segment, "format"): "unreadable"}) == -1


def test_ufo_halves_with_each_turn_and_takes_away_for_repetition() -> None:
    table = reward_table("ufo")
    by_turn = [table.worth({(turn, "outcome"): "pass"}) for turn in ("first", "second", "third", "fourth", "fifth")]
    assert by_turn == [2.0**-t for t in range(5)]
    assert [(t.when, t.value) for t in table.terms if t.kind == "repeat"] == [("same_answer", -0.5)]


@pytest.mark.parametrize("name", VERDICTS)
def test_critics_are_paid_by_whether_their_verdict_is_right(name: str) -> None:
    table = reward_table(name)
    assert tuple(table.worth({("verdict", "verdict"): w}) for w in ("right", "wrong")) == VERDICTS[name]


def test_a_critic_and_whoever_deceives_it_play_for_opposite_sums() -> None:
    critic, sneaky = reward_table("critic"), reward_table("sneaky")
    for word in ("right", "wrong"):
        known = {("verdict", "verdict"): word}
        assert critic.worth(known) + sneaky.worth(known) == 0


def test_every_table_says_where_it_is_from_and_is_tested_here() -> None:
    assert set(table_names()) == {*CELLS, *VERDICTS, "ufo"}
    for name in table_names():
        table = reward_table(name)
        assert table.about and table.source and table.evidence in "RWAK" and table.terms
        assert all(t.when in KINDS[t.kind] for t in table.terms)
        assert len({(t.segment, t.kind, t.when) for t in table.terms}) == len(table.terms), "no case is paid twice"


def test_a_reply_of_one_turn_has_no_transition() -> None:
    assert turns("pass") == {("first", "outcome"): "pass", ("last", "outcome"): "pass"}
    assert reward_table("srpo").segments == {"second"}


@pytest.mark.parametrize(
    ("name", "options", "said"),
    [
        ("score", {}, "no reward table 'score': there are outcome, score_stage_1"),
        ("srpo", {"parameters": {"alpha": 1.0}}, "srpo has no parameter 'alpha': it has none"),
        ("", {"terms": [{"segment": "last", "kind": "outcome", "when": "right", "value": 1}]}, "kind 'outcome' when"),
        ("", {"terms": [{"segment": "last", "kind": "outcome", "value": 1}]}, "a term has segment, kind, when and"),
        ("", {"terms": [{"segment": "last", "kind": "outcome", "when": "pass", "value": "1"}]}, "a term has segment"),
    ],
)
def test_what_a_table_does_not_know_is_said(name: str, options: dict[str, Any], said: str) -> None:
    with pytest.raises(RecipeError, match=said):
        reward_table(name, **options)


def test_terms_of_the_recipes_own_take_the_place_of_a_table() -> None:
    own = reward_table("outcome", terms=[{"segment": "last", "kind": "outcome", "when": "fail", "value": -2}])
    assert own.name == "own" and own.cell("pass", "fail") == -2 and own.cell("fail", "pass") == 0
