"""Rows that are attempts at one problem: those with the same value in a column become one row that holds them all."""

from collections.abc import Iterable, Iterator
from typing import Any

from errata.sources.rows import Row

ROWS = "rows"
"""The column that holds the rows of a group."""


def grouped(rows: Iterable[Row], on: str, roots: frozenset[str]) -> Iterator[Row]:
    """One row for each value of `on`, in the order of their first rows: the first one's columns, and `rows`.

    Malformed rows come as they are. A group's place names all its lines. Memory: the columns `roots` of the table.
    """
    groups: dict[str, list[Row]] = {}
    for row in rows:
        if row.fault:
            yield row
        elif on not in row.values:
            yield Row(row.place, {}, f"the row has no {on!r} to group it by")
        else:
            kept = {name: value for name, value in row.values.items() if name in roots}
            groups.setdefault(repr(row.values[on]), []).append(Row(row.place, kept))
    for found in groups.values():
        values: dict[str, Any] = {**found[0].values, ROWS: [row.values for row in found]}
        more = "".join(f", {row.place.rpartition(' ')[2]}" for row in found[1:])
        yield Row(found[0].place + more, values)
