"""Worlds in processes: whatever one does costs its own session a retry and then the attempt, and nobody else."""

import asyncio
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import uvloop

from errata.environments.base import DEAD_END
from errata.environments.hosts import Session, Worlds
from errata.environments.processes import Hosted, Processes
from errata.errors import RecipeError, WorldError
from errata.records.ids import canonical
from errata.records.types import Episode, Task
from errata.runners.context import Tools
from errata.runners.episode import run_episode
from errata.store.check import check_dataset
from errata.store.reader import open_dataset
from errata.verifiers.pool import Pool
from tests.runners.support import Recipe, prepared, start

FOLDER = Path(__file__).parent


def odd(world: str = "odd.py:Odd", **spec: Any) -> Task:
    return Task(world=world, spec=canonical(spec))


def played(work: Callable[[Worlds], Awaitable[Any]], *, fast: bool = True, **options: Any) -> Any:
    async def main() -> Any:
        worlds = Worlds(FOLDER, Processes(**{"processes": 1, **options}))
        try:
            return await work(worlds)
        finally:
            await worlds.close()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop if fast else asyncio.new_event_loop) as runner:
        return runner.run(main())


async def code(call: Awaitable[Any]) -> str:
    """The code and the words of the WorldError that a call ends with."""
    with pytest.raises(WorldError) as caught:
        await call
    return f"{caught.value.code}: {caught.value}"


async def story(session: Session) -> list[Any]:
    found: list[Any] = [session.first]
    for action in ("a", "lost", "who knows", "whisper"):
        found += [await session.step(action), await session.valid_actions(), await session.gold_actions()]
        found += [await session.distance(), await session.checks()]
    other = await session.fork()
    found += [await session.step("here"), await other.step("there"), other.first, other.actions, session.actions]
    return [*found, session.turns, other.turns]


@pytest.mark.parametrize("fast", [True, False], ids=["uvloop", "asyncio"])
def test_a_process_answers_as_the_event_loop_does(fast: bool) -> None:
    async def work(worlds: Worlds) -> tuple[list[Any], list[Any]]:
        return await story(await worlds.open(odd("odd.py:Here"))), await story(await worlds.open(odd()))

    here, there = played(work, fast=fast)
    assert here == there and DEAD_END in there and None in there
    assert here[1].observation == "1 a"


@pytest.mark.parametrize(
    "action, expected",
    [
        ("exit", "world_died: odd.py:Odd: its process ended with status 7"),
        ("kill", "world_died: odd.py:Odd: its process died of SIGKILL"),
        ("raise", "world_died: odd.py:Odd: raised KeyError: 'raise'"),
        ("flood", "world_flood: odd.py:Odd: an observation of 70000 characters"),
        ("print", "world_flood: odd.py:Odd: printed more than 32768 bytes"),
        ("none", "world_nonsense: odd.py:Odd: step returns a Turn, not NoneType"),
        ("high", "world_nonsense: odd.py:Odd: a reward lies in 0..1, not at 1.5"),
        ("hog", "world_died: odd.py:Odd: raised MemoryError"),
    ],
)
def test_a_world_that_breaks_costs_its_own_session_alone(action: str, expected: str) -> None:
    async def work(worlds: Worlds) -> None:
        mine, other = await worlds.open(odd()), await worlds.open(odd(), ("a", "b"))
        await mine.step("a")
        assert (await code(mine.step(action))).startswith(expected)
        assert (await code(mine.valid_actions())).startswith(expected)
        assert (await other.step("c")).observation == "3 c"
        assert (await worlds.open(odd(), ("a",))).turns == mine.turns
        assert (await code(other.step(action))).startswith(expected)

    played(work, memory=1 << 30)


def test_a_world_that_hangs_is_ended_at_its_deadline() -> None:
    async def work(worlds: Worlds) -> None:
        mine, other = await worlds.open(odd()), await worlds.open(odd(), ("a",))
        assert await code(mine.step("hang")) == "world_hung: odd.py:Odd: timed out after 0.5 s"
        assert (await other.step("c")).observation == "2 c"
        assert (await code(worlds.open(odd(), ("a", "hang")))).startswith("world_hung")

    played(work, deadline=0.5)


@pytest.mark.parametrize(
    "action, question, words",
    [("set", "valid_actions", "not set"), ("one", "checks", "True or False"), ("minus", "distance", "0 or more")],
)
def test_nonsense_about_the_goal_is_nonsense_too(action: str, question: str, words: str) -> None:
    async def work(worlds: Worlds) -> None:
        for world in ("odd.py:Odd", "odd.py:Here"):
            session = await worlds.open(odd(world), (action,))
            said = await code(getattr(session, question)())
            assert said.startswith("world_nonsense") and words in said

    played(work)


def test_an_answer_larger_than_a_frame_is_a_flood() -> None:
    async def work(worlds: Worlds) -> None:
        session = await worlds.open(odd(), ("long",))
        assert "is larger than 1048576" in await code(session.valid_actions())

    played(work)


def test_a_world_that_crashes_once_is_played_on(tmp_path: Path) -> None:
    async def work(worlds: Worlds) -> None:
        session = await worlds.open(odd(), ("a", "b"))
        before = session.turns
        crash = f"once:{tmp_path / 'first'}"
        assert (await session.step(crash)).observation == f"3 {crash}"
        assert (await session.step("c")).observation == "4 c"
        assert session.turns[:2] == before and session.actions == ("a", "b", crash, "c")
        assert (await code(session.step(f"once:{tmp_path / 'second'}"))).startswith("world_died")

    played(work)


def test_a_world_that_replays_in_another_way_is_nonsense() -> None:
    async def work(worlds: Worlds) -> None:
        session = await worlds.open(odd(), ("pid",))
        await code(worlds.open(odd(), ("exit",)))
        assert "world_nonsense: odd.py:Odd: not deterministic" in await code(session.step("a"))

    played(work)


@pytest.mark.parametrize("live", [500, 7])
def test_one_process_serves_many_sessions_and_nobody_sees_which_worlds_it_holds(live: int) -> None:
    async def one(worlds: Worlds, i: int) -> int:
        session = await worlds.open(odd(words=i))
        for n in range(3):
            assert (await session.step(f"word {i}")).observation == f"{n + 1} word {i}"
            await asyncio.sleep(0)
        return int((await session.step("pid")).observation)

    async def work(worlds: Worlds) -> list[int]:
        return await asyncio.gather(*(one(worlds, i) for i in range(200)))

    assert len(set(played(work, live=live))) == 1


def test_a_class_may_say_how_many_of_its_worlds_a_process_holds() -> None:
    async def work(worlds: Worlds) -> None:
        light = await worlds.open(odd(), ("a",))
        heavy = [await worlds.open(odd("odd.py:Heavy", words=i)) for i in range(3)]
        for _ in range(2):
            assert {(await session.step("alive")).observation for session in heavy} == {"1"}
        assert (await light.step("b")).observation == "2 b"

    played(work)


def test_a_process_that_has_grown_is_replaced_between_two_calls() -> None:
    async def work(worlds: Worlds) -> None:
        small, large = await worlds.open(odd()), await worlds.open(odd())
        pids = []
        for _ in range(4):
            await large.step("grow")
            probe = await worlds.open(odd())
            pids.append((await probe.step("pid")).observation)
        assert pids[0] == pids[1] != pids[3]
        assert (await small.step("a")).observation == "1 a"
        assert (await large.step("a")).observation == "5 a"

    played(work, memory=200 << 20)


def test_a_task_that_the_world_refuses_costs_no_process() -> None:
    async def work(worlds: Worlds) -> None:
        pid = (await (await worlds.open(odd())).step("pid")).observation
        refused = {"no task": 1}
        assert await code(worlds.open(Task(world="odd.py:Odd", spec=canonical(refused)))) == (
            "world_spec: odd.py:Odd: cannot play the task: ValueError: that is no task"
        )
        assert (await code(worlds.open(Task(world="odd.py:Odd", spec="{}", version=2)))).startswith("world_version")
        with pytest.raises(RecipeError, match="registers no environment called 'Even'"):
            await worlds.open(odd("odd.py:Even"))
        assert (await (await worlds.open(odd())).step("pid")).observation == pid

    played(work)


@pytest.mark.parametrize("fast", [True, False], ids=["uvloop", "asyncio"])
def test_closing_ends_processes_and_calls_under_way(fast: bool) -> None:
    async def work(worlds: Worlds) -> list[int]:
        sessions = [await worlds.open(odd()) for _ in range(2)]
        pids = [int((await s.step("pid")).observation) for s in sessions]
        call = asyncio.create_task(sessions[0].step("hang"))
        await asyncio.sleep(0.2)
        await worlds.close()
        for end in (call, sessions[1].step("a"), worlds.open(odd())):
            with pytest.raises(RuntimeError, match="closed"):
                await end
        return pids

    first, second = played(work, fast=fast, processes=2)
    assert first != second
    for pid in (first, second):
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


def test_a_cancelled_call_leaves_no_answer_for_the_next() -> None:
    async def work(worlds: Worlds) -> None:
        session, other = await worlds.open(odd(), ("a",)), await worlds.open(odd())
        call = asyncio.create_task(session.step("hang"))
        await asyncio.sleep(0.2)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        assert (await other.step("b")).observation == "1 b"
        assert (await session.step("c")).observation == "2 c"

    played(work)


def test_a_closed_session_is_freed_and_answers_no_more() -> None:
    async def work(worlds: Worlds) -> None:
        opened: set[Hosted] = set()
        session = await worlds.open(odd(), (), opened)
        fork = await session.fork()
        assert opened == {session, fork}
        await session.close()
        await session.close()
        assert opened == {fork}
        with pytest.raises(RuntimeError, match="closed"):
            await session.step("a")
        assert (await fork.step("a")).observation == "1 a"

    played(work)


PLAY = {
    "source": {"use": "odd.py:tasks", "with": {"count": 8}},
    "engines": {},
    "stages": [{"use": "odd.py:play", "with": {"actions": ["a", "exit", "flood", "none"]}}],
    "exports": [{"use": "sft", "with": {"of": ["play"]}}],
}


@pytest.fixture
def bad(tmp_path: Path) -> Recipe:
    """A recipe whose worlds break in six of eight problems."""
    recipe = Recipe(tmp_path / "bad")
    recipe.data |= PLAY
    recipe.write()
    (tmp_path / "bad" / "odd.py").write_text((FOLDER / "odd.py").read_text())
    return recipe


def test_a_run_loses_the_problems_whose_worlds_fail_and_says_why(bad: Recipe, out: Path) -> None:
    finished = start(bad.path, out)
    assert check_dataset(finished.path) == []
    data = open_dataset(finished.path)
    drops = [(int(d.episode, 16), d.code, d.kind) for d in data.rows("drops") if d.stage == "play"]
    assert sorted(drops) == [
        (i, c, "quarantined")
        for i in range(8)
        for c in [("", "world_died", "world_flood", "world_nonsense")[i % 4]]
        if c
    ]
    kept = {int(e.problem.id, 16): e.attempts[0].steps[0].text for e in data.rows("episodes")}
    assert kept == {0: "3 b", 4: "3 b"}


def test_the_end_of_a_step_frees_the_worlds_that_it_left_open(bad: Recipe) -> None:
    plan = prepared(bad.path).plan
    starts = [item for item in plan.items() if isinstance(item, Episode)]

    async def main() -> list[int]:
        processes = Processes(processes=1)
        pool, worlds = Pool(), Worlds(plan.folder, processes)
        tools = Tools(plan, {}, pool, worlds)
        found = []
        for episode in starts[:3]:
            await run_episode(plan, tools, episode)
            found.append(processes.sessions)
        await worlds.close()
        await pool.close()
        return found

    assert asyncio.run(main()) == [0, 0, 0]
