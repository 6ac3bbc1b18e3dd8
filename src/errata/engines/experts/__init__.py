"""What the expert of worlds can be asked for beyond the next action: one task a function, by its phrase.

    @task("good, bad or uncertain")
    async def judge(asked: Asked) -> str: ...

A mapping is answered as JSON. Each module of this package holds the tasks of one family of methods.
"""

import random
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from errata.engines.phrases import Phrases
from errata.environments.hosts import Session
from errata.records.types import Message
from errata.records.types import Task as WorldTask

_NUMBERED = re.compile(r"^\[\d+\] ?(.*)$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Asked:
    """One request as the expert reads it."""

    task: WorldTask
    messages: tuple[Message, ...]
    schema: Mapping[str, Any]
    """JSON Schema that the reply must follow; empty for free text."""
    well: bool
    """Whether this request is to be answered well; else plausibly wrong."""
    rng: random.Random
    after: Callable[[Sequence[str]], Awaitable[Session]]
    """The world after these actions. What is asked of it must not change it."""

    @property
    def text(self) -> str:
        """The last user turn."""
        return next((m.content for m in reversed(self.messages) if m.role == "user"), "")

    @property
    def log(self) -> tuple[str, ...]:
        """The actions of a trajectory that the last user turn shows, numbered: `[1] get 2 oak`."""
        return tuple(" ".join(action.split()) for action in _NUMBERED.findall(self.text))


Task = Callable[[Asked], Awaitable[str | Mapping[str, Any]]]

_PHRASES: Phrases[Task] = Phrases(__name__, Path(__file__).parent)
task = _PHRASES.task
task_for = _PHRASES.find
files = _PHRASES.files
