"""Play a plan, an action a line, in the problem's text world and see whether it reaches the goal."""

import re
from typing import Literal

from errata.environments.hosts import open_now
from errata.errors import WorldError
from errata.records.segment import ACTION
from errata.records.types import Check, Problem
from errata.registry import verifier
from errata.verifiers.base import Judgement

_NUMBER = re.compile(r"^\s*(?:step\s*)?\(?\d+[.):]\s+|^\s*[-*]\s+", re.IGNORECASE)
_FENCE = re.compile(r"^\s*```.*$", re.MULTILINE)
_FAILED = re.compile(r"action (\d+), ")
_SHORT = re.compile(r"the plan ends before the goal is reached, after (\d+) ")


def plan_of(text: str, notation: Literal["any", "pddl"] = "any") -> tuple[str, ...]:
    """The actions of a plan: in PDDL all that stand in brackets, else one a line, without numbers, bullets or fences.

    Text before the last `Plan:` is none. Of the notation `pddl`, a text without brackets holds no plan.
    """
    head, mark, tail = text.rpartition("Plan:")
    body = tail if mark else head or text
    found = ACTION.findall(body)
    if found or notation == "pddl":
        return tuple(" ".join(action.split()) for action in found)
    lines = _FENCE.sub("", body).splitlines()
    return tuple(line for raw in lines if (line := " ".join(_NUMBER.sub("", raw).split())))


def failed_at(evidence: str) -> int | None:
    """Number from 0 of the action that a plan fails at, as this verifier's evidence tells; of the one that is missing
    where the plan ends too early. None where the evidence tells neither."""
    found = _FAILED.match(evidence)
    if found:
        return int(found[1]) - 1
    short = _SHORT.match(evidence)
    return int(short[1]) if short else None


@verifier(version=2, inline=False)
def world(problem: Problem, text: str, *, strict: bool = True, notation: Literal["any", "pddl"] = "any") -> Judgement:
    """Pass if the plan reaches the task's success; the checks name what holds, the evidence the first failing action.

    With `strict`, a plan with an action that the world does not allow fails there; else such actions have no effect.
    `notation` says how plans are written (`plan_of`); where none is read, the outcome is unknown.
    """
    if problem.task is None:
        return Judgement(outcome="unknown", evidence="the problem is no task in a world")
    plan = plan_of(text, notation)
    if not plan:
        return Judgement(outcome="unknown", evidence="no plan was read: it holds no action")
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
    if not solved and not evidence:
        missing = ", ".join(f"({name})" for name, holds in checks.items() if not holds)
        evidence = f"the plan ends before the goal is reached, after {len(plan)} actions" + (
            f": not true are {missing}" if missing else ""
        )
    return Judgement(
        outcome="pass" if solved else "fail",
        score=min(1.0, max(0.0, reward)),
        checks=tuple(Check(name=name, outcome="pass" if holds else "fail") for name, holds in checks.items()),
        evidence=evidence,
    )
