"""What the oracle can be asked for beyond solutions, critiques and judgements: one task a function, by its phrase.

    @task("write a thought template")
    def template(asked: Asked) -> str: ...

The phrase stands in the last line of the last user turn, whatever else the prompt says. A mapping is answered as JSON.
Each module of this package holds the tasks of one family of methods.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from errata.chains import Chain, Finding, first_error
from errata.engines.phrases import Conversation, Phrases
from errata.errors import EngineError
from errata.records.segment import segment

_SOLUTION = re.compile(r"^.*\bSolution:[ \t]*\n", re.MULTILINE | re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked(Conversation):
    """One request as the oracle reads it."""

    chain: Chain

    @property
    def attempt(self) -> tuple[str, ...]:
        """The steps to judge: numbered in the last user turn, the assistant's last turn, or after `Solution:`.

        Raises EngineError where there is none.
        """
        if numbered := self.numbered:
            return numbered
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


_PHRASES: Phrases[Task] = Phrases(__name__, Path(__file__).parent)
task = _PHRASES.task
tasks = _PHRASES.tasks
task_for = _PHRASES.find
files = _PHRASES.files
