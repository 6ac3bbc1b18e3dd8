"""What the expert of worlds can be asked for beyond the next action: one task a function, by its phrase.

    @task("good, bad or uncertain")
    async def judge(asked: Asked) -> str: ...

A mapping is answered as JSON. Each module of this package holds the tasks of one family of methods.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from errata.engines.phrases import Conversation, Phrases
from errata.environments.hosts import Session
from errata.records.types import Task as WorldTask


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked(Conversation):
    """One request as the expert reads it."""

    task: WorldTask
    after: Callable[[Sequence[str]], Awaitable[Session]]
    """The world after these actions. What is asked of it must not change it."""

    @property
    def log(self) -> tuple[str, ...]:
        """The actions of a trajectory that the last user turn shows, numbered: `[1] get 2 oak`."""
        return tuple(" ".join(action.split()) for action in self.numbered)


Task = Callable[[Asked], Awaitable[str | Mapping[str, Any]]]

_PHRASES: Phrases[Task] = Phrases(__name__, Path(__file__).parent)
task = _PHRASES.task
task_for = _PHRASES.find
files = _PHRASES.files
