"""Attempts joined to one text: all of their words, in their order, and the mask of what was thought before."""

from typing import Any

import pytest
from msgspec.structs import replace

from errata.errors import RecipeError
from errata.records.types import Additions, Attempt, Episode, Estimate, Step
from errata.stages.join import join
from tests.stages.support import World, attempt, codes, episode, problem, run

P = problem(4)
FIRST = attempt(P, "one\nThe answer is 1", seen=("reference",))
TURN1 = attempt(P, "two\nThe answer is 2\n", 0, "loop", parent=FIRST.id, kind="revised")
TURN2 = attempt(P, "three\nThe answer is 3", 0, "loop", parent=TURN1.id, kind="revised", seen=("gold_steps",))
OTHER = attempt(P, "never revised", 1)


def joined(*attempts: Attempt, estimates: dict[str, float] | None = None, **options: Any) -> Additions:
    start: Episode = episode(P, *attempts)
    told = tuple(Estimate(target=k, stage="x", name="quality", value=v, n=1) for k, v in (estimates or {}).items())
    return run(join, start.add(Additions(estimates=told)), World(), **options)


def test_a_trace_is_an_attempt_and_its_revisions_with_reflections_between() -> None:
    found = joined(FIRST, TURN1, TURN2, OTHER, leads=("Wait.", "But."))
    assert len(found.attempts) == 1 and not found.drops
    a = found.attempts[0]
    assert a.text == "one\nThe answer is 1\nWait.\ntwo\nThe answer is 2\nBut.\nthree\nThe answer is 3"
    assert [s.role for s in a.steps] == [
        "reasoning", "reasoning", "reflection", "correction", "correction", "reflection", "correction", "answer",
    ]  # fmt: skip
    assert {s.turn for s in a.steps} == {0} and all(s.train for s in a.steps)
    assert (a.kind, a.style, a.parent, a.other) == ("spliced", "trace", FIRST.id, TURN2.id)
    assert a.seen == ("gold_steps", "reference")


def test_words_of_reflection_are_taken_in_turn() -> None:
    a = joined(FIRST, TURN1, TURN2, leads=("Wait.",)).attempts[0]
    assert [s.text for s in a.steps if s.role == "reflection"] == ["Wait.\n", "Wait.\n"]


def test_short_and_cut_lines_are_left_out_with_the_reason() -> None:
    assert codes(joined(FIRST, TURN1, TURN2, least=3).drops) == ["too_few"]
    assert codes(joined(FIRST, replace(TURN1, complete=False), TURN2).drops) == ["incomplete"]
    assert codes(joined(FIRST, replace(TURN1, steps=()), TURN2).drops) == ["incomplete"]
    assert joined(FIRST, OTHER) == Additions()


# ---- thoughts

Y1, Y2 = attempt(P, "a\nThe answer is 1"), attempt(P, "b\nThe answer is 2\n", 1)
FINAL = attempt(P, "c\nThe answer is 3", 0, "combine", parent=Y2.id, kind="revised")
BETTER = attempt(P, "d\nThe answer is 4", 1, "combine", parent=Y2.id, kind="revised")


def thoughts(*attempts: Attempt, **options: Any) -> Additions:
    return joined(*attempts, style="thoughts", last="combine", feedback="chains_try_again", **options)


def test_thoughts_are_masked_and_the_last_answer_is_trained() -> None:
    a = thoughts(Y1, Y2, FINAL).attempts[0]
    by_turn = ["".join(s.text for s in a.steps if s.turn == t) for t in range(3)]
    assert by_turn == ["a\nThe answer is 1\n\nb\nThe answer is 2", "There may be an error\nSolve it again", FINAL.text]
    assert {(s.turn, s.train) for s in a.steps} == {(0, False), (1, False), (2, True)}
    assert {s.role for s in a.steps if s.turn == 0} == {"thought"} and a.final_text == FINAL.text
    assert (a.style, a.parent, a.other) == ("thoughts", Y2.id, FINAL.id)


@pytest.mark.parametrize(
    ("values", "code"),
    [
        ((0.0, 0.5, 0.5), None),
        ((0.5, 0.5, 0.5), None),
        ((0.5, 0.0, 1.0), "quality_falls"),
        ((0, 1, 0.5), "quality_falls"),
    ],
)
def test_quality_never_falls(values: tuple[float, float, float], code: str | None) -> None:
    told = dict(zip((Y1.id, Y2.id, FINAL.id), values, strict=True))
    found = thoughts(Y1, Y2, FINAL, estimates=told, rising="quality")
    assert codes(found.drops) == ([code] if code else []) and len(found.attempts) == (code is None)


def test_quality_that_is_not_known_is_no_quality() -> None:
    assert codes(thoughts(Y1, Y2, FINAL, estimates={Y1.id: 0.0}, rising="quality").drops) == ["quality_unknown"]


def test_the_best_answers_are_taken() -> None:
    told = {Y1.id: 0.0, Y2.id: 0.0, FINAL.id: 0.4, BETTER.id: 0.6}
    found = thoughts(Y1, Y2, FINAL, BETTER, estimates=told, rising="quality")
    assert [a.other for a in found.attempts] == [BETTER.id]
    found = thoughts(Y1, Y2, FINAL, BETTER, estimates=told, rising="quality", most=0)
    assert {a.other for a in found.attempts} == {BETTER.id, FINAL.id}


def test_a_cut_thought_is_no_thought() -> None:
    a = thoughts(replace(Y1, complete=False), Y2, FINAL).attempts[0]
    assert a.steps[0] == Step(text="b\n", role="thought", train=False)
    assert codes(thoughts(replace(Y1, complete=False), replace(Y2, complete=False), FINAL).drops) == ["too_few"]


def test_a_trace_without_words_between_is_refused() -> None:
    with pytest.raises(RecipeError, match="lead"):
        joined(FIRST, TURN1, leads=())
