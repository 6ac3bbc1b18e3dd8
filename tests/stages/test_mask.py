"""A mask names parts of an attempt: what it names is kept from the loss or weighed, and no word changes."""

from typing import Any

import pytest
from msgspec.structs import replace

from errata.errors import RecipeError
from errata.records.types import Attempt, Step
from errata.stages.mask import mask
from tests.stages.support import World, attempt, episode, problem, run

P = problem(3)
SPLICED = replace(
    attempt(P, "-"), stage="splice", kind="spliced", fork_step=1,
    steps=(
        Step(text="a\n"), Step(text="wrong\n", train=False), Step(text="wait\n", role="reflection"),
        Step(text="[BACK]\n", role="marker"), Step(text="cut\n", role="tail"), Step(text="end", role="answer"),
    ),
)  # fmt: skip
TURNS = replace(
    attempt(P, "-", 1), stage="splice", kind="spliced",
    steps=(
        Step(text="y1", role="thought", turn=0), Step(text="again?", role="feedback", turn=1, train=False),
        Step(text="y2", turn=2, weight=3.0),
    ),
)  # fmt: skip


def trained(start: Attempt, *policies: str, **options: Any) -> list[bool]:
    found = run(mask, episode(P, start), World(), policies=policies, **options)
    assert len(found.attempts) == 1 and not found.drops
    made = found.attempts[0]
    assert made.text == start.text and made.id != start.id
    assert (made.kind, made.parent, made.fork_step, made.stage) == (start.kind, start.parent, start.fork_step, "mask")
    assert {t.name: t.value for t in made.tags} == {"mask": "+".join(policies), "copy_of": start.id}
    return [s.train for s in made.steps]


@pytest.mark.parametrize(
    ("policies", "masked"),
    [
        (("none",), set()),
        (("wrong_step",), {1}),
        (("reflection",), {2, 3}),
        (("tail",), {4}),
        (("wrong_step", "tail"), {1, 4}),
        (("all_but_last",), set()),
        (("thought",), set()),
    ],
)
def test_in_one_turn(policies: tuple[str, ...], masked: set[int]) -> None:
    assert trained(SPLICED, *policies) == [i not in masked for i in range(6)]


@pytest.mark.parametrize(
    ("policy", "wanted"),
    [
        ("none", [True, False, True]),
        ("wrong_step", [False, False, True]),
        ("all_but_last", [False, False, True]),
        ("thought", [False, False, True]),
        ("tail", [True, False, True]),
    ],
)
def test_in_turns_the_users_words_are_never_trained(policy: str, wanted: list[bool]) -> None:
    assert trained(TURNS, policy) == wanted


def test_the_step_after_which_a_truncated_trace_was_cut_is_no_wrong_step() -> None:
    assert trained(replace(SPLICED, kind="truncated"), "wrong_step") == [True] * 6


def test_a_weight_trains_what_is_named_by_so_much_and_the_rest_wholly() -> None:
    steps = run(mask, episode(P, TURNS), World(), policies=("thought",), weight=0.25).attempts[0].steps
    assert [(s.train, s.weight) for s in steps] == [(True, 0.25), (False, 1.0), (True, 1.0)]


@pytest.mark.parametrize("wrong", [{"policies": ()}, {"weight": -1.0}])
def test_a_mask_of_nothing_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(RecipeError, match="mask"):
        run(mask, episode(P, TURNS), World(), **wrong)
