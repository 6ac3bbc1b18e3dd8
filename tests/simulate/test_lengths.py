"""Lengths have the mean and the tail that were asked for, and depend on seed, body and problem alone."""

import math
import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from errata.errors import RecipeError
from errata.simulate.draws import uniform
from errata.simulate.lengths import Lengths, problem_of

BODIES = [b"%d" % n for n in range(40_000)]


def logs(lengths: Lengths, problems: int) -> list[list[float]]:
    """What four requests to each problem draw, as normal scores would."""
    return [[math.log(lengths.draw(b"%d %d" % (p, n), str(p))) for n in range(4)] for p in range(problems)]


def test_mean_and_tail_are_those_asked_for() -> None:
    drawn = sorted(Lengths().draw(body, "") for body in BODIES)
    assert statistics.fmean(drawn) == pytest.approx(113, rel=0.05)
    assert drawn[len(drawn) * 99 // 100] == pytest.approx(1200, rel=0.1)
    assert drawn[0] >= 1


def test_a_share_of_the_variance_is_the_problems() -> None:
    for share in (0.0, 0.5, 1.0):
        rows = logs(Lengths(mean=1000, p99=5000, per_problem=share), 3000)
        within = statistics.fmean(statistics.variance(row) for row in rows)
        total = statistics.variance([x for row in rows for x in row])
        assert 1 - within / total == pytest.approx(share, abs=0.05)


@given(st.integers(0), st.binary(max_size=20))
def test_a_draw_is_a_function_of_seed_and_body(seed: int, body: bytes) -> None:
    assert Lengths(seed=seed % 2**64).draw(body, "p") == Lengths(seed=seed % 2**64).draw(body, "q")
    assert 0 < uniform(seed % 2**64, b"length", body) < 1


def test_seeds_and_purposes_are_independent() -> None:
    assert len({uniform(seed, purpose, b"x") for seed in range(10) for purpose in (b"length", b"fault")}) == 20


def test_the_draws_of_this_version_are_fixed() -> None:
    """Recorded: another machine or release must not draw other lengths for the same seed."""
    assert [Lengths(seed=7).draw(b"%d" % n, "") for n in range(6)] == [63, 29, 22, 84, 45, 34]


@pytest.mark.parametrize(
    "wrong", [{"mean": 0.0}, {"mean": 50.0, "p99": 40.0}, {"mean": 10.0, "p99": 900.0}, {"per_problem": 1.1}]
)
def test_lengths_that_cannot_be_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(RecipeError, match="lengths: "):
        Lengths(**wrong)  # type: ignore[arg-type]


def test_prompts_about_one_problem_have_one_beginning() -> None:
    problem = "All values are modulo 11\namber is 1\nWhat is amber ?"
    assert problem_of(problem) == problem_of(f"Problem:\n{problem}\n\nA solution:\n[1] no") == problem
    assert problem_of("What:") == "What:" and problem_of("") == ""
