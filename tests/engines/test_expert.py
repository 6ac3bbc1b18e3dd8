"""The expert goes the shortest way from wherever the conversation stands; the noisy one errs as often as it says."""

import asyncio
from collections.abc import Sequence

import pytest

from errata.engines.base import Request, Sampling
from errata.engines.expert import SLIPS, Expert, Noisy
from errata.environments.hosts import open_now
from errata.errors import EngineError, RecipeError
from errata.records.types import Episode, Message, Problem, Task
from errata.sources.worlds import worlds


def problem(world: str = "house", seed: int = 0) -> Problem:
    found = next(iter(worlds(world=world, count=1, difficulty=(3, 3), seed=seed)))
    assert isinstance(found, Episode)
    return found.problem


def said(engine: Expert, task: Task | None, turns: Sequence[Message], seed: int = 0) -> str:
    request = Request(messages=tuple(turns), sampling=Sampling(), seed=seed, task=task)
    return asyncio.run(engine.generate(request)).text


def played(engine: Expert, told: Problem, seed: int = 0, limit: int = 60) -> tuple[list[str], float, bool]:
    """The actions of an episode, its reward and whether it ended."""
    assert told.task is not None
    world, _ = open_now(told.task)
    turns, taken, reward, over = list(told.messages), [], 0.0, False
    for i in range(limit):
        action = said(engine, told.task, turns, seed * 1000 + i)
        taken.append(action)
        if action == "stop":
            break
        turn = world.step(action)
        turns += [Message(role="assistant", content=action), Message(role="user", content=turn.observation)]
        reward, over = turn.reward, turn.done
        if over:
            break
    return taken, reward, over


@pytest.mark.parametrize("world", ["crafting", "house"])
def test_the_expert_takes_the_shortest_way(world: str) -> None:
    told = problem(world)
    taken, reward, over = played(Expert(), told)
    assert (reward, over) == (1.0, True)
    assert len(taken) == len(told.solution)


def test_a_turn_that_the_world_did_not_answer_was_not_played() -> None:
    told = problem()
    first = said(Expert(), told.task, told.messages)
    pause = (Message(role="assistant", content="I was wrong.\nwait"), Message(role="user", content="ok."))
    assert said(Expert(), told.task, (*told.messages, *pause)) == first


def test_a_thought_comes_before_the_action() -> None:
    told = problem()
    thought, action = said(Expert(thoughts=True), told.task, told.messages).split("\n")
    assert thought.startswith("Thought: ") and action == f"Action: {said(Expert(), told.task, told.messages)}"


def test_the_noisy_expert_errs_as_often_as_it_says() -> None:
    told = problem()
    gold = said(Expert(), told.task, told.messages)
    noisy = Noisy(rate=0.3)
    wrong = sum(said(noisy, told.task, told.messages, seed) != gold for seed in range(600))
    assert 130 <= wrong <= 230  # binomial, 180 of 600 expected, more than four deviations on both sides
    assert said(noisy, told.task, told.messages, 5) == said(Noisy(rate=0.3), told.task, told.messages, 5)


@pytest.mark.parametrize("kind", SLIPS)
def test_every_kind_of_error_is_made(kind: str) -> None:
    told = problem("crafting")
    gold = played(Expert(), told)[0]
    taken, _, _ = played(Noisy(rate=1.0, errors=(kind,)), told, limit=3)  # type: ignore[arg-type]
    assert taken[0] != gold[0]
    if kind == "premature_stop":
        assert taken == ["stop"]
    if kind == "skipped_precondition":
        assert taken[0] == gold[1]
    if kind == "wrong_object":
        assert taken[0].split()[0] == gold[0].split()[0]
    if kind == "loop":
        assert taken[1] in taken[:1] and taken[2] in taken[:2]


def test_the_last_action_of_a_log_is_judged_by_the_distance() -> None:
    told = problem()
    gold = told.solution

    def verdict(log: Sequence[str], engine: Expert, seed: int = 0) -> str:
        lines = "\n".join(f"[{i}] {action}\n-> ..." for i, action in enumerate(log, 1))
        text = f"{told.text}\n\n{lines}\n\nIs the last action good, bad or uncertain?"
        return said(engine, told.task, [Message(role="user", content=text)], seed).rpartition("Verdict: ")[2]

    assert [verdict(gold[: i + 1], Expert()) for i in range(len(gold))] == ["good"] * len(gold)
    assert verdict((*gold[:1], "dance"), Expert()) == "uncertain"
    assert verdict((gold[0], "undo"), Expert()) == "bad"
    assert all(verdict(gold[:1], Expert(skill=0.0), seed) in ("bad", "uncertain") for seed in range(5))


def test_what_it_does_not_know_it_says() -> None:
    with pytest.raises(EngineError) as caught:
        said(Expert(), None, problem().messages)
    assert caught.value.code == "expert_cannot"
    with pytest.raises(RecipeError, match="noisy: errors names typo: there are wrong_object"):
        Noisy(errors=("typo",))  # type: ignore[arg-type]
    with pytest.raises(RecipeError, match="use a number from 0 to 1"):
        Expert(skill=2)
