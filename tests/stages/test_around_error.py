"""Lessons around the first error of a failed run."""

from collections.abc import Iterator
from typing import Any

import pytest

from errata.engines.expert import Expert
from errata.environments.base import DEAD_END
from errata.environments.hosts import open_now
from errata.records.trajectory import moves
from errata.records.types import Additions, Attempt, Episode, Problem
from errata.stages.act import act
from errata.stages.around_error import around_error
from tests.stages.acting import conversation, replayed, scripted, task
from tests.stages.support import Says, World, codes, grown, run

HOUSE = task()
GOLD = HOUSE.solution


def failed(*said: str) -> Episode:
    return grown(act, Episode(problem=HOUSE), World({"student": scripted(*said)}))


def lessons(*said: str, **options: object) -> tuple[Additions, dict[str, Attempt]]:
    made = run(around_error, failed(*said), World({"teacher": Expert()}), **options)
    return made, {t.value: a for a in made.attempts for t in a.tags if t.name == "lesson"}


def test_a_right_action_in_the_place_of_the_first_error_and_one_after_noticing_it() -> None:
    made, by = lessons(GOLD[0], GOLD[1], "go to garage", "look", "stop")
    pre, post = by["pre_error"], by["post_error"]
    assert [m.action for m in moves(pre.steps)] == list(GOLD[:3])
    assert [m.action for m in moves(post.steps)] == [*GOLD[:2], "go to garage", "undo"]
    for attempt in (pre, post):
        trained = [s for s in attempt.steps if s.train]
        assert {s.turn for s in trained} == {moves(attempt.steps)[-1].turn}, "only what comes after the run's own steps"
        assert replayed(HOUSE, conversation(HOUSE, attempt.steps))[0] == []
        assert (
            attempt.kind == "revised"
            and attempt.parent == failed(GOLD[0], GOLD[1], "go to garage", "look", "stop").attempts[0].id
        )
    assert [s.role for s in post.steps if s.train] == ["reflection", "correction"]
    assert [(e.name, e.value) for e in made.estimates] == [("first_error_step", 4.0)]


def test_an_action_that_changes_nothing_is_an_error() -> None:
    _made, by = lessons(GOLD[0], "look", "go to garage", "stop")
    assert [m.action for m in moves(by["post_error"].steps)] == [GOLD[0], "look", GOLD[1]]


def test_a_goal_that_is_lost_without_a_word_has_no_lesson_after_it() -> None:
    """Crafting goes on after a scarce item was wasted."""
    lost, *way = next(x for seed in range(40) for x in wasteful(task("crafting", seed=seed, difficulty=4)))
    start = grown(act, Episode(problem=lost), World({"student": scripted(*way, "stop")}))
    made = run(around_error, start, World({"teacher": Expert()}))
    assert codes(made.drops) == ["irreversible"] and made.drops[0].detail == way[-1] and len(made.attempts) == 1


def wasteful(problem: Problem) -> Iterator[tuple[Any, ...]]:
    """(problem, *actions) of which the last loses the goal, and the world does not end."""
    assert problem.task is not None
    world, _ = open_now(problem.task)
    for i, right in enumerate(problem.solution):
        state = world.snapshot()
        for action in world.valid_actions():
            world.restore(state)
            if not world.step(action).done and world.distance() == DEAD_END:
                yield problem, *problem.solution[:i], action
        world.restore(state)
        world.step(right)


def test_without_undo_the_way_back_is_walked() -> None:
    _, by = lessons(GOLD[0], GOLD[1], "go to garage", "stop", undo=False)
    assert moves(by["post_error"].steps)[-1].action == "go to study"


def test_an_error_that_cannot_be_undone_has_no_lesson_after_it() -> None:
    made, by = lessons(*GOLD[:5], "throw white mug away")
    assert set(by) == {"pre_error"} and codes(made.drops) == ["irreversible"]
    assert moves(by["pre_error"].steps)[-1].action == GOLD[5]


def test_a_run_that_stops_too_early_goes_on() -> None:
    _made, by = lessons(GOLD[0], "stop")
    assert set(by) == {"pre_error"} and [m.action for m in moves(by["pre_error"].steps)] == list(GOLD[:2])
    assert replayed(HOUSE, conversation(HOUSE, by["pre_error"].steps))[0] == []


def test_a_run_that_passes_has_none() -> None:
    made, by = lessons(*GOLD)
    assert by == {} and made.drops == ()


@pytest.mark.parametrize(("said", "code"), [("", "parse"), ("The iron key is what I need.", "ungrounded")])
def test_what_is_unfit_is_turned_away(said: str, code: str) -> None:
    start = failed("go to garage", "stop")
    made = run(around_error, start, World({"teacher": Says(lambda r: said)}))
    assert codes(made.drops) == [code]
    assert [start.add(made).rejects(a.id) for a in made.attempts] == [False, True]
