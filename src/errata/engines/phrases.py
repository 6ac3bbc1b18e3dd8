"""Programs that answer as a model would: what they can be asked for, one function a task, found by its phrase.

The phrase stands in the last line of the last user turn, whatever else the prompt says.
"""

import functools
import importlib
import pkgutil
import random
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from errata.engines.base import Reply, Request
from errata.records.types import Finish, Message

_NUMBERED = re.compile(r"^\[\d+\] ?(.*)$", re.MULTILINE)
F = TypeVar("F", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True, kw_only=True)
class Conversation:
    """One request as a program reads it."""

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
    def numbered(self) -> tuple[str, ...]:
        """The lines of the last user turn that begin with a number in brackets, without it: `[1] get 2 oak`."""
        return tuple(_NUMBERED.findall(self.text))


class Phrases(Generic[F]):
    """The tasks that the modules of a package register, by their phrases."""

    def __init__(self, package: str, folder: Path) -> None:
        self._package, self._folder = package, folder
        self._known: dict[str, F] = {}

    def task(self, phrase: str) -> Callable[[F], F]:
        """Register what answers a request whose last line holds `phrase`, in any case."""

        def mark(function: F) -> F:
            if self._known.setdefault(phrase.lower(), function) is not function:
                raise ValueError(f"two tasks of {self._package} are called {phrase!r}")
            return function

        return mark

    @functools.cached_property
    def _ordered(self) -> Mapping[str, F]:
        for module in sorted(m.name for m in pkgutil.iter_modules([str(self._folder)])):
            importlib.import_module(f"{self._package}.{module}")
        return {phrase: self._known[phrase] for phrase in sorted(self._known, key=lambda p: (-len(p), p))}

    def tasks(self) -> Mapping[str, F]:
        """All tasks by their phrases, longer ones first, so that a phrase may hold another."""
        return self._ordered

    def find(self, text: str) -> F | None:
        """The task that the last line of a user turn names, if any."""
        line = text.rstrip().rsplit("\n", 1)[-1].lower()
        return next((task for phrase, task in self._ordered.items() if phrase in line), None)

    def files(self) -> tuple[Path, ...]:
        """The source files of all tasks, and this one: they determine what is answered."""
        return (Path(__file__), *sorted(self._folder.glob("*.py")))


def replied(request: Request, text: str) -> Reply:
    """`text` as a reply, within the request's stop texts and token limit; tokens are counted as words."""
    finish: Finish = "stop"
    stops = [at for at in (text.find(s) for s in request.sampling.stop) if at >= 0]
    text = text[: min(stops)] if stops else text
    words = list(re.finditer(r"\S+", text))
    limit = max(request.sampling.max_tokens, 0)
    if len(words) > limit:
        text, words, finish = text[: words[limit - 1].end() if limit else 0], words[:limit], "length"
    prompt = sum(len(m.content.split()) for m in request.messages)
    return Reply(text=text, finish=finish, prompt_tokens=prompt, completion_tokens=len(words))
