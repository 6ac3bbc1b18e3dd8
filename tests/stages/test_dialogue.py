"""A conversation of attempt, feedback and refinement: the first is context, the other two are trained."""

from typing import Any

import pytest
from msgspec.structs import replace

from errata.records.types import Additions, Attempt, Critique, Episode, Outcome
from errata.stages.dialogue import dialogue
from tests.stages.support import attempt, codes, critique, episode, problem, run, verdict

P = problem(6)
FIRST = attempt(P, "amber is 1\nThe answer is 1")
SAID = critique(FIRST, 0, "Step 1 is wrong : look\n", seen=("reference",))
SECOND = attempt(P, "amber is 2\nThe answer is 2", 0, "revise", parent=FIRST.id, critique=SAID.id, seen=("weights",))


def joined(first: Outcome = "fail", said: Critique = SAID, second: Attempt = SECOND, **options: Any) -> Additions:
    start = episode(P, FIRST, second, outcomes=[first, "pass"], critiques=[said])
    return run(dialogue, start, **{"feedback": "chains_critique", "refine": "chains_refine", **options})


def test_five_turns_of_which_feedback_and_refinement_are_trained() -> None:
    made = joined()
    (found,) = made.attempts
    turns = [
        (t, "".join(s.text for s in found.steps if s.turn == t), {s.train for s in found.steps if s.turn == t})
        for t in range(5)
    ]
    assert turns == [
        (0, FIRST.text, {False}),
        (1, "Find the first wrong step", {False}),
        (2, "Step 1 is wrong : look", {True}),
        (3, "Correct the solution", {False}),
        (4, SECOND.text, {True}),
    ]
    assert {s.role for s in found.steps if s.turn == 2} == {"critique"}
    assert [s.role for s in found.steps if s.turn == 4] == ["correction", "answer"]
    assert found.final_text == SECOND.text, "what a verifier judges"
    assert (found.parent, found.other, found.critique) == (FIRST.id, SECOND.id, SAID.id)
    assert found.seen == ("reference", "weights") and not made.drops


def test_the_general_prompts_ask_too_and_the_mask_is_an_option() -> None:
    (found,) = joined(feedback="give_feedback", refine="refine", mask=False).attempts
    assert all(s.train for s in found.steps if s.turn % 2 == 0)
    asks = ["".join(s.text for s in found.steps if s.turn == t) for t in (1, 3)]
    assert asks[0].startswith("Check this solution") and asks[1].startswith("Now use this feedback")


CLEAR = replace(SAID, verdict="no_error", first_error=None, text="Every step is right")


@pytest.mark.parametrize(
    ("first", "said", "kept"),
    [
        ("fail", SAID, True),
        ("pass", CLEAR, True),
        ("pass", SAID, False),
        ("fail", CLEAR, False),
        ("unknown", SAID, False),
        ("unknown", replace(SAID, verdict="unknown"), False),
    ],
)
def test_feedback_that_the_verdict_contradicts_teaches_nothing(first: Outcome, said: Critique, kept: bool) -> None:
    made = joined(first, said)
    assert len(made.attempts) == kept and codes(made.drops) == ([] if kept else ["feedback_wrong"])


def test_only_accepted_revisions_with_a_critique_and_at_most_so_many() -> None:
    assert joined(second=replace(SECOND, critique=None)) == Additions()
    start = episode(P, FIRST, SECOND, outcomes=["fail", "fail"], critiques=[SAID])
    assert run(dialogue, start, feedback="chains_critique", refine="chains_refine") == Additions()
    other = replace(SECOND, id="other", index=1)
    both: Episode = episode(P, FIRST, SECOND, other, outcomes=["fail", "pass", "pass"], critiques=[SAID])
    made = run(dialogue, both, feedback="chains_critique", refine="chains_refine", most=1)
    assert len(made.attempts) == 1 and codes(made.drops) == ["enough"]
    rejected = both.add(Additions(verdicts=(verdict(other, "fail", "filter", "filter"),)))
    assert len(run(dialogue, rejected, feedback="chains_critique", refine="chains_refine").attempts) == 1
