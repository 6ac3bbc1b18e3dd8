"""Chains of turns: wrong attempts and the feedback on each in the context, the last attempt trained."""

from typing import Any

from msgspec.structs import replace

from errata.records.types import Additions, Attempt, Critique, Outcome
from errata.stages.join import join
from tests.stages.support import attempt, codes, critique, episode, problem, run

P = problem(4)
FIRST = attempt(P, "one\ntwo")
SAID = critique(FIRST, 1, "It fails.", seen=("reference",))
SECOND = attempt(P, "three", 0, "loop", parent=FIRST.id, kind="revised", critique=SAID.id)
AGAIN = critique(SECOND, 0, "Again.", source="verifier")
THIRD = attempt(P, "four\nfive", 0, "loop", parent=SECOND.id, kind="revised", critique=AGAIN.id)
LINE = (FIRST, SECOND, THIRD)
TOLD = (SAID, AGAIN)


def joined(
    *outcomes: Outcome, line: tuple[Attempt, ...] = LINE, told: tuple[Critique, ...] = TOLD, **options: Any
) -> Additions:
    start = episode(P, *line, outcomes=outcomes, critiques=told)
    return run(join, start, **{"style": "turns", "outcome": "pass", "feedback": "", **options})


def test_every_attempt_is_a_turn_and_the_last_is_trained() -> None:
    (a,) = joined("fail", "fail", "pass").attempts
    assert [(s.turn, s.text) for s in a.steps] == [
        (0, "one\n"), (0, "two"), (1, "It fails."), (2, "three"), (3, "Again."), (4, "four\n"), (4, "five"),
    ]  # fmt: skip
    assert [s.train for s in a.steps] == [False] * 5 + [True] * 2
    assert [(s.role, s.source) for s in a.steps if s.turn % 2] == [
        ("feedback", "template"), ("observation", "environment"),
    ]  # fmt: skip
    assert (a.parent, a.other, a.style, a.final_text) == (FIRST.id, THIRD.id, "turns", "four\nfive")
    assert a.seen == ("reference",), "who is quoted may have known more"


def test_the_feedback_is_the_last_message_of_a_prompt() -> None:
    (a,) = joined("fail", "fail", "pass", feedback="plan_again").attempts
    between = ["".join(s.text for s in a.steps if s.turn == turn) for turn in (1, 3)]
    assert all(
        said in text and "Find a new plan" in text for said, text in zip(("It fails.", "Again."), between, strict=True)
    )


def test_what_is_no_correction_is_dropped_with_its_reason() -> None:
    assert codes(joined("fail", "fail", "fail").drops) == ["not_accepted"]
    assert codes(joined("fail", "unknown", "pass").drops) == ["unread"]
    assert codes(joined("fail", "fail", "unknown").drops) == ["unread"]
    assert codes(joined("fail", "pass", "pass").drops) == ["not_wrong"]
    assert codes(joined("pass", line=LINE[:1], told=TOLD[:1], last="sample").drops) == ["too_few"]
    bare = (FIRST, replace(SECOND, critique=None))
    assert codes(joined("fail", "pass", line=bare, told=TOLD[:1]).drops) == ["no_feedback"]
    assert not any(joined(*o).attempts for o in (("fail", "fail", "fail"), ("fail", "unknown", "pass")))
