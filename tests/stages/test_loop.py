"""Revisions one after the other: what each is shown, why the last is the last, and that every state is kept."""

from collections.abc import Callable
from typing import Any

import pytest

from errata.engines.base import Reply, Request
from errata.engines.oracle import Oracle
from errata.errors import EngineError, RecipeError
from errata.records.types import Additions, Attempt
from errata.stages.loop import loop
from tests.stages.support import Says, World, attempt, chain_of, chains, codes, cut, episode, problem, run

P = problem(8, operations=3)
GOLD = "\n".join(chains.solve(chain_of(P)))
ANSWER = int(GOLD.split()[-1])
FIRST = attempt(P, f"The answer is {(ANSWER + 1) % 11}")


def wrong(by: int) -> str:
    return f"The answer is {(ANSWER + by) % 11}"


def loops(answers: list[Any], *, critic: Any = None, **options: Any) -> tuple[Additions, Says]:
    """The loop over FIRST with a student that gives these answers in turn."""
    left = iter(answers)

    def say(request: Request) -> Any:
        said = next(left)
        if isinstance(said, Exception):
            raise said
        return said

    student = Says(say)
    engines: dict[str, Any] = {"student": student} | ({"teacher": critic} if critic else {})
    options = {"prompt": "chains_try_again", **options} | ({"critic": "teacher"} if critic else {})
    return run(loop, episode(P, FIRST, outcomes=["fail"]), World(engines), **options), student


def order(found: Additions) -> list[Attempt]:
    """The states, each after its parent."""
    line, left = [FIRST], {a.parent: a for a in found.attempts}
    while line[-1].id in left:
        line.append(left[line[-1].id])
    assert len(line) == len(found.attempts) + 1, "one line, without a gap or a branch"
    return line[1:]


def stopped(found: Additions) -> str:
    told = [t.value for a in order(found) for t in a.tags if t.name == "stopped"]
    assert len(told) == 1 and any(t.name == "stopped" for t in order(found)[-1].tags), "the last state alone"
    return told[0]


def test_every_state_revises_the_one_before_and_is_kept_judged_and_numbered() -> None:
    found, student = loops([wrong(2), wrong(3), wrong(4)], turns=3)
    states = order(found)
    assert [a.text for a in states] == [wrong(2), wrong(3), wrong(4)]
    assert [[t.value for t in a.tags if t.name == "turn"] for a in states] == [["1"], ["2"], ["3"]]
    assert [r.messages[1].content for r in student.asked] == [FIRST.text, wrong(2), wrong(3)]
    assert {r.messages[2].content for r in student.asked} == {"There may be an error\nSolve it again"}
    assert len({r.seed for r in student.asked}) == 3
    assert {v.target: v.outcome for v in found.verdicts} == {a.id: "fail" for a in states}
    assert {a.kind for a in states} == {"revised"} and stopped(found) == "turns"


def test_a_right_state_stops_the_loop() -> None:
    found, student = loops([wrong(2), GOLD, wrong(3)], turns=5)
    assert len(student.asked) == 2 and stopped(found) == "pass"


def test_a_right_first_attempt_is_not_revised_unless_the_verdict_is_no_reason() -> None:
    right = attempt(P, GOLD)
    student = Says(lambda _: GOLD)
    world = World({"student": student})
    options: dict[str, Any] = {"prompt": "chains_try_again"}
    assert run(loop, episode(P, right, outcomes=["pass"]), world, **options) == Additions()
    found = run(loop, episode(P, right, outcomes=["pass"]), world, stop=(), turns=2, **options)
    assert len(found.attempts) == 2


def test_the_same_answer_again_stops_the_loop_and_another_one_does_not() -> None:
    found, _ = loops([wrong(2), f"as said\n{wrong(2)}", GOLD], turns=5, stop=("unchanged",))
    assert len(found.attempts) == 2 and stopped(found) == "unchanged"
    found, _ = loops(["no answer", "none here", wrong(2)], turns=3, stop=("unchanged",))
    assert stopped(found) == "turns", "two states without an answer are not the same for that"


def test_a_budget_of_tokens_stops_the_loop() -> None:
    found, _ = loops([wrong(2), wrong(3), wrong(4), wrong(5)], turns=4, stop=("budget",), budget=8)
    assert len(found.attempts) == 2 and stopped(found) == "budget", "four words a reply"


def test_the_first_reason_by_order_is_told() -> None:
    found, _ = loops([GOLD], turns=1, stop=("budget", "unchanged", "pass"), budget=1)
    assert stopped(found) == "pass"


# ---- with a critic


def test_a_critic_is_asked_of_every_state_and_its_words_are_shown() -> None:
    found, student = loops([wrong(2), GOLD], critic=Oracle(), critique="chains_critique", prompt="chains_revise")
    assert [c.attempt for c in found.critiques] == [FIRST.id, order(found)[0].id] or len(found.critiques) == 2
    by_id = {c.id: c for c in found.critiques}
    for state, request in zip(order(found), student.asked, strict=True):
        assert state.critique is not None
        said = by_id[state.critique]
        assert said.attempt == state.parent and said.source == "critic"
        assert request.messages[2].content == f"{said.text}\nCorrect the solution"
        assert state.seen == ("gold_steps",), "what the critic knew may be in its words"


def test_a_critic_that_finds_no_error_stops_the_loop_and_may_go_unheard() -> None:
    found, student = loops(
        [wrong(2), GOLD, wrong(3)], critic=Oracle(), critique="chains_critique", stop=("judge",), turns=5
    )
    assert stopped(found) == "judge" and len(found.attempts) == 2
    assert {r.messages[2].content for r in student.asked} == {"There may be an error\nSolve it again"}
    assert all(a.critique is None and a.seen == () for a in found.attempts)


def test_a_critique_that_cannot_be_read_ends_the_loop_with_the_reason() -> None:
    found, student = loops([GOLD], critic=Says(lambda _: "Hm"), critique="chains_critique")
    assert codes(found.drops) == ["parse"] and not student.asked


# ---- what goes wrong


@pytest.mark.parametrize("fault", ["student", "critic"])
def test_a_lost_request_keeps_the_states_before_it(fault: str) -> None:
    down = EngineError("http_500", "down")

    def lost(request: Request) -> str:
        if request.messages[1].content == wrong(2):
            raise down
        return "Step 1 is wrong : it is not"

    if fault == "student":
        found, _ = loops([wrong(2), down], turns=3)
    else:
        found, _ = loops([wrong(2), GOLD], critic=Says(lost), critique="chains_critique", prompt="chains_revise")
    assert [a.text for a in order(found)] == [wrong(2)] and codes(found.drops) == ["http_500"]


def test_a_state_that_was_cut_is_kept_unknown_and_revised_no_more() -> None:
    found, student = loops([cut("The answer"), GOLD], turns=3)
    assert len(student.asked) == 1 and codes(found.drops) == ["truncated"]
    assert [(a.complete, v.outcome) for a, v in zip(found.attempts, found.verdicts, strict=True)] == [
        (False, "unknown")
    ]


@pytest.mark.parametrize("wrong_options", [{"stop": ("judge",)}, {"stop": ("budget",)}, {"budget": 5}])
def test_a_reason_without_its_means_is_refused(wrong_options: dict[str, Any]) -> None:
    with pytest.raises(RecipeError, match="loop"):
        loops([GOLD], **wrong_options)


def test_loops_over_several_attempts_run_side_by_side() -> None:
    starts = [attempt(P, wrong(k), k) for k in range(1, 4)]
    asked: list[str] = []

    def say(request: Request) -> str | Reply:
        asked.append(request.messages[1].content)
        return wrong(7)

    answer: Callable[[Request], str | Reply] = say
    found = run(
        loop, episode(P, *starts, outcomes=["fail"] * 3), World({"student": Says(answer)}), prompt="chains_try_again",
        turns=2, most=2,
    )  # fmt: skip
    assert len(found.attempts) == 4 and set(asked[:2]) == {wrong(1), wrong(2)}
