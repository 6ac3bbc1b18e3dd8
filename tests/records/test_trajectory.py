"""What of an agent's turn is its action, and what of an attempt a world was given."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from errata.records.trajectory import action_at, action_of, actions, moves
from errata.records.types import Step
from errata.stages.agent import messages, observed, spoken


@pytest.mark.parametrize(
    ("text", "action"),
    [
        ("get 2 oak", "get 2 oak"),
        ("I need oak.\n  get  2 oak \n", "get 2 oak"),
        ("Thought: oak first.\nAction: get 2 oak", "get 2 oak"),
        ("Thought: oak.\nACTION:\nget 2 oak\n", "get 2 oak"),
        ("Action: get 1 oak\nAction: get 2 oak\nObservation: got", "get 2 oak"),
        ("> **Action: get 2 oak", "get 2 oak"),
        ("Action:", "Action:"),
        ("", ""),
    ],
)
def test_the_action_of_a_turn(text: str, action: str) -> None:
    assert action_of(text) == action


@given(st.text(max_size=60))
def test_the_part_that_holds_the_action_has_the_same_action(text: str) -> None:
    assert action_of(text[action_at(text) :]) == action_of(text)


@given(st.lists(st.tuples(st.text(max_size=20), st.text(max_size=10)), max_size=6))
def test_turns_become_steps_and_messages_again(turns: list[tuple[str, str]]) -> None:
    steps: list[Step] = []
    for i, (said, seen) in enumerate(turns):
        steps += [*spoken(said, 2 * i), observed(seen, 2 * i + 1)]
    told = messages((), steps)
    assert [m.content for m in told] == [text for turn in turns for text in turn]
    assert [m.role for m in told] == ["assistant", "user"] * len(turns)
    assert actions(steps) == tuple(action_of(said) for said, _ in turns)
    assert [(m.turn, m.observation) for m in moves(steps)] == [(2 * i, seen) for i, (_, seen) in enumerate(turns)]
    assert all(steps[m.step].role == "action" for m in moves(steps))


def test_a_turn_without_an_action_was_not_played() -> None:
    steps = (
        *spoken("left", 0), observed("a wall", 1),
        Step(text="That was wrong.\nwait", role="reflection", turn=2), Step(text="ok.", role="observation", turn=3),
        Step(text="I turn round.\n", role="reasoning", turn=4), Step(text="right", role="correction", turn=4),
    )  # fmt: skip
    assert [(m.action, m.thought, m.observation) for m in moves(steps)] == [
        ("left", "", "a wall"), ("right", "I turn round.", ""),
    ]  # fmt: skip


def test_a_window_keeps_the_first_pair_and_the_latest() -> None:
    steps = [s for i in range(6) for s in (*spoken(f"a{i}", 2 * i), observed(f"o{i}", 2 * i + 1))]
    told = [m.content for m in messages((), steps, window=4)]
    assert told == ["a0", "o0", "a4", "o4", "a5", "o5"]
    assert [m.content for m in messages((), steps, window=0)] == [s.text for s in steps]
    assert [m.content for m in messages((), steps, window=5)] == ["a0", "o0", "a4", "o4", "a5", "o5"]
