"""Difficulty is a number on the episode, and a band of it ends the others with the reason."""

import pytest
from msgspec.structs import replace

from errata import chains
from errata.engines.oracle import Oracle
from errata.errors import RecipeError
from errata.records.types import Additions, Episode, Estimate
from errata.stages.band import band
from errata.stages.rate import rate
from tests.stages.support import Says, World, attempt, chain_of, codes, cut, episode, problem, run


def test_new_attempts_are_sampled_verified_and_counted() -> None:
    p = problem(1)
    made = run(rate, episode(p), World({"student": Oracle(skill=0.5)}), n=20, options={"strict": True})
    (found,) = made.estimates
    passed = [v.outcome for v in made.verdicts].count("pass")
    assert (found.target, found.name, found.n, found.value) == (p.id, "pass_rate", 20, passed / 20)
    assert 0 < passed < 20 and len(made.attempts) == 20 and {a.kind for a in made.attempts} == {"sampled"}


def test_attempts_that_exist_are_counted_and_nobody_is_asked() -> None:
    p = problem(1)
    tries = [attempt(p, "x", i) for i in range(4)]
    start = episode(p, *tries, outcomes=["pass", "fail", "unknown", "fail"])
    made = run(rate, start, of="sample")
    assert made == Additions(estimates=made.estimates)
    assert [(e.value, e.n) for e in made.estimates] == [(1 / 3, 3)], "unknown is not wrong"


def test_without_a_verdict_there_is_no_rate() -> None:
    p = problem(1)
    made = run(rate, episode(p), World({"student": Says(lambda _: cut("The answer is"))}), n=2)
    assert not made.estimates and len(made.attempts) == 2
    right = "\n".join(chains.solve(chain_of(p)))
    assert run(rate, episode(p), World({"student": Says(lambda _: right)}), n=2).estimates[0].value == 1.0


def rated(value: float | None) -> Episode:
    start = episode(problem(1))
    made = Estimate(target=start.id, stage="rate", name="pass_rate", value=value or 0.0, n=8)
    return start if value is None else start.add(Additions(estimates=(made,)))


@pytest.mark.parametrize(
    ("value", "zero", "code"),
    [
        (0.2, False, ""), (0.8, False, ""), (0.5, False, ""), (0.19, False, "below_band"), (0.81, False, "above_band"),
        (0.0, False, "below_band"), (0.0, True, ""), (0.1, True, "below_band"), (None, True, "not_rated"),
    ],
)  # fmt: skip
def test_a_band_ends_what_lies_outside(value: float | None, zero: bool, code: str) -> None:
    start = rated(value)
    made = run(band, start, lo=0.2, hi=0.8, zero=zero)
    assert codes(made.drops) == ([code] if code else [])
    assert made == Additions(drops=made.drops) and all(d.target == start.id and d.detail for d in made.drops)


def test_an_empty_band_is_a_fault_of_the_recipe() -> None:
    with pytest.raises(RecipeError, match="is empty"):
        run(band, replace(rated(0.5)), lo=0.8, hi=0.2)
