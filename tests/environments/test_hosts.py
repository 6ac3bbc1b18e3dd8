"""Sessions of worlds that are played on the event loop: forks are alike and apart, and faults have a code."""

import asyncio

import pytest

from errata.environments.hosts import Session, Worlds, begin, done, open_now, reward
from errata.errors import RecipeError, WorldError
from errata.records.types import Task
from errata.sources.worlds import worlds

WORLDS = ("crafting", "house")


def task(world: str, seed: int = 0) -> Task:
    episode = next(iter(worlds(world=world, count=1, difficulty=(2, 2), seed=seed)))
    found = episode.problem.task
    assert isinstance(found, Task)
    return found


async def solved(session: Session) -> None:
    while not done(session):
        gold = await session.gold_actions()
        assert gold
        await session.step(gold[0])


@pytest.mark.parametrize("world", WORLDS)
def test_a_session_tells_what_its_world_does(world: str) -> None:
    async def go() -> None:
        hosts = Worlds()
        session = await hosts.open(task(world))
        assert (session.actions, session.turns, reward(session), done(session)) == ((), (), 0.0, False)
        assert await session.distance() == len(await session.gold_actions() or ())
        await solved(session)
        assert reward(session) == 1.0 and await session.distance() == 0
        again = await hosts.open(task(world), session.actions)
        assert again.turns == session.turns and again.first == session.first
        assert await again.checks() == await session.checks()
        await hosts.close()

    asyncio.run(go())


@pytest.mark.parametrize("world", WORLDS)
def test_a_fork_is_in_the_same_state_and_goes_its_own_way(world: str) -> None:
    async def go() -> None:
        session = await Worlds().open(task(world))
        first = (await session.gold_actions() or ())[0]
        await session.step(first)
        fork = await session.fork()
        assert (fork.actions, fork.turns, fork.first) == (session.actions, session.turns, session.first)
        before = await session.distance(), await session.valid_actions()
        await solved(fork)
        assert (await session.distance(), await session.valid_actions()) == before
        assert session.actions == (first,) and fork.actions[0] == first

    asyncio.run(go())


@pytest.mark.parametrize(
    ("wrong", "code"),
    [
        (Task(world="crafting", spec="{}"), "world_spec"),
        (Task(world="crafting", spec='{"goal": 3}'), "world_spec"),
        (Task(world="crafting", spec="{}", version=99), "world_version"),
    ],
)
def test_a_task_that_cannot_be_played_says_why(wrong: Task, code: str) -> None:
    with pytest.raises(WorldError) as caught:
        asyncio.run(Worlds().open(wrong))
    assert caught.value.code == code
    with pytest.raises(WorldError):
        open_now(wrong)


def test_a_world_that_is_not_there_is_told_with_those_that_are() -> None:
    with pytest.raises(RecipeError, match=r"no environment is called 'moon': there are .*crafting"):
        asyncio.run(Worlds().open(Task(world="moon", spec="{}")))


class Broken:
    """A world that breaks at its first action."""

    instructions, snapshots = "", False

    def reset(self, spec: object) -> str:
        return "here"

    def step(self, action: str) -> None:
        raise ZeroDivisionError("no floor")


def test_what_a_world_raises_is_its_death() -> None:
    session = begin(Broken(), task("crafting"))  # type: ignore[arg-type]
    with pytest.raises(WorldError, match="crafting raised ZeroDivisionError: no floor") as caught:
        asyncio.run(session.step("go"))
    assert caught.value.code == "world_died"
