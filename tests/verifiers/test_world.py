"""Plans that are played in their world: how they are read, and what is said of one that fails."""

import pytest

from errata.records.ids import canonical
from errata.records.types import Problem, Task
from errata.verifiers.world import failed_at, plan_of, world

SPEC = {
    "blocks": ["a", "b", "c"],
    "init": ["ontable a", "on b a", "ontable c", "clear b", "clear c", "handempty"],
    "goal": ["on b c", "on a b"],
}
RIGHT = "(unstack b a)\n(stack b c)\n(pick-up a)\n(stack a b)"


def problem(**spec: object) -> Problem:
    return Problem(id="p", messages=(), verifier="world", task=Task(world="blocks", spec=canonical({**SPEC, **spec})))


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("```pddl\n(unstack b  a)\n(stack b c)\n```", ("(unstack b a)", "(stack b c)")),
        ("The plan is as follows:\n(PICK-UP a) (put-down a)", ("(PICK-UP a)", "(put-down a)")),
        ("I unstack first.\nPlan:\n1. unstack b from a\n2) stack b on c\n- pick up a", (
            "unstack b from a", "stack b on c", "pick up a",
        )),
        ("Step 1: pick up a\n```\nput down a\n```", ("pick up a", "put down a")),
        ("```\n```", ()),
        ("", ()),
    ],
)  # fmt: skip
def test_a_plan_is_read_in_pddl_or_a_line_an_action(text: str, read: tuple[str, ...]) -> None:
    assert plan_of(text) == read


def test_of_pddl_words_are_no_plan() -> None:
    assert plan_of("There is no plan.") == ("There is no plan.",) and plan_of("There is no plan.", "pddl") == ()
    assert world(problem(), "There is no plan.", notation="pddl").outcome == "unknown"
    assert world(problem(), "There is no plan.").outcome == "fail"


def test_a_plan_that_holds_passes_in_both_forms() -> None:
    for text in (RIGHT, "unstack b from a\nstack b on c\npick up a\nstack a on b"):
        found = world(problem(), text)
        assert (found.outcome, found.score, found.evidence) == ("pass", 1.0, "")
        assert {(c.name, c.outcome) for c in found.checks} == {("on b c", "pass"), ("on a b", "pass")}


def test_a_plan_that_fails_names_its_action_and_what_does_not_hold() -> None:
    found = world(problem(), "(unstack b a)\n(pick-up c)\n(stack b c)")
    assert found.outcome == "fail" and failed_at(found.evidence) == 1
    assert "action 2, '(pick-up c)'" in found.evidence and found.evidence.endswith("(handempty).")


def test_a_plan_that_ends_too_early_names_what_is_missing() -> None:
    found = world(problem(), "(unstack b a)\n(stack b c)")
    assert (found.outcome, found.score, failed_at(found.evidence)) == ("fail", 0.0, 2)
    assert found.evidence.endswith("after 2 actions: not true are (on a b)")
    assert {c.name: c.outcome for c in found.checks} == {"on b c": "pass", "on a b": "fail"}
    assert failed_at("no plan was read") is None


def test_in_an_endless_task_the_goal_must_hold_at_the_end_of_the_plan() -> None:
    undone = f"{RIGHT}\n(unstack a b)"
    assert world(problem(), undone).outcome == "pass", "the episode ends at the goal"
    assert world(problem(endless=True), undone).outcome == "fail"
    assert world(problem(endless=True), f"{undone}\n(stack a b)").outcome == "pass"
    assert world(problem(endless=True), f"{RIGHT}\n(stack a c)").outcome == "fail"


def test_actions_that_are_refused_have_no_effect_where_the_verifier_is_not_strict() -> None:
    text = f"(pick-up a)\n{RIGHT}"
    assert world(problem(), text).outcome == "fail" and world(problem(), text, strict=False).outcome == "pass"
