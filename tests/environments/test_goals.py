"""Other goals: the same surroundings, another task."""

import random

import msgspec
import pytest

from errata.environments.goals import other_goal
from errata.environments.hosts import open_now
from errata.records.ids import canonical
from errata.records.types import Task
from tests.stages.acting import task


@pytest.mark.parametrize(("world", "fields"), [("house", {"goals"}), ("crafting", {"goal", "count"})])
def test_the_goal_alone_is_another(world: str, fields: set[str]) -> None:
    found = set()
    for seed in range(12):
        problem = task(world, seed=seed, difficulty=3)
        assert problem.task is not None
        spec = msgspec.json.decode(problem.task.spec)
        other = other_goal(world, spec, random.Random(seed))
        assert other is not None and {k for k in spec if spec[k] != other[k]} <= fields
        assert other != spec and msgspec.json.decode(problem.task.spec) == spec, "the spec itself stays as it is"
        played, first = open_now(Task(world=world, spec=canonical(other), version=problem.task.version))
        found.add(played.distance() not in (0.0, None))
        assert world == "crafting" or not other["goals"].keys() & spec["goals"].keys()
        assert first != open_now(problem.task)[1]
    assert found == {True}


def test_of_other_worlds_nothing_is_known() -> None:
    assert other_goal("nowhere", {"goal": "x"}, random.Random(1)) is None
    assert other_goal("crafting", {"goal": "x", "recipes": [{"make": "x"}]}, random.Random(1)) is None
