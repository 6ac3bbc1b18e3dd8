"""Attempts of a dialogue: an answer, what somebody said of it, the next answer, and so on to the last one.

The turns before the first of the assistant are the problem's. Every answer is an attempt that revises the one before
it, and every turn of the user between two answers a critique of the first of them.
"""

import re
from collections.abc import Mapping
from typing import Any

from msgspec.structs import replace

from errata.environments.base import World
from errata.errors import RecipeError
from errata.records.ids import canonical, digest
from errata.records.segment import segment
from errata.records.types import Additions, Attempt, Critique, Problem, Step, Tag, Task
from errata.registry import Component, find
from errata.sources.columns import ColumnError, as_text
from errata.sources.mapping import named

STAGE = "source"


def dialogue(
    problem: Problem, index: int, one: Mapping[str, Any], *, rule: str, error: str, no_error: str, base: int
) -> Additions:
    r"""The attempts of one dialogue and what was said of them; `one` holds its `turns`, and the name of its `critic`.

    `error` is a pattern with a group for the number of the first wrong step, counted from `base`, e.g.
    `is invalid(?:.* at step (\d+))?`: where it is found and its group matches nothing, the attempt ends too early.
    Raises ColumnError where the turns do not alternate.
    """
    said = _said(one["turns"])
    critic = named("critic", as_text, one.get("critic"))
    attempts: list[Attempt] = []
    critiques: list[Critique] = []
    for k, text in enumerate(said):
        if k % 2:
            verdict, step = _found(text, error, no_error, base, len(attempts[-1].steps))
            critiques.append(
                Critique(
                    id=digest(attempt=attempts[-1].id, stage=STAGE, source="critic", index=0), index=0, text=text,
                    attempt=attempts[-1].id, stage=STAGE, source="critic", verdict=verdict,  # type: ignore[arg-type]
                    first_error=step, tags=(Tag(name="critic", value=critic),) if critic else (),
                )
            )  # fmt: skip
            continue
        attempts.append(
            Attempt(
                id=digest(problem=problem.id, stage=STAGE, index=index, turn=k), stage=STAGE, index=index,
                kind="revised" if k else "rollout",
                steps=tuple(Step(text=piece, source="rollout") for piece in segment(text, rule)),
                parent=attempts[-1].id if k else None, critique=critiques[-1].id if k else None,
                tags=(Tag(name="turn", value=str(k // 2)),),
            )
        )  # fmt: skip
    return Additions(attempts=tuple(attempts), critiques=tuple(critiques))


def _said(turns: Any) -> list[str]:
    """What is said from the first answer on: answers at even places, remarks about them at odd ones."""
    if not isinstance(turns, list) or not all(isinstance(turn, Mapping) for turn in turns):
        raise ColumnError("turns: it is no list of turns with role and content")
    roles = [turn.get("role") for turn in turns]
    if "assistant" not in roles:
        raise ColumnError("turns: none is the assistant's")
    begin = roles.index("assistant")
    if any(role != ("assistant", "user")[k % 2] for k, role in enumerate(roles[begin:])):
        raise ColumnError("turns: after the first answer, user and assistant do not take turns")
    said = [turn.get("content") for turn in turns[begin:]]
    if not all(isinstance(text, str) and text.strip() for text in said):
        raise ColumnError("turns: one has no text")
    return said


def _found(text: str, error: str, no_error: str, base: int, steps: int) -> tuple[str, int | None]:
    """(error, no_error or unknown; the first wrong step) of a remark about an attempt of so many steps."""
    hit = re.search(error, text) if error else None
    if hit:
        step = steps if hit[1] is None else int(hit[1]) - base if hit[1].isdecimal() and len(hit[1]) < 7 else -1
        return ("error", step) if 0 <= step <= steps else ("unknown", None)
    return ("no_error" if no_error and re.search(no_error, text) else "unknown"), None


class TaskReader:
    """Reads the task of a text world from a problem's words. Raises RecipeError for a world that reads none."""

    def __init__(self, world: str) -> None:
        self._component: Component = find("environment", world)
        made: type[World] = self._component.make  # type: ignore[assignment]
        if not hasattr(made, "read"):
            raise RecipeError(f"rollouts: the world {world} reads no tasks from texts; blocks does, from PDDL")
        self._read = made.read

    def __call__(self, problem: Problem) -> Problem:
        """The problem with its task. Raises ColumnError where its text tells none."""
        try:
            spec = self._read(problem.text)
        except ValueError as error:
            raise ColumnError(f"problem: {self._component.name} reads no task from it: {error}") from error
        task = Task(world=self._component.name, spec=canonical(spec), version=self._component.version)
        return replace(problem, task=task)
