"""Tasks of worlds: made from hashed seeds, each in one split, with a gold way that its own verifier accepts."""

import itertools
import json

import pytest

from errata.environments.base import split_of
from errata.errors import RecipeError
from errata.records.types import Drop, Episode, Problem
from errata.sources.worlds import worlds
from errata.verifiers.world import world as verify


def problems(**options: object) -> list[Problem]:
    """Those of `worlds`; two equal tasks are one."""
    items = list(worlds(**{"world": "crafting", "count": 40, "difficulty": (3, 5), **options}))  # type: ignore[arg-type]
    assert all(d.code == "duplicate_problem" for d in items if isinstance(d, Drop))
    return [e.problem for e in items if isinstance(e, Episode)]


def test_the_gold_way_is_accepted_and_half_of_it_is_not() -> None:
    for problem in problems():
        assert verify(problem, "\n".join(problem.solution)).outcome == "pass"
        half = verify(problem, "\n".join(problem.solution[:-1]))
        assert half.outcome == "fail" and half.evidence.startswith("the plan ends before the goal is reached")


def test_a_plan_fails_at_its_first_action_that_is_not_allowed() -> None:
    problem = problems(count=1)[0]
    plan = ["1. fly to the moon", *(f"{i}. {a}" for i, a in enumerate(problem.solution, 2))]
    strict, lenient = verify(problem, "\n".join(plan)), verify(problem, "\n".join(plan), strict=False)
    assert (strict.outcome, lenient.outcome) == ("fail", "pass")
    assert strict.evidence.startswith("action 1, 'fly to the moon': ")
    assert verify(problem, " \n").outcome == "unknown"


@pytest.mark.parametrize("split", ["train", "validation", "test"])
def test_every_task_lies_in_the_split_that_was_asked_for(split: str) -> None:
    for problem in problems(split=split):
        assert problem.task is not None and problem.split == split
        assert split_of("crafting", json.loads(problem.task.spec)) == split


def test_neighbouring_seeds_and_splits_share_no_task_and_the_same_seed_all() -> None:
    made = [{p.id for p in problems(seed=seed, difficulty=(4, 8))} for seed in (1, 2, 3)]
    assert all(len(a & b) <= 2 for a, b in itertools.combinations(made, 2))
    assert made[0] == {p.id for p in problems(seed=1, difficulty=(4, 8))}
    splits = [{p.id for p in problems(split=s, seed=1)} for s in ("train", "validation", "test")]
    assert not any(a & b for a, b in itertools.combinations(splits, 2))


def test_instructions_stand_before_the_first_observation_where_they_are_wanted() -> None:
    told, plain = problems(count=1)[0], problems(count=1, instructions=False)[0]
    assert told.id == plain.id
    assert told.text.endswith(f"\n\n{plain.text}") and plain.text.startswith("Recipes:")


@pytest.mark.parametrize("options", [{"count": 0}, {"difficulty": (2, 1)}, {"difficulty": (0, 1)}, {"world": "moon"}])
def test_what_cannot_be_made_is_refused(options: dict[str, object]) -> None:
    with pytest.raises(RecipeError):
        problems(**options)
