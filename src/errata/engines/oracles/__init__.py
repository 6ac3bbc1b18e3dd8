"""What the oracle can be asked for beyond solutions, critiques and judgements: one task a function, by its phrase.

    @task("write a thought template")
    def template(asked: Asked) -> str: ...

The phrase stands in the last line of the last user turn, whatever else the prompt says. A mapping is answered as JSON.
Each module of this package holds the tasks of one family of methods.
"""

import functools
import importlib
import pkgutil
import random
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from errata.chains import Chain, Finding, first_error
from errata.errors import EngineError
from errata.records.segment import segment
from errata.records.types import Message

_NUMBERED = re.compile(r"^\[\d+\] ?(.*)$", re.MULTILINE)
_SOLUTION = re.compile(r"^.*\bSolution:[ \t]*\n", re.MULTILINE | re.IGNORECASE)
_TASKS: dict[str, "Task"] = {}


@dataclass(frozen=True, slots=True)
class Asked:
    """One request as the oracle reads it."""

    chain: Chain
    messages: tuple[Message, ...]
    schema: Mapping[str, Any]
    """JSON Schema that the reply must follow; empty for free text."""
    well: bool
    """Whether this request is to be answered well; else plausibly wrong."""
    rng: random.Random

    @property
    def text(self) -> str:
        """The last user turn."""
        return next((m.content for m in reversed(self.messages) if m.role == "user"), "")

    @property
    def attempt(self) -> tuple[str, ...]:
        """The steps to judge: numbered in the last user turn, the assistant's last turn, or after `Solution:`.

        Raises EngineError where there is none.
        """
        numbered = _NUMBERED.findall(self.text)
        if numbered:
            return tuple(numbered)
        said = [m.content for m in self.messages[:-1] if m.role == "assistant"]
        if said:
            return segment(said[-1], "lines")
        found = _SOLUTION.search(self.text)
        if found:
            return segment(self.text[found.end() :].split("\n\n", 1)[0], "lines")
        raise EngineError(
            "oracle_cannot",
            "a critique needs an attempt: an assistant turn, or lines after `Solution:` in the last turn",
        )

    @property
    def finding(self) -> Finding | None:
        """The first error of the attempt, in truth."""
        return first_error(self.chain, self.attempt)


Task = Callable[[Asked], str | Mapping[str, Any]]


def task(phrase: str) -> Callable[[Task], Task]:
    """Register what answers a request whose last line holds `phrase`, in any case."""

    def mark(function: Task) -> Task:
        if _TASKS.setdefault(phrase.lower(), function) is not function:
            raise ValueError(f"two tasks of the oracle are called {phrase!r}")
        return function

    return mark


@functools.cache
def tasks() -> Mapping[str, Task]:
    """All tasks by their phrases, longer ones first, so that a phrase may hold another."""
    for module in sorted(m.name for m in pkgutil.iter_modules([str(Path(__file__).parent)])):
        importlib.import_module(f"{__name__}.{module}")
    return {phrase: _TASKS[phrase] for phrase in sorted(_TASKS, key=lambda p: (-len(p), p))}


def task_for(text: str) -> Task | None:
    """The task that the last line of a user turn names, if any."""
    line = text.rstrip().rsplit("\n", 1)[-1].lower()
    return next((task for phrase, task in tasks().items() if phrase in line), None)


def files() -> tuple[Path, ...]:
    """The source files of all tasks: they determine what the oracle answers."""
    return tuple(sorted(Path(__file__).parent.glob("*.py")))
