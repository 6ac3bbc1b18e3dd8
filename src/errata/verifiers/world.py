"""Play a plan, an action a line, in the problem's text world and see whether it reaches the goal."""

import re

from errata.environments.hosts import open_now
from errata.errors import WorldError
from errata.records.types import Check, Problem
from errata.registry import verifier
from errata.verifiers.base import Judgement

_NUMBER = re.compile(r"^\s*(?:step\s*)?\(?\d+[.):]\s+|^\s*[-*]\s+", re.IGNORECASE)


def plan_of(text: str) -> tuple[str, ...]:
    """The actions of a plan, one a line, without numbers or bullets; empty lines and text before `Plan:` are none."""
    head, mark, tail = text.rpartition("Plan:")
    body = tail if mark else head or text
    return tuple(line for raw in body.splitlines() if (line := " ".join(_NUMBER.sub("", raw).split())))


@verifier(version=1, inline=False)
def world(problem: Problem, text: str, *, strict: bool = True) -> Judgement:
    """Pass if the plan reaches the task's success; the checks name what holds, the evidence the first failing action.

    With `strict`, a plan with an action that the world does not allow fails there; else such actions have no effect.
    """
    if problem.task is None:
        return Judgement(outcome="unknown", evidence="the problem is no task in a world")
    plan = plan_of(text)
    if not plan:
        return Judgement(outcome="unknown", evidence="no plan was read")
    try:
        played, _ = open_now(problem.task)
        reward = 0.0
        evidence = ""
        for i, action in enumerate(plan):
            turn = played.step(action)
            reward = turn.reward
            if not turn.valid and not evidence:
                evidence = f"action {i + 1}, {action!r}: {turn.observation}"
                if strict:
                    break
            if turn.done:
                break
        checks = played.checks()
    except WorldError as error:
        return Judgement(outcome="unknown", evidence=f"{error.code}: {error}")
    solved = reward >= problem.task.success and not (strict and evidence)
    return Judgement(
        outcome="pass" if solved else "fail",
        score=min(1.0, max(0.0, reward)),
        checks=tuple(Check(name=name, outcome="pass" if holds else "fail") for name, holds in checks.items()),
        evidence=evidence or ("" if solved else "the plan ends before the goal is reached"),
    )
