"""A problem from a row, by a column map."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, TypeVar

from errata.records.ids import canonical, digest
from errata.records.types import Message, Problem
from errata.sources.columns import ColumnError, Expression, as_text, as_texts, evaluate

T = TypeVar("T")

FIELDS = ("problem", "answer", "solution", "id", "domain", "meta.")
"""What a column map can give a problem; `meta.NAME` puts a value under NAME in its meta."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Constants:
    """What all problems of one table share."""

    verifier: str
    split: str
    source: str
    """The table's own name; for ids only the name that the recipe gives it counts."""
    name: str
    domain: str
    licence: str
    prompt: str
    """An instruction put after every problem's text, as it is."""


def build(
    values: Mapping[str, Any],
    place: str,
    columns: Mapping[str, Expression],
    constants: Constants,
    meta: Mapping[str, Any] = MappingProxyType({}),
    messages: tuple[Message, ...] | None = None,
) -> Problem:
    """The problem of one row; `meta` joins what the columns give. Raises ColumnError.

    Its prompt is what the column `problem` says, or `messages`.

    Its id hashes its messages, answer, the column `id` and the name given in the recipe: not the file, not the line.
    """
    field = {name: value_of(name, columns[name], values) for name in columns}
    if messages is None:
        messages = _messages(field["problem"], constants.prompt)
    answer = named("answer", as_text, field.get("answer"))
    row = named("id", as_text, field.get("id"))
    extra = {name.removeprefix("meta."): value for name, value in field.items() if name.startswith("meta.")}
    return Problem(
        id=digest(source=constants.name, row=row, answer=answer, messages=[[m.role, m.content] for m in messages]),
        messages=messages,
        verifier=constants.verifier,
        answer=answer,
        solution=named("solution", as_texts, field.get("solution")),
        domain=named("domain", as_text, field.get("domain")) or constants.domain,
        split=constants.split,
        source=constants.name or constants.source,
        licence=constants.licence,
        origin=place,
        meta=canonical({**extra, **meta}),
    )


def value_of(name: str, expression: Expression, values: Mapping[str, Any]) -> Any:
    """`evaluate`, with the field's name in front of what it finds wrong."""
    try:
        return evaluate(expression, values)
    except ColumnError as error:
        raise type(error)(f"{name} ({expression.source}): {error}") from None


def named(name: str, read: Callable[[Any], T], value: Any) -> T:
    """`read(value)`, with the field's name in front of what it finds wrong."""
    try:
        return read(value)
    except ColumnError as error:
        raise ColumnError(f"{name}: {error}") from None


def _messages(value: Any, prompt: str) -> tuple[Message, ...]:
    """One user turn from a text, or a conversation from a list of {role, content}, which the user must end."""
    if isinstance(value, list):
        turns = [_message(turn) for turn in value]
        if not turns or turns[-1].role != "user":
            raise ColumnError("problem: a conversation ends with a turn of the user")
        last = turns[-1]
        return (*turns[:-1], Message(role=last.role, content=last.content + prompt))
    text = named("problem", as_text, value)
    if text is None or not text.strip():
        raise ColumnError("problem: it is empty")
    return (Message(role="user", content=text + prompt),)


def _message(turn: Any) -> Message:
    role = turn.get("role") if isinstance(turn, Mapping) else None
    content = turn.get("content") if isinstance(turn, Mapping) else None
    if role not in ("system", "user", "assistant") or not isinstance(content, str):
        raise ColumnError("problem: a turn is no object with role (system, user or assistant) and content")
    return Message(role=role, content=content)
