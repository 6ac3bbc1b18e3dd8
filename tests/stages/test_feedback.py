"""The evidence of verdicts as critiques: whose, of which attempts, and where the fault is."""

from msgspec.structs import replace

from errata.records.types import Additions, Attempt, Critique, Outcome
from errata.stages.feedback import feedback
from tests.stages.support import attempt, episode, problem, run, verdict

P = replace(problem(3), verifier="world")
TWO = attempt(P, "pick up a\nstack a on b")


def said(about: Attempt, outcome: Outcome, evidence: str, **options: object) -> tuple[Critique, ...]:
    told = replace(verdict(about, outcome, verifier="world"), evidence=evidence)
    return run(feedback, episode(P, about).add(Additions(verdicts=(told,))), **options).critiques


def test_a_failed_attempt_is_criticised_in_the_verifiers_words() -> None:
    (c,) = said(TWO, "fail", "action 2, 'stack a on b': no")
    assert (c.attempt, c.source, c.verdict, c.first_error) == (TWO.id, "verifier", "error", 1)
    assert c.text == "action 2, 'stack a on b': no" and c.seen == () and c.call is None


def test_a_plan_that_ends_too_early_fails_after_its_last_step() -> None:
    early = "the plan ends before the goal is reached, after 2 actions: not true are (on c a)"
    assert [c.first_error for c in said(TWO, "fail", early)] == [2]
    assert [c.first_error for c in said(TWO, "fail", "action 9, 'x': of no step of this attempt")] == [None]
    assert [c.first_error for c in said(TWO, "fail", "7")] == [None], "another verifier names no action"


def test_only_the_outcomes_and_the_step_that_are_asked_for() -> None:
    assert said(TWO, "pass", "") == said(TWO, "unknown", "cut") == said(TWO, "fail", "x", of="loop") == ()
    (c,) = said(TWO, "unknown", "cut", outcomes=("unknown", "pass"))
    assert (c.verdict, c.first_error) == ("unknown", None)
    (c,) = said(TWO, "pass", "", outcomes=("unknown", "pass"), of="")
    assert c.verdict == "no_error"
