"""Blocksworld: its rules, what it says of a refused action, and that its shortest plans are shortest."""

import random
import time
from collections import deque
from typing import Any

import pytest

from errata.environments.blocks import Blocks, parse
from errata.environments.blocks_plan import lower_bound
from tests.environments import contract

SPEC = {
    "blocks": ["a", "b", "c"],
    "init": ["ontable a", "on b a", "ontable c", "clear b", "clear c", "handempty"],
    "goal": ["on a b", "on b c"],
}


def begun(spec: dict[str, Any] = SPEC, actions: tuple[str, ...] = ()) -> Blocks:
    world = Blocks()
    world.reset(spec)
    for action in actions:
        assert world.step(action).valid, action
    return world


def breadth_first(world: Blocks) -> int:
    """Fewest actions to the goal, by trying all."""
    if all(world.checks().values()):
        return 0
    start = world.snapshot()
    seen, queue = {world.valid_actions()}, deque([(start, 0)])
    while queue:
        state, far = queue.popleft()
        world.restore(state)
        for action in world.valid_actions():
            world.restore(state)
            if world.step(action).done:
                return far + 1
            known = (world.valid_actions(), tuple(world.snapshot()[2].items()))
            if known not in seen:
                seen.add(known)
                queue.append((world.snapshot(), far + 1))
    raise AssertionError("the goal cannot be reached")


@pytest.mark.parametrize("check", contract.CHECKS, ids=lambda check: check.__name__)
def test_the_contract(check: contract.Check) -> None:
    check(Blocks, range(1, 6))


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ("(unstack b3 b1)", "(unstack b3 b1)"),
        ("unstack b3 b1", "(unstack b3 b1)"),
        ("Unstack the b3 block from on top of the b1 block.", "(unstack b3 b1)"),
        ("(PICK-UP a)", "(pick-up a)"),
        ("pick up block a", "(pick-up a)"),
        ("put down a on the table", "(put-down a)"),
        ("(put-down a table)", "(put-down a)"),
        ("stack a on top of b", "(stack a b)"),
        ("Stack the red block onto blue", "(stack red blue)"),
    ],
)
def test_an_action_is_read_in_pddl_and_in_words(said: str, meant: str) -> None:
    assert str(parse(said)) == meant


@pytest.mark.parametrize("said", ["", "look", "(put-down g l)", "(pick-up j k)", "(stack a)", "stack a on b on c"])
def test_what_is_no_action_is_not_guessed_at(said: str) -> None:
    assert parse(said) is None


@pytest.mark.parametrize(
    ("before", "action", "missing"),
    [
        ((), "(pick-up b)", "(ontable b)"),
        ((), "(pick-up a)", "(clear a)"),
        ((), "(unstack c a)", "(on c a)"),
        ((), "(put-down a)", "(holding a)"),
        ((), "(stack b c)", "(holding b)"),
        ((), "(stack c a)", "(clear a), (holding c)"),
        (("(pick-up c)",), "(unstack b a)", "(handempty)"),
        (("(pick-up c)",), "(stack c c)", "(clear c)"),
        (("(pick-up c)",), "(pick-up a)", "(clear a), (handempty)"),
        (("(pick-up c)",), "(pick-up c)", "(clear c), (ontable c), (handempty)"),
    ],
)
def test_a_refused_action_is_named_with_every_precondition_that_does_not_hold(
    before: tuple[str, ...], action: str, missing: str
) -> None:
    world = begun(actions=before)
    state = world.snapshot()
    turn = world.step(action)
    assert (turn.valid, turn.changed, turn.done) == (False, False, False)
    assert turn.observation.startswith(f"{action} is not possible") and turn.observation.endswith(f": {missing}.")
    assert world.snapshot() == state


def test_nothing_of_the_spec_is_unknown_to_an_agent() -> None:
    first = Blocks().reset(SPEC)
    assert all(told in first for told in ("b is on a", "a is on the table", "Your hand is empty", "Goal:\n  a is on b"))
    assert "no block z" in begun().step("(pick-up z)").observation
    assert "stack X on Y" in begun().step("fly").observation


def test_the_reward_comes_with_the_whole_goal_and_the_checks_tell_its_parts() -> None:
    world = begun(actions=("unstack b from a", "stack b on c"))
    assert world.checks() == {"on a b": False, "on b c": True}
    assert world.step("pick up a").reward == 0.0
    assert world.distance() == 1
    turn = world.step("stack a on b")
    assert (turn.reward, turn.done, world.distance()) == (1.0, True, 0)
    assert world.checks() == {"on a b": True, "on b c": True} and world.valid_actions() == ()
    assert not world.step("unstack a from b").valid


def test_an_endless_episode_goes_on_and_the_goal_must_hold_at_its_end() -> None:
    world = begun({**SPEC, "goal": ["on b c"], "endless": True}, ("unstack b from a",))
    turns = [world.step(action) for action in ("stack b on c", "pick up a", "put down a", "unstack b from c")]
    assert [(t.reward, t.done, t.valid) for t in turns] == [(r, False, True) for r in (1.0, 1.0, 1.0, 0.0)]
    assert world.distance() == 1


@pytest.mark.parametrize("item", range(120))
def test_a_shortest_plan_is_as_short_as_breadth_first_search_finds_it(item: int) -> None:
    rng = random.Random(item)
    spec = Blocks.generate(rng, rng.randint(1, 3))
    if item % 3:
        more = [f"{said} {x}" for said in ("clear", "ontable") for x in spec["blocks"] if rng.random() < 0.25]
        goal = [atom for atom in spec["goal"] if rng.random() < 0.6] + more + ["handempty"] * (item % 4 == 0)
        spec = {**spec, "goal": goal or spec["goal"]}
    world = Blocks()
    try:
        world.reset(spec)
    except ValueError:
        world.reset({**spec, "goal": ["handempty", *(f"clear {x}" for x in spec["blocks"])]})
    for _ in range(rng.randint(0, 4)):
        if world.valid_actions():
            world.step(rng.choice(world.valid_actions()))
    state, distance, plan = world.snapshot(), world.distance(), world.gold_actions()
    assert distance is not None and lower_bound(state[2], state[1]) <= distance
    assert distance == breadth_first(world) and plan is not None and len(plan) == distance
    world.restore(state)
    assert all(world.step(action).valid for action in plan) and all(world.checks().values())


def test_a_large_task_is_planned_or_honestly_not() -> None:
    planned = []
    for item in range(12):
        world = Blocks()
        world.reset(Blocks.generate(random.Random(item), 8 + 2 * item))
        begin = time.process_time()
        plan, distance = world.gold_actions(), world.distance()
        assert time.process_time() - begin < 2
        assert (plan is None) == (distance is None) and (plan is None or len(plan) == distance)
        planned.append(plan is not None)
    assert all(planned[:6]) and not all(planned), "sixteen blocks are planned, and there is a bound"


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"goal": ["on a b", "on b a"]}, "above itself"),
        ({"goal": ["on a b", "on c b"]}, "one place"),
        ({"goal": ["on a b", "on a c"]}, "two places"),
        ({"goal": ["on a b", "clear b"]}, "clear"),
        ({"goal": ["holding a"]}, "held"),
        ({"goal": []}, "empty"),
        ({"goal": ["under a b"]}, "under a b"),
        ({"goal": ["on a z"]}, "on a z"),
        ({"init": ["ontable a", "on b a", "clear b"]}, "c is nowhere"),
        ({"init": ["on a b", "on b a", "ontable c"]}, "above itself"),
        ({"init": ["on a c", "on b c", "ontable c"]}, "one place"),
        ({"init": ["ontable a", "on b a", "ontable c", "clear a"]}, "clear a contradicts"),
        ({"init": ["ontable a", "holding b", "holding c"]}, "one place"),
        ({"blocks": ["a", "a", "b", "c"]}, "different names"),
        ({"endless": "no"}, "endless"),
    ],
)
def test_a_spec_that_cannot_be_is_refused(change: dict[str, Any], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        Blocks().reset({**SPEC, **change})


def test_a_problem_in_pddl_is_read_and_the_last_one_counts() -> None:
    one = "(define (:objects x y - block) (:init (handempty) (ontable x) (ontable y)) (:goal (on x y)))"
    two = """(define(problem BW) (:domain blocksworld-4ops) (:objects A b )
(:init\n(handempty)\n(ontable a)\n(on b a)\n(clear b)\n)\n(:goal\n(and\n(on a b))\n)\n)\n)
An action is written (ACTION OBJ1 OBJ2)."""
    assert Blocks.read(one) == {
        "blocks": ["x", "y"], "init": ["handempty", "ontable x", "ontable y"], "goal": ["on x y"], "endless": True,
    }  # fmt: skip
    assert Blocks.read(one + two)["goal"] == ["on a b"] and Blocks.read(one + two)["blocks"] == ["a", "b"]
    with pytest.raises(ValueError, match="objects"):
        Blocks.read("no problem")
    for other in ("(or (on x y) (ontable x))", "(not (on x y))"):
        with pytest.raises(ValueError, match="is no conjunction"):
            Blocks.read(one.replace("(:goal (on x y))", f"(:goal {other})"))


def test_twenty_thousand_steps_a_second() -> None:
    rng = random.Random(1)
    spec = Blocks.generate(rng, 6)
    world = begun(spec)
    actions = []
    while len(actions) < 200:
        actions.append(rng.choice(world.valid_actions() or ("wait",)))
        world.step(actions[-1])
    spent, steps = 0.0, 0
    while steps < 10_000:
        world.reset(spec)
        begin = time.process_time()
        for action in actions:
            world.step(action)
        spent += time.process_time() - begin
        steps += len(actions)
    assert steps / spent > 20_000
