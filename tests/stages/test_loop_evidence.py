"""Loops in which the verifier is the critic: what each revision is shown, and how freely it is drawn."""

from typing import Any

import pytest
from msgspec.structs import replace

from errata.engines.base import Request
from errata.errors import RecipeError
from errata.records.types import Additions, Attempt, Problem, Task
from errata.sources.worlds import worlds
from errata.stages.loop import loop
from tests.stages.support import Says, World, attempt, episode, problem, run, verdict


def blocks() -> Problem:
    first = next(iter(worlds(world="blocks", count=1, difficulty=(1, 1), seed=4)))
    return first.problem  # type: ignore[union-attr]


P = blocks()
GOLD = "\n".join(P.solution)
WRONG = ("stack b1 on b2", "\n".join(P.solution[:-1]), "put down b3")
FIRST = attempt(P, WRONG[0])
FAILED = replace(verdict(FIRST, "fail", verifier="world"), evidence="action 1, 'stack b1 on b2': it is not held")


def loops(answers: list[str], **options: Any) -> tuple[Additions, list[Request]]:
    left = iter(answers)
    student = Says(lambda _: next(left))
    start = episode(P, FIRST).add(Additions(verdicts=(FAILED,)))
    options = {"prompt": "plan_again", "evidence": True, "steps": "actions", **options}
    return run(loop, start, World({"student": student}), **options), student.asked


def states(found: Additions) -> list[Attempt]:
    return sorted(found.attempts, key=lambda a: next(t.value for t in a.tags if t.name == "turn"))


def test_each_revision_is_shown_what_the_verifier_says_of_the_state_before() -> None:
    found, asked = loops([WRONG[1], GOLD])
    told = {c.attempt: c for c in found.critiques}
    assert told.keys() == {FIRST.id, states(found)[0].id}
    assert told[FIRST.id].text == FAILED.evidence and told[FIRST.id].first_error == 0
    assert told[states(found)[0].id].first_error == len(P.solution) - 1, "the action that is missing"
    assert [a.critique for a in states(found)] == [told[FIRST.id].id, told[states(found)[0].id].id]
    for request, c in zip(asked, (told[FIRST.id], told[states(found)[0].id]), strict=True):
        assert c.text in request.messages[-1].content and len(request.messages) == 3
    assert [v.outcome for v in found.verdicts for a in states(found) if v.target == a.id] in (
        ["fail", "pass"],
        ["pass", "fail"],
    )


def test_with_history_all_states_and_what_was_said_of_them_are_shown() -> None:
    found, asked = loops([WRONG[1], WRONG[2], GOLD], history=True)
    texts = [FIRST.text, *(a.text for a in states(found))]
    for k, request in enumerate(asked):
        assert request.messages[: len(P.messages)] == P.messages
        turns = request.messages[len(P.messages) :]
        assert [m.content for m in turns[::2]] == texts[: k + 1] and len(turns) == 2 * k + 2
        assert asked[k - 1].messages == request.messages[:-2] or k == 0


def test_the_temperature_rises_with_each_revision_to_its_bound() -> None:
    _, asked = loops([*WRONG, *WRONG], turns=6, temperature=0.2, rise=0.3, hottest=1.0)
    assert [r.sampling.temperature for r in asked] == [0.5, 0.8, 1.0, 1.0, 1.0, 1.0]
    _, asked = loops([*WRONG], turns=3, temperature=0.7)
    assert [r.sampling.temperature for r in asked] == [0.7] * 3
    _, asked = loops([*WRONG], turns=3)
    assert len({r.sampling.temperature for r in asked}) == 1, "the engine's own"


def test_what_contradicts_itself_is_refused() -> None:
    for options, why in (
        ({"critic": "student"}, "take one of them"), ({"rise": 0.1}, "name `temperature`"),
        ({"history": True, "prompt": "judge_plan"}, "must begin with the problem's own"),
    ):  # fmt: skip
        with pytest.raises(RecipeError, match=why):
            loops([*WRONG], **options)
    bare = episode(P, FIRST)
    with pytest.raises(RecipeError, match="`verify` the attempts before"):
        run(loop, bare, World({"student": Says(lambda _: GOLD)}), prompt="plan_again", evidence=True)


def test_a_task_is_none_of_a_chain() -> None:
    assert isinstance(P.task, Task) and problem(1).task is None
