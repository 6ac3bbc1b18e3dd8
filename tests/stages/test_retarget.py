"""Changed goals: the mistake is one under the problem's own goal, and is mended."""

import itertools

import pytest

from errata.engines.expert import Expert
from errata.environments.hosts import open_now
from errata.records.trajectory import moves
from errata.records.types import Additions, Attempt, Episode, Problem
from errata.stages.retarget import retarget
from tests.stages.acting import conversation, replayed, task
from tests.stages.support import Says, World, codes, run

WRITER = World({"teacher": Expert()})
PROBLEMS = [task(seed=seed, difficulty=3) for seed in range(6)]


def made(problem: Problem, world: World = WRITER, **options: object) -> Additions:
    return run(retarget, Episode(problem=problem), world, **options)


def all_of(**options: object) -> list[tuple[Problem, Attempt]]:
    return [(p, a) for p in PROBLEMS for a in made(p, n=3, **options).attempts]


def distances(problem: Problem, attempt: Attempt) -> list[float | None]:
    """Before the first action, and after each."""
    assert problem.task is not None
    world, _ = open_now(problem.task)
    found = [world.distance()]
    for m in moves(attempt.steps):
        world.step(m.action)
        found.append(world.distance())
    return found


def test_the_mistake_is_the_only_action_that_leads_no_nearer() -> None:
    both = all_of()
    assert len(both) >= 6
    for problem, attempt in both:
        far = distances(problem, attempt)
        at = [m.step for m in moves(attempt.steps)].index(attempt.fork_step)
        worse = [i for i, (a, b) in enumerate(itertools.pairwise(far)) if b >= a]  # type: ignore[operator]
        assert worse == [at], "verified by the world's distance under this goal"
        wrong, right = moves(attempt.steps)[at], moves(attempt.steps)[at + 1]
        assert not attempt.steps[wrong.step].train and attempt.steps[wrong.step].source == "injector"
        assert attempt.steps[right.step].role == "correction" and attempt.steps[right.step - 1].role == "reflection"
        assert [s.train for s in attempt.steps if s.turn % 2 == 0 and s.turn != wrong.turn] == [True] * (
            len(moves(attempt.steps))  # one reflection more, one mistake less
        )
        assert replayed(problem, conversation(problem, attempt.steps)) == ([], 1.0)
        assert attempt.injection is not None and attempt.injection.kind == "changed_goal"
        assert attempt.injection.original != wrong.action and "gold_steps" in attempt.seen


def test_what_leads_away_is_undone_where_that_is_allowed() -> None:
    def undone(**options: object) -> int:
        return sum("undo" in a.text.split("\n") or "\nundo" in a.text for _, a in all_of(**options))

    assert undone() > 0 and undone(undo=False) == 0


def test_a_reflection_that_knows_too_much_is_turned_away() -> None:
    told = made(PROBLEMS[1], World({"teacher": Expert(skill=0.0)}))
    assert codes(told.drops)[0] in ("leak", "ungrounded") and [v.outcome for v in told.verdicts][-1] == "fail"
    said = made(PROBLEMS[1], World({"teacher": Says(lambda r: "Action: look\nWait.")}))
    assert codes(said.drops) == ["parse"]


def test_the_same_mistake_is_told_once_and_a_world_without_other_goals_says_so() -> None:
    several = made(PROBLEMS[1], n=8)
    said = ["".join(s.text for s in a.steps[: (a.fork_step or 0) + 1]) for a in several.attempts]
    assert len(set(said)) == len(said) < 8
    lone = task("crafting", seed=2, difficulty=1)
    found = made(lone, tries=1, n=4)
    assert set(codes(found.drops)) <= {"no_other_goal"} and len(found.attempts) + len(found.drops) <= 4


@pytest.mark.parametrize("world", ["crafting"])
def test_other_worlds_too(world: str) -> None:
    both = [(p, a) for s in range(8) for p in [task(world, seed=s, difficulty=3)] for a in made(p).attempts]
    assert both
    for problem, attempt in both:
        assert replayed(problem, conversation(problem, attempt.steps)) == ([], 1.0)
