"""Some of a group are taken, the right or the best first; the others are told why not."""

from collections.abc import Sequence

import pytest

from errata.records.types import Additions, Attempt, Episode, Estimate, Outcome, Verdict
from errata.stages.select import select
from tests.stages.support import World, attempt, episode, problem, run

P = problem(8)
TRIES = [attempt(P, f"The answer is {i}", i, stage="revise") for i in range(4)]


def start(*outcomes: Outcome) -> Episode:
    return episode(P, *TRIES, attempt(P, "x", stage="sample"), outcomes=[*outcomes, "pass"])


def taken(found: Additions) -> list[str]:
    return [v.target for v in found.verdicts if v.outcome == "pass"]


def ids(*places: int) -> set[str]:
    return {TRIES[i].id for i in places}


@pytest.mark.parametrize(
    ("outcomes", "most", "expected"),
    [
        (["fail", "fail", "pass", "unknown"], 1, {2}),
        (["fail", "unknown", "unknown", "unknown"], 1, {0}),
        (["unknown", "pass", "fail", "pass"], 2, {1, 3}),
        (["unknown", "pass", "fail", "pass"], 3, {1, 2, 3}),
        (["unknown", "pass", "fail", "pass"], 9, {0, 1, 2, 3}),
    ],
)
def test_right_ones_go_before_wrong_ones_before_unknown_ones(
    outcomes: Sequence[Outcome], most: int, expected: set[int]
) -> None:
    found = run(select, start(*outcomes), of="revise", most=most)
    assert set(taken(found)) == ids(*expected)
    others = ids(0, 1, 2, 3) - ids(*expected)
    assert {v.target for v in found.verdicts if v.outcome == "fail"} == others == {d.target for d in found.drops}
    assert {v.verifier for v in found.verdicts} == {"filter"}, "the step sample is not concerned"
    told = {(d.code, d.kind, d.detail) for d in found.drops}
    assert told <= {("not_selected", "filtered", f"{most} of 4 are taken")}
    after = start(*outcomes).add(found)
    assert {a.id for a in after.attempts if a.stage == "revise" and not after.rejects(a.id)} == ids(*expected)


def test_by_an_estimate_the_highest_go_first_and_those_without_last() -> None:
    scores = [0.2, 0.9, 0.5]
    given = start("pass", "fail", "fail", "pass").add(
        Additions(
            estimates=tuple(
                Estimate(target=TRIES[i].id, stage="score", name="score", value=v, n=1, engine="")
                for i, v in enumerate(scores)
            )
        )
    )
    for most, expected in ((1, {1}), (2, {1, 2}), (3, {0, 1, 2})):
        assert set(taken(run(select, given, of="revise", most=most, prefer="estimate", estimate="score"))) == ids(
            *expected
        )


def test_ties_are_drawn_from_the_problem() -> None:
    first: set[int] = set()
    for seed in range(12):
        of = problem(seed)
        tries: list[Attempt] = [attempt(of, str(i), i, stage="revise") for i in range(3)]
        given = episode(of, *tries, outcomes=["pass"] * 3)
        found = taken(run(select, given, World(), of="revise"))
        assert found == taken(run(select, given, World(), of="revise"))
        first.add([a.id for a in tries].index(found[0]))
    assert len(first) > 1, "not always the first"


def test_what_was_turned_away_before_is_not_taken() -> None:
    away = Verdict(target=TRIES[0].id, stage="scrub", verifier="scrub", version=1, outcome="fail")
    found = run(select, start("pass", "fail", "fail", "fail").add(Additions(verdicts=(away,))), of="revise")
    assert len(taken(found)) == 1 and TRIES[0].id not in {v.target for v in found.verdicts}
