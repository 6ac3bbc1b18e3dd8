"""Is what a text names known to those who have read the conversation so far?

A teacher that was shown the way to the goal may speak of a room that the agent has never been in, and a student that
learns from it learns to make things up. Names are what the task's description is made of, and the words of the gold
steps; a name is known where it stands in the problem or in anything that was said or observed before.
"""

import re
from collections.abc import Iterable, Iterator
from typing import Any

import msgspec

from errata.records.types import Problem, Task

_WORD = re.compile(r"[a-z]+(?:[-'][a-z]+)*")
_LEAST = 3
"""Letters of a name."""
_NO_NAMES = frozenset("the and for from with using into onto away not".split())
"""Words between the names of a gold step."""


def ungrounded(problem: Problem, text: str, known: Iterable[str]) -> str | None:
    """The longest name in `text` that stands neither in the problem nor in one of the `known` texts, or None."""
    said = _plain(text)
    seen = [_plain(part) for part in (problem.text, *known)]
    for name in sorted(set(_names(problem)) - _NO_NAMES, key=lambda n: (-len(n), n)):
        if len(name) >= _LEAST and _holds(said, name) and not any(_holds(part, name) for part in seen):
            return name
    return None


def _plain(text: str) -> str:
    """The words of a text with one blank around each, so that a phrase is found whole."""
    return f" {' '.join(_WORD.findall(text.lower()))} "


def _holds(plain: str, name: str) -> bool:
    return f" {name} " in plain


def _names(problem: Problem) -> Iterator[str]:
    """Every name of the task's description, as a phrase and word by word, and what gold steps name after their verb."""
    for text in _texts(problem.task):
        words = _plain(text).split()
        yield " ".join(words)
        yield from words
    for step in problem.solution:
        yield from _plain(step).split()[1:]


def _texts(task: Task | None) -> Iterator[str]:
    """The texts of a task's description. Keys are names in a mapping, and none in a list of records."""
    pending: list[Any] = list(msgspec.json.decode(task.spec, type=dict[str, Any]).values()) if task else []
    while pending:
        found = pending.pop()
        if isinstance(found, str):
            yield found
        elif isinstance(found, dict):
            pending += [*found, *found.values()]
        elif isinstance(found, list):
            pending += [x for item in found for x in (item.values() if isinstance(item, dict) else (item,))]
