"""The vector of named checks that an attempt meets, as a note about it."""

import pytest
from msgspec.structs import replace

from errata.records.types import Additions, Attempt, Check, Episode, Outcome, Verdict
from errata.stages.condition import condition
from tests.stages.support import attempt, episode, problem, run

P = problem(3)
ONE, TWO = attempt(P, "a", 0, "act"), attempt(P, "b", 1, "act")


def judged(of: Attempt, outcome: Outcome, **checks: Outcome) -> Verdict:
    named = tuple(Check(name=name, outcome=o) for name, o in checks.items())
    return Verdict(target=of.id, stage="act", verifier=P.verifier, version=1, outcome=outcome, checks=named)


def start(*verdicts: Verdict, attempts: tuple[Attempt, ...] = (ONE, TWO)) -> Episode:
    return episode(P, *attempts).add(Additions(verdicts=verdicts))


def test_each_attempt_has_its_own_vector_and_the_problem_one_of_all_that_there_are() -> None:
    made = run(condition, start(judged(ONE, "fail", price="pass", colour="fail"), judged(TWO, "pass", price="pass")))
    assert {n.about: (n.kind, n.text) for n in made.notes} == {
        ONE.id: ("checks", "colour: not met\nprice: met\nsolved: not met"),
        TWO.id: ("checks", "price: met\nsolved: met"),
        P.id: ("all_met", "colour: met\nprice: met\nsolved: met"),
    }
    assert not made.drops and len({n.id for n in made.notes}) == 3
    assert all(n.seen == () for n in made.notes), "a verdict is no secret"


@pytest.mark.parametrize(
    "verdict",
    [
        judged(ONE, "fail", price="pass"),
        judged(ONE, "fail", price="pass", colour="unknown"),
        judged(ONE, "unknown", price="pass", colour="pass"),
        replace(judged(ONE, "fail", price="pass", colour="fail"), verifier="label"),
        None,
    ],
    ids=["too few", "a check unknown", "itself unknown", "of another verifier", "none"],
)
def test_an_attempt_whose_checks_are_not_known_has_no_vector_and_a_drop_says_so(verdict: Verdict | None) -> None:
    known = judged(TWO, "pass", price="pass", colour="pass")
    made = run(condition, start(*([verdict] if verdict else []), known), least=2)
    assert {n.about for n in made.notes} == {TWO.id, P.id}
    (drop,) = made.drops
    assert (drop.code, drop.kind) == ("no_checks", "filtered") and ONE.id in drop.detail
    assert drop.target not in (ONE.id, P.id), "the note is dropped, and neither attempt nor episode"


def test_what_was_cut_has_no_vector_and_attempts_of_other_steps_are_none_of_it() -> None:
    cut, other = replace(ONE, complete=False), replace(TWO, stage="mend")
    both = (judged(cut, "fail", price="pass"), judged(other, "pass", price="pass"))
    made = run(condition, start(*both, attempts=(cut, other)))
    assert not made.notes and [d.code for d in made.drops] == ["no_checks"]
    named = run(condition, start(*both, attempts=(cut, other)), of=("mend",))
    assert {n.about for n in named.notes} == {other.id, P.id} and not named.drops
