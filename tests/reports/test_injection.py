"""Injected errors are compared with the student's own by kind and place."""

from collections import Counter

import pytest
from msgspec.structs import replace

from errata.records.types import Injection
from errata.reports.injection import distance, injection, measure_injection
from tests.stages.support import attempt, critique, episode, problem, slipped, user, verdict


def test_the_distance_is_that_of_the_shares() -> None:
    assert distance({"a": 1}, {"a": 5}) == 0 and distance({"a": 1}, {"b": 1}) == 1
    assert distance({"a": 3, "b": 1}, {"a": 1, "b": 1}) == pytest.approx(0.25)
    assert distance({}, {"a": 1}) is None


def test_kinds_and_places_of_chains_are_told_by_one_judge() -> None:
    total: Counter[str] = Counter()
    for seed in range(3):
        p = problem(seed, operations=5)
        own = attempt(p, slipped(p, "order"))
        made = replace(
            attempt(p, slipped(p, "operand"), 1, stage="inject"),
            kind="injected", injection=Injection(kind="result", step=0, original=""),
        )  # fmt: skip
        cut = replace(attempt(p, slipped(p, "order"), 2), complete=False)
        total += measure_injection(episode(p, own, made, cut, outcomes=["fail"] * 3))
    told = injection(total)
    assert told["own"]["kinds"] == {"order": 3} and told["injected"]["kinds"] == {"operand": 3}
    assert told["injected"]["rules"] == {"result": 3} and sum(told["own"]["tenths"]) == 3
    assert told["kinds_distance"] == 1.0 and 0 <= told["tenths_distance"] <= 1
    own_alone = {k: n for k, n in total.items() if "\town\t" in k}
    assert injection(own_alone) == {}, "nothing was injected"


def test_elsewhere_places_alone_are_known() -> None:
    p = user("What?")
    a = attempt(p, ["x"] * 10)
    start = episode(p, a, critiques=[critique(a, 4, source="judge")])
    start = replace(start, verdicts=(verdict(a, "fail", verifier=p.verifier),))
    assert measure_injection(start) == {"injection\town\ttenths\t4": 1}
