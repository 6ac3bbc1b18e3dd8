"""Whole plans by a program: right as often as it says, wrong in known ways, and likelier right after feedback."""

import asyncio

import pytest

from errata.engines.base import Request, Sampling
from errata.engines.expert import Expert, Noisy
from errata.errors import EngineError
from errata.records.types import Message, Problem
from errata.sources.worlds import worlds
from errata.verifiers.world import world as verify

ASK = "\n\nWrite a plan: one action a line."


def problems(world: str, count: int = 12) -> list[Problem]:
    items = worlds(world=world, count=count, difficulty=(2, 4), seed=9, prompt=ASK)
    return [e.problem for e in items if hasattr(e, "problem")]


def said(engine: Expert, problem: Problem, *turns: str, seed: int = 0) -> str:
    after = [Message(role=("assistant", "user")[k % 2], content=text) for k, text in enumerate(turns)]  # type: ignore[arg-type]
    messages = (*problem.messages, *after)
    request = Request(messages=messages, sampling=Sampling(), seed=seed, task=problem.task)
    return asyncio.run(engine.generate(request)).text


@pytest.mark.parametrize("world", ["blocks", "crafting"])
def test_a_plan_is_right_or_wrong_as_it_was_drawn(world: str) -> None:
    for k, p in enumerate(problems(world)):
        assert p.messages[0].content.endswith(ASK)
        assert verify(p, said(Expert(), p, seed=k)).outcome == "pass"
    wrong = [said(Expert(skill=0), p, seed=k) for p in problems("blocks") for k in range(5)]
    passed = [
        verify(p, text).outcome == "pass"
        for p, text in zip((p for p in problems("blocks") for _ in range(5)), wrong, strict=True)
    ]
    assert sum(passed) <= len(passed) * 0.1, "another way of the same length, now and then"
    assert len(set(wrong)) > len(wrong) / 2


def test_feedback_is_heeded_half_of_the_time() -> None:
    p = problems("blocks", 1)[0]
    turns = ("put down b1", "That fails. Write it again, one action a line.")
    for rounds, least, most in ((0, 0.0, 0.1), (1, 0.35, 0.65), (3, 0.75, 0.99)):
        told = [verify(p, said(Noisy(rate=1.0), p, *(turns * rounds), seed=k)).outcome == "pass" for k in range(60)]
        assert least <= sum(told) / len(told) <= most, rounds


def test_a_judge_names_the_first_action_that_fails() -> None:
    p = problems("blocks", 1)[0]
    gold = list(p.solution)
    ask = "First wrong action: its number, or none"
    for plan, number in ((gold, "none"), (gold[:-1], len(gold)), ([gold[0], gold[0], *gold[1:]], 2)):
        shown = "\n".join(f"[{i}] {action}" for i, action in enumerate(plan, 1))
        assert said(Expert(), p, "", f"{shown}\n{ask}").endswith(f"\nFirst wrong action: {number}")
        errs = said(Expert(skill=0), p, "", f"{shown}\n{ask}")
        assert not errs.endswith(f": {number}") and errs.startswith("It looks that way.")


def test_a_world_that_knows_no_plan_has_none() -> None:
    big = worlds(world="blocks", count=3, difficulty=(40, 40), seed=3, prompt=ASK)
    unknown = [e.problem for e in big if hasattr(e, "problem") and not e.problem.solution]
    assert unknown
    with pytest.raises(EngineError, match="knows no plan"):
        said(Expert(), unknown[0])
