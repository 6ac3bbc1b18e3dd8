"""What every text world promises, as checks that take the world's class and the difficulties to try.

    @pytest.mark.parametrize("check", contract.CHECKS, ids=lambda check: check.__name__)
    def test_the_contract(check: contract.Check) -> None:
        check(House, range(1, 6))

A walk is a random sequence of numbers; each picks one of the valid actions of the state where it stands, or, where the
state has none, ends the walk. Checks ask only for what the world says that it can do: a world whose `distance` or
`gold_actions` is None, or that has no snapshots, passes those that are about them.
"""

import itertools
import json
import random
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from errata import registry
from errata.environments.base import DEAD_END, SPLITS, World, split_of
from errata.records.ids import canonical

Check = Callable[[type[World], Sequence[int]], None]
TASKS = 12
"""Tasks of each difficulty."""

walks = st.lists(st.integers(0, 10**6), max_size=25)
seeds = st.integers(0, 10**6)


def specs(world: type[World], levels: Sequence[int], count: int = TASKS) -> Iterator[dict[str, Any]]:
    """Tasks of every difficulty."""
    for level, i in itertools.product(levels, range(count)):
        yield world.generate(random.Random(f"{level}/{i}"), level)


def name_of(world: type[World]) -> str:
    """The name that tasks call it by."""
    component: registry.Component = world.__errata__  # type: ignore[attr-defined]
    assert registry.find("environment", component.name).make is world
    return component.name


def begun(world: type[World], spec: dict[str, Any], actions: Sequence[str] = ()) -> World:
    """A fresh world at the state after these actions."""
    played = world()
    played.reset(spec)
    for action in actions:
        played.step(action)
    return played


def walk(played: World, picks: Sequence[int]) -> list[str]:
    """Valid actions taken one after the other, as the numbers pick them."""
    taken = []
    for pick in picks:
        actions = played.valid_actions()
        if not actions:
            break
        taken.append(actions[pick % len(actions)])
        played.step(taken[-1])
    return taken


def view(played: World) -> tuple[Any, ...]:
    """All that a world tells of its state."""
    kept = played.snapshot() if played.snapshots else None
    return played.valid_actions(), played.gold_actions(), played.distance(), played.checks(), kept


def generation_follows_its_generator(world: type[World], levels: Sequence[int]) -> None:
    """The same random numbers give the same task, which is plain JSON; others give others."""
    for level in levels:
        drawn = [canonical(world.generate(random.Random(i), level)) for i in range(2 * TASKS)]
        assert drawn == [canonical(world.generate(random.Random(i), level)) for i in range(2 * TASKS)]
        assert len(set(drawn)) > TASKS
        for text in drawn:
            assert begun(world, json.loads(text)).distance() != DEAD_END


def splits_share_no_task(world: type[World], levels: Sequence[int]) -> None:
    """A task lies in one split, and every split has some."""
    found: dict[str, set[str]] = {name: set() for name, _ in SPLITS}
    for spec in specs(world, levels, 60):
        found[split_of(name_of(world), spec)].add(canonical(spec))
    assert all(found.values())
    assert not any(a & b for a, b in itertools.combinations(found.values(), 2))


def same_actions_give_the_same_words(world: type[World], levels: Sequence[int]) -> None:
    """A fresh object, and one that has played another task, answer as the first did."""
    used = world()

    @settings(max_examples=40)
    @given(seeds, seeds, st.sampled_from(levels), walks)
    def check(seed: int, other: int, level: int, picks: list[int]) -> None:
        spec = world.generate(random.Random(seed), level)
        first = world()
        said = [first.reset(spec)]
        actions = walk(first, picks)
        again, told = world(), []
        told.append(again.reset(json.loads(canonical(spec))))
        used.reset(world.generate(random.Random(other), level))
        walk(used, picks)
        assert used.reset(spec) == told[0] == said[0]
        for action in actions:
            assert again.step(action) == used.step(action)
        assert view(again) == view(used) == view(first)
        assert view(first) == view(first), "to look changes nothing"

    check()


def a_snapshot_is_the_replay(world: type[World], levels: Sequence[int]) -> None:
    """A restored state, in a fresh object too, is the one that reset and replay reach, whatever happened since."""
    if not world.snapshots:
        pytest.skip("the world has no snapshots")

    @settings(max_examples=40)
    @given(seeds, st.sampled_from(levels), walks, walks, walks)
    def check(seed: int, level: int, picks: list[int], detour: list[int], rest: list[int]) -> None:
        spec = world.generate(random.Random(seed), level)
        played = begun(world, spec)
        actions = walk(played, picks)
        state = played.snapshot()
        walk(played, detour)
        played.restore(state)
        fresh = world()
        fresh.restore(state)
        replayed = begun(world, spec, actions)
        assert view(played) == view(fresh) == view(replayed)
        after = walk(begun(world, spec, actions), rest)
        for action in after:
            assert played.step(action) == fresh.step(action) == replayed.step(action)
        assert view(played) == view(fresh) == view(replayed)
        fresh.restore(state)
        assert view(fresh) == view(begun(world, spec, actions)), "a snapshot does not change with what came after"

    check()


def gold_actions_solve_every_task(world: type[World], levels: Sequence[int]) -> None:
    """To reward 1 and the end, each one nearer by one; the reward is 1 at no other place."""
    for spec in specs(world, levels):
        played = begun(world, spec)
        gold = played.gold_actions()
        if gold is None:
            assert played.distance() is None, "a world that knows the distance knows a way"
            pytest.skip("the world knows no way")
        assert gold, "no task is done before it begins"
        told = played.distance()
        for left, action in zip(range(len(gold), 0, -1), gold, strict=True):
            if told is not None:
                assert played.distance() == left
                assert len(played.gold_actions() or ()) == left
            assert action in played.valid_actions()
            turn = played.step(action)
            assert turn.valid and turn.changed and (turn.reward == 1.0) == turn.done == (left == 1)
        assert told is None or played.distance() == 0
        assert all(played.checks().values()) and played.valid_actions() == ()


def the_end_is_the_end(world: type[World], levels: Sequence[int]) -> None:
    """After it, every action is invalid and changes nothing."""
    for spec in specs(world, levels, 2):
        played = begun(world, spec)
        gold = played.gold_actions()
        if gold is None:
            assert played.distance() is None, "a world that knows the distance knows a way"
            pytest.skip("the world knows no way")
        turns = [played.step(action) for action in gold]
        before = view(played)
        for action in (*gold, ""):
            turn = played.step(action)
            assert turn.done and not turn.valid and not turn.changed and turn.reward == turns[-1].reward
        assert view(played) == before


def distances_are_fewest_actions(world: type[World], levels: Sequence[int]) -> None:
    """No valid action gains more than one, the gold way has the distance's length, and a dead end stays one.

    Together: a distance is never above what a way takes, and never below what valid actions can do.
    """

    @settings(max_examples=40)
    @given(seeds, st.sampled_from(levels), walks)
    def check(seed: int, level: int, picks: list[int]) -> None:
        played = begun(world, world.generate(random.Random(seed), level))
        before = played.distance()
        if before is None:
            return
        for pick in picks:
            actions = played.valid_actions()
            if not actions:
                break
            turn = played.step(actions[pick % len(actions)])
            now = played.distance()
            assert now is not None and now >= before - 1
            if not turn.changed:
                assert now == before
            gold = played.gold_actions()
            assert (gold is None) == (now == DEAD_END)
            assert gold is None or len(gold) == now
            before = now

    check()


def valid_actions_are_valid(world: type[World], levels: Sequence[int]) -> None:
    """Each once, in an order that the state determines, and allowed: by a state that was replayed to."""

    @settings(max_examples=15)
    @given(seeds, st.sampled_from(levels), walks)
    def check(seed: int, level: int, picks: list[int]) -> None:
        spec = world.generate(random.Random(seed), level)
        played = begun(world, spec)
        actions = walk(played, picks)
        offered = played.valid_actions()
        assert len(set(offered)) == len(offered)
        for action in offered:
            assert begun(world, spec, actions).step(action).valid

    check()


def unchanged_means_unchanged(world: type[World], levels: Sequence[int]) -> None:
    """Whatever text an agent writes is answered; what is invalid or said to change nothing does not."""

    @settings(max_examples=100)
    @given(seeds, st.sampled_from(levels), walks, st.lists(st.text(), max_size=4), st.lists(seeds, max_size=8), seeds)
    def check(seed: int, level: int, picks: list[int], texts: list[str], near: list[int], cut: int) -> None:
        played = begun(world, world.generate(random.Random(seed), level))
        words = [*" ".join(played.valid_actions()).split(), ",", "0", "-1", "1.5", "9" * 5000, "\u0663", "\x00"]
        walk(played, picks)
        mixed = " ".join(words[i % len(words)] for i in near)
        for text in ("", mixed, *texts, *(action[: cut % len(action)] for action in played.valid_actions()[:3])):
            before = view(played)
            turn = played.step(text)
            assert isinstance(turn.observation, str) and 0 <= turn.reward <= 1
            assert turn.valid or not turn.changed
            assert turn.changed or view(played) == before

    check()


def nonsense_is_no_task(world: type[World], levels: Sequence[int]) -> None:
    """A spec with an entry less, or one of another type, is refused with ValueError."""
    spec = world.generate(random.Random(0), levels[0])
    for wrong in ({}, *({k: v for k, v in spec.items() if k != key} for key in spec)):
        with pytest.raises(ValueError):
            world().reset(wrong)
    for key, value in itertools.product(spec, (None, -1, 1.5, "no such thing", [[]], {"": None})):
        with pytest.raises(ValueError):
            world().reset({**spec, key: value})


CHECKS: tuple[Check, ...] = (
    generation_follows_its_generator,
    splits_share_no_task,
    same_actions_give_the_same_words,
    a_snapshot_is_the_replay,
    gold_actions_solve_every_task,
    the_end_is_the_end,
    distances_are_fewest_actions,
    valid_actions_are_valid,
    unchanged_means_unchanged,
    nonsense_is_no_task,
)
