"""What no world may answer is refused, whatever it is."""

import math
from typing import Any

import pytest
from msgspec.structs import replace

from errata.environments.answers import LONGEST, Flood, Nonsense, checked_answer, checked_text, checked_turn
from errata.environments.base import Turn

TURN = Turn(observation="so", reward=0.5)


@pytest.mark.parametrize(
    "change",
    [
        {"observation": 5},
        {"observation": None},
        {"observation": "\ud800"},
        {"reward": 1.01},
        {"reward": -0.01},
        {"reward": math.nan},
        {"reward": math.inf},
        {"reward": "1"},
        {"reward": True},
        {"done": 1},
        {"valid": None},
        {"changed": "yes"},
    ],
    ids=str,
)
def test_a_turn_that_cannot_be_stored_is_nonsense(change: dict[str, Any]) -> None:
    with pytest.raises(Nonsense):
        checked_turn(replace(TURN, **change))


def test_what_is_a_turn_is_left_as_it_is() -> None:
    for turn in (TURN, Turn(observation="", reward=0, done=True, valid=False, changed=False)):
        assert checked_turn(turn) is turn
    with pytest.raises(Nonsense, match="not dict"):
        checked_turn({"observation": "so", "reward": 1.0})


def test_a_text_without_end_is_a_flood() -> None:
    assert checked_text("x" * LONGEST)
    with pytest.raises(Flood):
        checked_text("x" * (LONGEST + 1))


@pytest.mark.parametrize(
    "question, good, bad",
    [
        ("valid_actions", [(), ("a",), ["a", "b"]], [None, "go", ("a", 1), {"a"}]),
        ("gold_actions", [None, (), ("a",)], ["go", (None,)]),
        ("distance", [None, 0, 2.0, math.inf], [-1, math.nan, "1", True]),
        ("checks", [{}, {"in time": False}], [None, {"a": 1}, {1: True}, [("a", True)]]),
    ],
)
def test_every_question_has_its_kind_of_answer(question: Any, good: list[Any], bad: list[Any]) -> None:
    for value in good:
        found = checked_answer(question, value)
        assert found == (tuple(value) if isinstance(value, list) else value)
    for value in bad:
        with pytest.raises(Nonsense):
            checked_answer(question, value)
