"""Critiques of one attempt by what they mend, over all steps that measured it."""

import pytest

from errata.records.types import Additions, Critique, Episode, Estimate
from errata.stages.pair import pair
from tests.stages.support import World, attempt, critique, episode, problem, run

P = problem(5)
ONE, TWO = attempt(P, "a\nb", 0), attempt(P, "c\nd", 1)


def says(text: str, index: int, stage: str = "critic_a", of: object = ONE) -> Critique:
    return critique(of, 0, text, stage=stage, index=index)  # type: ignore[arg-type]


def start(*measured: tuple[Critique, dict[str, tuple[float, int]]]) -> Episode:
    """Critiques, each with (rate, samples) by the step that measured it."""
    estimates = tuple(
        Estimate(target=c.id, stage=step, name="closed_loop_rate", value=value, n=n)
        for c, values in measured
        for step, (value, n) in values.items()
    )
    made = episode(P, ONE, TWO, outcomes=["fail", "fail"], critiques=[c for c, _ in measured])
    return made.add(Additions(estimates=estimates))


def pairs(given: Episode, **options: object) -> list[tuple[str, str, float]]:
    fixed = {"rule": "effect", "of": ("critic_a", "critic_b"), "estimate": "closed_loop_rate", "most": 0}
    found = run(pair, given, World(), **{**fixed, **options})
    text = {c.id: c.text for c in given.critiques}
    return [(text[p.chosen], text[p.rejected], round(p.margin or 0, 6)) for p in found.pairs]


def test_the_mean_over_revisers_goes_by_their_samples() -> None:
    # The last reviser alone, and a mean of means, would both prefer y.
    x = says("x", 0), {"effect_a": (0.75, 12), "effect_b": (0.0, 4)}
    y = says("y", 0, "critic_b"), {"effect_a": (0.5, 4), "effect_b": (0.5, 12)}
    assert pairs(start(x, y)) == [("x", "y", 0.0625)]


def test_the_widest_apart_come_first_and_less_than_the_margin_is_none() -> None:
    given = start(*((says(t, i), {"e": (v, 4)}) for i, (t, v) in enumerate((("x", 1.0), ("y", 0.75), ("z", 0.0)))))
    assert pairs(given) == [("x", "z", 1.0), ("y", "z", 0.75), ("x", "y", 0.25)]
    assert pairs(given, margin=0.25)[-1] == ("x", "y", 0.25) and len(pairs(given, margin=0.3)) == 2
    assert pairs(given, most=1) == [("x", "z", 1.0)]


@pytest.mark.parametrize(
    "other",
    [
        (says("x", 1, "critic_b"), {"e": (0.0, 4)}),  # the same words
        (says("y", 1), {"e": (1.0, 4)}),  # the same effect
        (says("y", 1), {}),  # not measured
        (says("y", 1), {"e": (0.0, 0)}),  # measured by nothing
        (says("y", 1, "critic_c"), {"e": (0.0, 4)}),  # of another step
        (says("y", 1, of=TWO), {"e": (0.0, 4)}),  # of another attempt
    ],
)
def test_what_is_no_pair(other: tuple[Critique, dict[str, tuple[float, int]]]) -> None:
    assert pairs(start((says("x", 0), {"e": (1.0, 4)}), other)) == []
    assert pairs(start((says("x", 0), {"e": (1.0, 4)}), (says("y", 1), {"e": (0.0, 4)}))) == [("x", "y", 1.0)]
