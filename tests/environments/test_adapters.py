"""Worlds of other packages keep the protocol, in one process or another, whatever else is played beside them."""

import asyncio
import importlib.util
import os
import random
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from errata import registry
from errata.environments.base import Turn, World
from errata.environments.hosts import Session, Worlds
from errata.environments.processes import Processes
from errata.errors import MissingExtra, WorldError
from errata.records.ids import canonical
from errata.records.types import Task
from errata.sources.worlds import worlds as source
from tests.environments import contract

PACKAGES = {"babyai": "minigrid", "textworld": "textworld", "scienceworld": "scienceworld"}
"""By world, what it is an adapter of."""
SPECS: dict[str, list[dict[str, Any]]] = {
    "babyai": [
        {"level": "BabyAI-GoToLocal-v0", "seed": 5},
        {"level": "BabyAI-UnlockLocal-v0", "seed": 6},
        {"level": "BabyAI-PutNextLocal-v0", "seed": 7},
        {"level": "BabyAI-BossLevel-v0", "seed": 8},
    ],
    "textworld": [
        {"rooms": 1, "objects": 2, "length": 1, "seed": 11},
        {"rooms": 4, "objects": 8, "length": 4, "seed": 12},
    ],
    "scienceworld": [
        {"task": "find-animal", "variation": 3, "simplifications": ""},
        {"task": "lifespan-longest-lived", "variation": 7, "simplifications": "easy"},
        {"task": "chemistry-mix-paint-secondary-color", "variation": 0, "simplifications": ""},
        {"task": "grow-fruit", "variation": 17, "simplifications": ""},
    ],
}


def absent(world: str) -> str:
    """Why a world cannot be played here."""
    if importlib.util.find_spec(PACKAGES[world]) is None:
        return f'needs pip install "errata[{world}]"'
    return "needs Java" if world == "scienceworld" and shutil.which("java") is None else ""


def every(*names: str) -> Any:
    marks = [
        pytest.param(n, marks=[pytest.mark.worlds, pytest.mark.skipif(bool(absent(n)), reason=absent(n) or "-")])
        for n in names or PACKAGES
    ]
    return pytest.mark.parametrize("name", marks)


def made(name: str) -> Any:
    return registry.find("environment", name).make


def played(world: World, spec: dict[str, Any], actions: tuple[str, ...]) -> tuple[str, list[Turn]]:
    return world.reset(spec), [world.step(action) for action in actions]


@pytest.mark.parametrize("name", PACKAGES)
def test_tasks_are_made_without_the_package_and_lie_in_one_split(name: str) -> None:
    contract.splits_share_no_task(made(name), range(1, 5))
    for level in range(1, 12):
        drawn = [canonical(made(name).generate(random.Random(i), level)) for i in range(20)]
        assert drawn == [canonical(made(name).generate(random.Random(i), level)) for i in range(20)]
        assert len(set(drawn)) > 10


@pytest.mark.parametrize("name", PACKAGES)
def test_a_package_that_is_not_installed_is_told_with_the_command(name: str) -> None:
    if importlib.util.find_spec(PACKAGES[name]):
        pytest.skip("it is installed")
    spec = SPECS[name][0]
    with pytest.raises(MissingExtra, match=rf'the world `{name}` needs .*: pip install "errata\[{name}\]"'):
        made(name)().reset(spec)
    with pytest.raises(MissingExtra, match=name):
        next(iter(source(world=name, count=1)))

    async def hosted() -> None:
        worlds = Worlds()
        try:
            with pytest.raises(Exception, match=r"pip install") as caught:
                await worlds.open(Task(world=name, spec=canonical(spec)))
            assert not isinstance(caught.value, WorldError), "it stops the run, not the attempt"
        finally:
            await worlds.close()

    asyncio.run(hosted())


@every()
def test_the_gold_path_solves_the_task(name: str) -> None:
    for spec in SPECS[name]:
        world = made(name)()
        world.reset(spec)
        gold = world.gold_actions()
        before = world.checks()
        assert gold and before and not all(before.values())
        for left, action in zip(range(len(gold), 0, -1), gold, strict=True):
            assert len(world.gold_actions()) == left
            turn = world.step(action)
            assert turn.valid and turn.done == (left == 1) == (turn.reward == 1.0)
        assert sum(world.checks().values()) > sum(before.values())  # some goals of ScienceWorld are optional
        assert world.valid_actions() == world.gold_actions() == () and world.distance() == 0
        after = world.step(gold[0])
        assert (after.valid, after.changed, after.done, after.reward) == (False, False, True, 1.0)


@every()
def test_the_same_actions_give_the_same_words_whatever_is_played_between(name: str) -> None:
    for i, spec in enumerate(SPECS[name]):
        world, other = made(name)(), made(name)()
        first = world.reset(spec)
        gold = world.gold_actions()
        turns = [world.step(action) for action in gold]
        assert played(world, spec, gold) == (first, turns)
        again, told = made(name)(), []
        assert again.reset(spec) == first
        for n, action in enumerate(gold):
            if n % 40 == 0:
                other.reset(SPECS[name][(i + n) % len(SPECS[name])])
            options = sorted(other.valid_actions())[:50]
            if options:
                other.step(options[n % len(options)])
            told.append(again.step(action))
        assert told == turns


@every()
def test_valid_actions_are_allowed_and_other_words_are_answered(name: str) -> None:
    spec = SPECS[name][0]
    world = made(name)()
    world.reset(spec)
    offered = world.valid_actions()
    assert offered and len(set(offered)) == len(offered) and offered == world.valid_actions()
    for action in random.Random(1).sample(offered, min(6, len(offered))):
        fresh = made(name)()
        fresh.reset(spec)
        assert fresh.step(action).valid
    for words in ("", "xyzzy", "quit", "\ud800", "go to\nthe moon", "é\x00", "9" * 5000):
        turn = world.step(words)
        assert (turn.valid, turn.changed, turn.done) == (False, False, False) and turn.observation
    assert world.valid_actions() == offered


@every("babyai", "textworld")
def test_the_goal_is_found_from_any_state_that_has_a_way(name: str) -> None:
    world = made(name)()
    for spec in SPECS[name][:2]:
        world.reset(spec)
        rng = random.Random(3)
        for _ in range(4):
            options = [a for a in world.valid_actions() if a not in (world.gold_actions() or ())]
            if options and not world.step(rng.choice(options)).done:
                continue
        turns = [world.step(action) for action in world.gold_actions()]
        assert turns[-1].reward == 1.0


@every("scienceworld")
def test_off_the_gold_path_nobody_knows_the_way_and_a_wrong_focus_loses(name: str) -> None:
    world = made(name)()
    world.reset(SPECS[name][0])
    world.step("look around" if world.gold_actions()[0] != "look around" else "inventory")
    assert world.gold_actions() is None and world.distance() is None
    turn = world.step("focus on agent")
    assert turn.done and turn.reward == 0.0 and world.gold_actions() is None


@every("scienceworld")
def test_the_table_of_variations_is_the_simulators(name: str) -> None:
    from errata.environments.scienceworld import VARIATIONS, _simulator

    game = _simulator().take()
    assert sorted(game("getTaskNames")) == sorted(VARIATIONS)
    assert {task: game("getTaskMaxVariations", task) for task in VARIATIONS} == VARIATIONS
    _simulator().give(game)


@every()
def test_what_is_no_task_is_refused(name: str) -> None:
    spec = SPECS[name][0]
    for key in spec:
        for wrong in (None, -1, 1.5, True, "no such thing", [[]]):
            with pytest.raises(ValueError):
                made(name)().reset({**spec, key: wrong})
        with pytest.raises(ValueError):
            made(name)().reset({k: v for k, v in spec.items() if k != key})


@every()
def test_sessions_share_a_process_and_say_what_the_world_says(name: str) -> None:
    specs = SPECS[name][:3]
    alone = []
    for spec in specs:
        world = made(name)()
        world.reset(spec)
        alone.append(played(world, spec, world.gold_actions()))

    async def one(worlds: Worlds, spec: dict[str, Any]) -> Session:
        session = await worlds.open(Task(world=name, spec=canonical(spec)))
        for action in await session.gold_actions() or ():
            await session.step(action)
        return session

    async def go() -> list[Session]:
        worlds = Worlds(processes=Processes(processes=1, live=2))
        try:
            return list(await asyncio.gather(*(one(worlds, spec) for spec in specs)))
        finally:
            await worlds.close()

    assert [(s.first, list(s.turns)) for s in asyncio.run(go())] == alone


MAKE = """
from errata.environments.textworld import TextWorld
world = TextWorld()
print(world.reset({spec}), world.gold_actions(), world.valid_actions())
"""


@every("textworld")
def test_a_game_is_the_same_wherever_it_is_made(name: str, tmp_path: Path) -> None:
    said = []
    for i in range(2):
        (tmp_path / str(i)).mkdir()
        environment = {**os.environ, "TMPDIR": str(tmp_path / str(i)), "PYTHONHASHSEED": str(i + 5)}
        code = MAKE.format(spec=SPECS[name][1])
        command = [sys.executable, "-c", code]
        said.append(subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout)
    assert said[0] == said[1] and "go " in said[0]
