"""Prompts are files: a list of messages whose contents are Jinja2 templates, and how to read the reply.

    messages:
      - use: problem                      # the problem's own messages
      - {role: assistant, content: "{{ attempt.text }}"}
      - {role: user, content: "Find the first wrong step"}
    read: {error: 'Step (\\d+) is wrong', no_error: 'Every step is right', base: 1}

Each content is rendered by itself in a sandbox, so that no text of a problem can forge a message. A template sees the
problem, attempts, critiques, notes and the sample's index; privileged context exists in it only where the stage was
told to show it, and naming anything else is an error.
"""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import yaml
from jinja2 import StrictUndefined, Template, TemplateError, meta, nodes
from jinja2.runtime import LoopContext
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jsonschema import Draft202012Validator, ValidationError
from msgspec import structs

from errata.errors import RecipeError
from errata.records.ids import canonical
from errata.records.trajectory import moves
from errata.records.types import Attempt, Critique, Message, Problem

FILES = Path(__file__).parent / "files"
PUBLIC = frozenset({"problem", "attempt", "attempts", "other", "critique", "critiques", "notes", "index"})
"""What a template may name without being shown privileged context."""
_ROLES = ("system", "user", "assistant")
_FAULTS = (TemplateError, ArithmeticError, LookupError, TypeError, ValueError, AttributeError)
"""What a template can raise: only it can be wrong, as what it is given is always the same."""


class _Environment(ImmutableSandboxedEnvironment):
    """The sandbox; what a template reads of our own plain data needs no guard, and is most of what it reads."""

    def getattr(self, obj: Any, attribute: str) -> Any:
        if type(obj) is dict and attribute in obj:
            return obj[attribute]
        if type(obj) is LoopContext and attribute in ("index", "index0"):
            return getattr(obj, attribute)
        return super().getattr(obj, attribute)


_ENVIRONMENT = _Environment(undefined=StrictUndefined, keep_trailing_newline=True, autoescape=False)
_ENVIRONMENT.policies["json.dumps_kwargs"] = {"ensure_ascii": False, "sort_keys": True}


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object in which no key stands twice: of two answers neither is taken."""
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key stands twice")
    return found


class Location(NamedTuple):
    """What a reply says of the first error: `found` is error, no_error or unknown; `step` is 0-based."""

    found: str
    step: int | None


@dataclass(frozen=True)
class Reading:
    """How a reply tells the first wrong step: by patterns in text, or by a key of its JSON."""

    error: str = ""
    no_error: str = ""
    base: int = 1
    key: str = ""
    """Property of a JSON reply that holds the step; a number below `base` says that there is no error."""

    fields: tuple[tuple[str, str], ...] = ()
    """(name, pattern with one group) of values that a free text tells; of several matches the last one counts."""

    def __call__(self, text: str) -> Location:
        step = self._number(text)
        if step is not None:
            return Location("error", step) if step >= 0 else Location("no_error", None)
        if self.no_error and re.search(self.no_error, text):
            return Location("no_error", None)
        return Location("unknown", None)

    def _number(self, text: str) -> int | None:
        if self.key:
            try:
                value = json.loads(text, object_pairs_hook=_once)[self.key]
            except (ValueError, KeyError, TypeError, RecursionError):
                return None
            return value - self.base if isinstance(value, int) and not isinstance(value, bool) else None
        found = re.search(self.error, text) if self.error else None
        if found is None or not found[1] or not found[1].isdecimal() or len(found[1]) > 6:
            return None
        # A text names a step from its base upwards; step 0 of a 1-based prompt is no answer.
        step = int(found[1]) - self.base
        return step if step >= 0 else None


@dataclass(frozen=True)
class Prompt:
    """One prompt file, compiled."""

    name: str
    digest: str
    parts: tuple[tuple[str, Template | None], ...]
    """(role, template) in order; a part without template stands for the problem's own messages."""
    reading: Reading
    schema: str
    """JSON Schema that the reply must follow, as canonical JSON; empty for free text."""
    names: frozenset[str] = frozenset()
    """What its templates ask for."""
    notes: frozenset[str] = frozenset()
    """Kinds of notes that it cannot do without: `notes.plan`, where no `if` asks for it first."""

    def values(self, text: str) -> dict[str, Any] | None:
        """What a reply tells by name: the properties of its JSON where the prompt has a schema, else `read.fields`.

        None where a schema's reply is no JSON object, a key stands twice, or a field of a free text is not found.
        """
        if self.schema:
            try:
                found = json.loads(text, object_pairs_hook=_once)
                Draft202012Validator(json.loads(self.schema)).validate(found)
            except (ValueError, RecursionError, ValidationError):
                return None
            return found if isinstance(found, dict) else None
        told = {name: re.findall(pattern, text) for name, pattern in self.reading.fields}
        return {name: hits[-1] for name, hits in told.items()} if all(told.values()) else None

    def each(self, name: str, text: str) -> tuple[str, ...]:
        """Every value of the field `name` of `read.fields` that a free text tells, in order; none without the field."""
        pattern = dict(self.reading.fields).get(name)
        return tuple(re.findall(pattern, text)) if pattern else ()

    @property
    def label(self) -> str:
        return f"{self.name}@{self.digest[:12]}"

    def render(
        self,
        problem: Problem,
        attempt: Attempt | None = None,
        critique: Critique | None = None,
        *,
        index: int = 0,
        shown: Mapping[str, Any] | None = None,
    ) -> tuple[Message, ...]:
        """The messages to send.

        `shown` holds what else a template may name: `other` (an attempt to set beside the first), `attempts` and
        `critiques` (to sum up), `notes` (texts by kind), and the privileged context that the stage declares.
        """
        values = {"problem": {"text": problem.text, "domain": problem.domain}, "index": index}
        for name, value in {"attempt": attempt, "critique": critique, **(shown or {})}.items():
            if value is not None:
                values[name] = _plain(value)
        messages: list[Message] = []
        for role, template in self.parts:
            if template is None:
                messages += problem.messages
                continue
            try:
                messages.append(Message(role=role, content=template.render(values)))  # type: ignore[arg-type]
            except _FAULTS as error:
                raise RecipeError(
                    f"prompt {self.name}: {error}; a template sees {', '.join(sorted(values))}"
                ) from error
        return tuple(messages)


def _plain(value: Any) -> Any:
    """What a template sees of a record: plain data."""
    if isinstance(value, Attempt):
        return _attempt(value)
    if isinstance(value, Critique):
        return _critique(value)
    return [_plain(x) for x in value] if isinstance(value, (list, tuple)) else value


def _attempt(attempt: Attempt) -> dict[str, Any]:
    return {
        "text": attempt.text,
        "final_text": attempt.final_text,
        "steps": [s.text for s in attempt.steps],
        "lines": [s.text.rstrip() for s in attempt.steps],
        "tags": {t.name: t.value for t in attempt.tags},
        "moves": [m._asdict() for m in moves(attempt.steps)],
    }


def _critique(critique: Critique) -> dict[str, Any]:
    return {
        "text": critique.text,
        "first_error": critique.first_error,
        "verdict": critique.verdict,
        "steps": list(critique.steps),
        "findings": [structs.asdict(f) for f in critique.findings],
    }


def load(name: str, folder: Path | None = None) -> Prompt:
    """The prompt called `name`: one of errata's own, or a .yaml file beside the recipe in `folder`."""
    path = (folder or Path()) / name if name.endswith((".yaml", ".yml")) else FILES / f"{name}.yaml"
    if not path.is_file():
        known = ", ".join(sorted(p.stem for p in FILES.glob("*.yaml")))
        raise RecipeError(f"there is no prompt {name!r}: errata has {known}; or name a .yaml file beside the recipe")
    return _compile(name, path.read_bytes())


@lru_cache(maxsize=256)
def _compile(name: str, content: bytes) -> Prompt:
    try:
        data = yaml.safe_load(content)
        if not isinstance(data, dict) or not isinstance(data.get("messages"), list) or not data["messages"]:
            raise ValueError("there is no list of messages")
        if unknown := set(data) - {"messages", "read", "schema"}:
            raise ValueError(f"unknown keys {', '.join(sorted(map(str, unknown)))}")
        if not isinstance(data.get("schema", {}), dict):
            raise ValueError("schema is no JSON Schema")
        parts = tuple(_part(m) for m in data["messages"])
        texts = [m["content"] for m in data["messages"] if "content" in m]
        asked = {n for t in texts for n in meta.find_undeclared_variables(_ENVIRONMENT.parse(t))}
        reading = _reading(**data.get("read", {}))
        schema = canonical(data["schema"]) if "schema" in data else ""
    except (yaml.YAMLError, TemplateError, ValueError, KeyError, TypeError, re.error) as error:
        why = " ".join(str(error).split())
        raise RecipeError(
            f"prompt {name}: {why}; it needs messages (role, content or use: problem), read and schema are optional"
        ) from error
    names = frozenset(asked - _ENVIRONMENT.globals.keys())
    notes = frozenset().union(*(_notes(_ENVIRONMENT.parse(t)) for t in texts))
    return Prompt(Path(name).stem, hashlib.sha256(content).hexdigest(), parts, reading, schema, names, notes)


def _notes(template: nodes.Template) -> frozenset[str]:
    """The kinds of notes that a template shows without asking whether there are any."""
    tested = {kind for branch in template.find_all(nodes.If) for kind in _kinds(branch.test)}
    return frozenset(_kinds(template)) - tested


def _kinds(node: nodes.Node) -> set[str]:
    read = node.find_all(nodes.Getattr)
    return {n.attr for n in read if isinstance(n.node, nodes.Name) and n.node.name == "notes"}


def _reading(
    *, error: str = "", no_error: str = "", base: int = 1, key: str = "", fields: Mapping[str, str] = {}
) -> Reading:
    if not isinstance(base, int) or not isinstance(key, str):
        raise ValueError("read.base is a whole number and read.key a text")
    if wrong := [name for name, pattern in fields.items() if re.compile(pattern).groups != 1]:
        raise ValueError(f"read.fields.{wrong[0]} needs one group for the value that it reads")
    if error and not re.compile(error).groups:
        raise ValueError(f"read.error {error!r} needs a group, e.g. (\\d+), for the step's number")
    re.compile(no_error)
    return Reading(error, no_error, base, key, tuple(fields.items()))


def _part(message: Mapping[str, Any]) -> tuple[str, Template | None]:
    if message == {"use": "problem"}:
        return "", None
    well = isinstance(message, dict) and set(message) == {"role", "content"} and isinstance(message["content"], str)
    if not well or message["role"] not in _ROLES:
        raise ValueError(f"a message is {{use: problem}} or has a role ({', '.join(_ROLES)}) and a content")
    return message["role"], _ENVIRONMENT.from_string(message["content"])
