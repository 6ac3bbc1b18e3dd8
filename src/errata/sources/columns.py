"""Column maps: each field of errata is an expression on a row of somebody else's table.

    question                      the value of a column
    6b_finetuning.solution        a key in it; a number picks an item of a list, from 0
    ground_truth | after('A:')    the text after the last `A:`, stripped
    ground_truth | lines          the lines of a text, stripped, without blank ones
    messages | opening            of a list of turns, those before the assistant's first
    code.*                        every item of a list: the pipes that follow apply to each
    'gpt-3 6B'                    a constant

Names are taken as they are, spaces and all, but hold none of `. | ( ) ' "`. A path through null gives null, and so do
pipes of null. This is the whole language.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from itertools import takewhile
from typing import Any

from errata.sources.base import near

_SPLIT = re.compile(r"""((?:[^|'"]|'[^']*'|"[^"]*")*)(?:\||\Z)""")
_CONSTANT = re.compile(r"""'([^']*)'|"([^"]*)\"""")
_NAME = re.compile(r"""[^.|()'"]+""")
_PIPE = re.compile(r"""(\w+)\s*(?:\(\s*(?:'([^']*)'|"([^"]*)")\s*\))?""")

_TRUE = frozenset({"correct", "right", "true", "pass", "passed", "yes", "1"})
_FALSE = frozenset({"incorrect", "wrong", "false", "fail", "failed", "no", "0"})


class ColumnError(ValueError):
    """A row does not hold what an expression asks for."""


class MissingKey(ColumnError):
    """A row has no such column or key."""


@dataclass(frozen=True, slots=True)
class Expression:
    """One parsed expression: a path or a constant, and the pipes that its value goes through."""

    source: str
    path: tuple[str, ...] = ()
    constant: str | None = None
    pipes: tuple[tuple[str, str], ...] = ()
    """Name and argument of each."""

    @property
    def root(self) -> str | None:
        """The column that it reads."""
        return self.path[0] if self.path else None

    @property
    def many(self) -> bool:
        """Whether its value is a list with one value an attempt."""
        return "*" in self.path


def parse(source: str) -> Expression:
    """Raises ValueError that says what is wrong with the expression."""
    parts = _parts(source)
    pipes = tuple(_pipe(part) for part in parts[1:])
    constant = _CONSTANT.fullmatch(parts[0])
    if constant:
        return Expression(source, constant=constant[1] if constant[1] is not None else constant[2], pipes=pipes)
    path = tuple(name.strip() for name in parts[0].split("."))
    if not all(_NAME.fullmatch(name) for name in path):
        raise ValueError(f"{parts[0]!r} is neither a path like a.b.0 nor a constant in quotes")
    if path[0] == "*" or path.count("*") > 1:
        raise ValueError("`*` stands once at most, after the name of a list")
    return Expression(source, path=path, pipes=pipes)


def _parts(source: str) -> list[str]:
    parts, at = [], 0
    while True:
        found = _SPLIT.match(source, at)
        if not found:
            raise ValueError("a quote is not closed")
        parts.append(found[1].strip())
        if not found[0].endswith("|"):
            return parts
        at = found.end()


def _pipe(part: str) -> tuple[str, str]:
    found = _PIPE.fullmatch(part)
    if not found or found[1] not in _PIPES:
        raise ValueError(f"{part!r} is no pipe: there are {', '.join(_USAGE.values())}")
    argument = found[2] if found[2] is not None else found[3]
    if (found[1] == "after") != bool(argument):
        raise ValueError(f"{part!r} is written {_USAGE[found[1]]}")
    return found[1], argument or ""


def parse_map(columns: Mapping[str, str], known: Iterable[str], where: str) -> tuple[dict[str, Expression], list[str]]:
    """The expressions of a column map by field, and its faults. A known name that ends in `.` is open: `meta.level`."""
    found, faults, names = {}, [], list(known)
    for field, source in columns.items():
        open_name = any(n.endswith(".") and field.startswith(n) for n in names)
        if field.endswith(".") or not (field in names or open_name):
            told = ", ".join(n + "NAME" if n.endswith(".") else n for n in names)
            faults.append(f"{where} has no field {field!r}: there are {told}")
        elif not isinstance(source, str):
            faults.append(f"{where}.{field} is {source!r}, not an expression such as question or a.b.0")
        else:
            try:
                found[field] = parse(source)
            except ValueError as error:
                faults.append(f"{where}.{field}: {error}")
    return found, faults


def evaluate(expression: Expression, row: Mapping[str, Any]) -> Any:
    """The value of `expression` on `row`. Raises ColumnError, or MissingKey where the row lacks a key."""
    value = expression.constant if expression.constant is not None else _follow(row, expression.path, ())
    for name, argument in expression.pipes:
        pipe = _PIPES[name]
        if expression.many and value is not None:
            value = [None if item is None else pipe(item, argument) for item in value]
        elif value is not None:
            value = pipe(value, argument)
    return value


def _follow(value: Any, path: tuple[str, ...], done: tuple[str, ...]) -> Any:
    if not path or value is None:
        return value
    key, rest = path[0], path[1:]
    here = ".".join(done) or "the row"
    if key == "*":
        if not isinstance(value, list):
            raise ColumnError(f"{here} is no list")
        return [_follow(item, rest, (*done, key)) for item in value]
    if isinstance(value, Mapping):
        if key not in value:
            raise MissingKey(f"{here} has no {key!r}: it has {near(key, value)}")
        return _follow(value[key], rest, (*done, key))
    if isinstance(value, list) and key.isascii() and key.isdigit():
        if int(key) >= len(value):
            raise ColumnError(f"{here} has {len(value)} items and none at {key}")
        return _follow(value[int(key)], rest, (*done, key))
    raise ColumnError(f"{here} holds no {key!r}: it is {_kind(value)}")


def _after(value: Any, marker: str) -> str:
    if not isinstance(value, str):
        raise ColumnError(f"after({marker!r}) needs a text, not {_kind(value)}")
    if marker not in value:
        raise ColumnError(f"the text holds no {marker!r}")
    return value.rpartition(marker)[2].strip()


def _lines(value: Any, _: str) -> list[str]:
    if not isinstance(value, str):
        raise ColumnError(f"lines needs a text, not {_kind(value)}")
    return [line.strip() for line in value.split("\n") if line.strip()]


def _opening(value: Any, _: str) -> list[Any]:
    if not isinstance(value, list):
        raise ColumnError(f"opening needs a list of turns, not {_kind(value)}")
    return list(takewhile(lambda turn: not (isinstance(turn, Mapping) and turn.get("role") == "assistant"), value))


_PIPES: dict[str, Callable[[Any, str], Any]] = {"after": _after, "lines": _lines, "opening": _opening}
_USAGE = {"after": "after('A:')", "lines": "lines", "opening": "opening"}


def _kind(value: Any) -> str:
    return _KINDS.get(type(value), type(value).__name__)


_KINDS = {bool: "a truth value", int: "a number", float: "a number", str: "a text", list: "a list", dict: "an object"}


def as_text(value: Any) -> str | None:
    """A text, a number as text, or None. Raises ColumnError for anything else."""
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, int | float) and not isinstance(value, bool):
        return str(value)
    raise ColumnError(f"it is {_kind(value)}, not a text")


def as_texts(value: Any) -> tuple[str, ...]:
    """A list of texts, one text as a list of one, or nothing. Raises ColumnError for anything else."""
    items = value if isinstance(value, list) else [value] if value is not None else []
    if not all(isinstance(item, str) for item in items):
        raise ColumnError("it is not a list of texts")
    return tuple(items)


def as_truth(value: Any) -> bool | None:
    """A label of correctness; None where it is null or says unknown.

    true, 1, correct, right, pass, passed, yes; false, 0, incorrect, wrong, fail, failed, no. Anything else, such as a
    score of 0.5, raises ColumnError: a threshold would invent labels.
    """
    if value is None or isinstance(value, bool):
        return value
    word = str(int(value)) if isinstance(value, int | float) and value in (0, 1) else str(value).strip().lower()
    if word in ("", "unknown"):
        return None
    if word in _TRUE or word in _FALSE:
        return word in _TRUE
    raise ColumnError(f"{value!r} is no label of correctness such as true, wrong or 0")


def as_share(value: Any) -> float | None:
    """A number from 0 to 1; None for null. Raises ColumnError."""
    if value is None:
        return None
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= 1:
        return float(value)
    raise ColumnError(f"{value!r} is no number from 0 to 1")


def as_index(value: Any) -> int | None:
    """A whole number, also one written as text or as 3.0; None for null and empty text. Raises ColumnError."""
    if value is None or (isinstance(value, str) and not value.strip()):
        return None
    if isinstance(value, str) and re.fullmatch(r"\s*-?[0-9]{1,9}\s*", value):
        return int(value)
    if isinstance(value, int | float) and not isinstance(value, bool) and value == int(value):
        return int(value)
    raise ColumnError(f"{value!r} is no index of a step")
