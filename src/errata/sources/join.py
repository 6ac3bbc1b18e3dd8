"""Rows of a second file that belong to the rows of a first: critiques or judgements that stand apart from solutions."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from errata.records.types import Drop
from errata.sources.base import refused
from errata.sources.rows import Input

JOINED = "joined"
"""The column that holds the rows of the joined file."""


@dataclass(slots=True, kw_only=True)
class Join:
    """The rows of another file by the value of a column; it is held in memory whole."""

    read: Input
    on: str
    rows: dict[str, list[tuple[str, dict[str, Any]]]] = field(default_factory=dict)
    """(place, values) of the rows that no row has taken yet."""

    def open(self, roots: frozenset[str]) -> Iterator[Drop]:
        """Read the file; a drop for each row that is malformed. Raises SourceError."""
        for place, values, fault in self.read.rows(roots | {self.on}):
            if fault:
                yield refused(place, "malformed_row", fault)
            else:
                self.rows.setdefault(repr(values[self.on]), []).append((place, values))

    def take(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """The row with those of the other file that belong to it."""
        return {**values, JOINED: [v for _, v in self.rows.pop(repr(values[self.on]), [])]}

    def left(self) -> Iterator[Drop]:
        """A drop for each row that belongs to none."""
        for rows in self.rows.values():
            for place, values in rows:
                yield refused(place, "no_such_row", f"no row has {values[self.on]!r} in {self.on}")
