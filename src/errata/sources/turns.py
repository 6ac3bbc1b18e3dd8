"""Trajectories of other people's agents: a list of messages becomes steps by turns (errata.records.trajectory).

The roles are system, user, assistant and tool (or function), as chat endpoints write them. The agent's turns are even:
what it says to the user and every tool call is a step `action`, words beside a call are a step `reasoning`. What users
and tools answer are the odd turns, one step `observation` a message. A call is one line,

    {"name": "get_user", "arguments": {"user_id": "mia"}}

with the arguments as the agent wrote them. All other text is taken as it is, character for character; messages of one
side that follow each other are one turn, kept apart by a line break.

What comes before the agent's first turn is the prompt where all trajectories of a problem share it. Else the system's
turns are, and each attempt begins with the user's own words, as turn 1: it has no turn 0.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from errata.errors import SourceError
from errata.records.types import Message, Step, StepRole
from errata.sources.columns import ColumnError

ANSWERERS = ("user", "tool", "function")
"""Roles of the odd turns."""


class Opened(NamedTuple):
    """A trajectory, cut where the agent first speaks."""

    opening: tuple[Message, ...]
    """Turns of the system and of users, in order."""
    rest: tuple[tuple[bool, tuple[Step, ...]], ...]
    """From the agent's first on: whether a message is the agent's, and its steps, of no turn yet."""


def opened(messages: Any, system: str = "") -> Opened:
    """Read the messages of a trajectory; `system` replaces the system's words if it is any. Raises ColumnError."""
    if not isinstance(messages, list) or not all(isinstance(m, Mapping) for m in messages):
        raise ColumnError("it is no list of messages")
    first = next((i for i, m in enumerate(messages) if m.get("role") == "assistant"), None)
    if first is None:
        raise ColumnError("no message is the assistant's")
    opening = [_said(i, m, system) for i, m in enumerate(messages[:first])]
    return Opened(tuple(opening), tuple(_steps(i, m) for i, m in enumerate(messages[first:], first)))


def prompt_of(trajectories: Sequence[Opened]) -> tuple[Message, ...]:
    """What the agent is shown before all of these trajectories. Raises ColumnError where their systems differ."""
    openings = {t.opening for t in trajectories}
    if len(openings) == 1:
        return trajectories[0].opening
    systems = {tuple(m for m in opening if m.role == "system") for opening in openings}
    if len(systems) > 1 or () in systems:
        raise ColumnError("the trajectories begin with different words, and share no turn of the system")
    return systems.pop()


def steps_of(trajectory: Opened, prompt: tuple[Message, ...]) -> tuple[Step, ...]:
    """The steps of a trajectory after its prompt, by turns. Joined by turn, they are its messages."""
    said = [m for m in trajectory.opening if m.role != "system"] if trajectory.opening != prompt else []
    messages = [*((False, (_observation(m.content),)) for m in said), *trajectory.rest]
    made: list[Step] = []
    turn = -1
    for mine, steps in messages:
        follows = turn >= 0 and mine == (turn % 2 == 0)
        if follows:
            made[-1] = _broken(made[-1])
        turn = turn if follows else turn + 1 if mine == (turn % 2 != 0) else turn + 2
        made += [Step(text=s.text, role=s.role, source=s.source, train=s.train, turn=turn) for s in steps]
    return tuple(made)


def _said(i: int, message: Mapping[str, Any], system: str) -> Message:
    role, content = message.get("role"), message.get("content")
    if role not in ("system", "user") or not isinstance(content, str):
        raise ColumnError(f"message {i}: before the assistant's first there are texts of the system and the user alone")
    return Message(role=role, content=system if system and role == "system" else content)


def _steps(i: int, message: Mapping[str, Any]) -> tuple[bool, tuple[Step, ...]]:
    role, content = message.get("role"), message.get("content")
    if content is not None and not isinstance(content, str):
        raise ColumnError(f"message {i}: its content is no text")
    if role in ANSWERERS:
        return False, (_observation(content or ""),)
    if role != "assistant":
        known = ", ".join(("assistant", *ANSWERERS))
        raise ColumnError(f"message {i}: its role is {role!r}; after the assistant's first there are {known}")
    calls = message.get("tool_calls") or []
    if not isinstance(calls, list) or not (calls or content):
        raise ColumnError(f"message {i}: the assistant neither says nor calls anything")
    texts: list[tuple[str, StepRole]] = [(_call(i, call), "action") for call in calls]
    if content:
        texts.insert(0, (content, "reasoning" if calls else "action"))
    lines = [(text if k == len(texts) - 1 else text + "\n", role) for k, (text, role) in enumerate(texts)]
    return True, tuple(Step(text=text, role=role, source="rollout") for text, role in lines)


def _call(i: int, call: Any) -> str:
    made = call.get("function", call) if isinstance(call, Mapping) else None
    name = made.get("name") if isinstance(made, Mapping) else None
    if not isinstance(name, str) or made is None:
        raise ColumnError(f"message {i}: a tool call names no function")
    given = made.get("arguments", {})
    text = given if isinstance(given, str) else json.dumps(given, ensure_ascii=False)
    if not _is_line(text):
        text = json.dumps(text, ensure_ascii=False)
    return f'{{"name": {json.dumps(name, ensure_ascii=False)}, "arguments": {text}}}'


def _is_line(text: str) -> bool:
    """Whether a text is JSON on one line, so that it can stand in a call as it is."""
    try:
        json.loads(text)
    except ValueError:
        return False
    return len(text.splitlines()) == 1


def _observation(text: str) -> Step:
    return Step(text=text, role="observation", source="environment", train=False)


def _broken(step: Step) -> Step:
    return Step(text=step.text + "\n", role=step.role, source=step.source, train=step.train, turn=step.turn)


def words_of(path: str) -> str:
    """The text of a file, none where no file is named. Raises SourceError."""
    try:
        return Path(path).read_text(encoding="utf-8") if path else ""
    except (OSError, UnicodeDecodeError) as error:
        raise SourceError(f"no text in {path}: {error}; set system to a file of UTF-8 text") from None
