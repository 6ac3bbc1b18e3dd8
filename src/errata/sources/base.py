"""What a source yields: episodes, and a drop with its place and reason for every row that gives none."""

import difflib
from collections.abc import Iterable, Iterator
from typing import Any, Literal

from errata.records.ids import digest
from errata.records.types import Drop, Episode

Item = Episode | Drop


def row_id(place: str) -> str:
    """The id of a row that became no episode, from the file's name and the line, e.g. `problems.jsonl line 17`."""
    return digest(row=place)


def refused(place: str, code: str, why: str, kind: Literal["filtered", "quarantined"] = "quarantined") -> Drop:
    """The drop of a whole row."""
    row = row_id(place)
    return Drop(episode=row, stage="source", code=code, kind=kind, target=row, detail=f"{place}: {why}")


def distinct(rows: Iterable[tuple[Item, ...]]) -> Iterator[Item]:
    """The items of each row, or one drop `duplicate_problem` where the row's problem was seen before.

    A row's episode comes first, then the drops of its parts. Memory: one digest of 16 bytes a problem.
    """
    seen: set[bytes] = set()
    for items in rows:
        first = items[0]
        if isinstance(first, Episode):
            key = bytes.fromhex(first.id)
            if key in seen:
                why = f"problem {first.id} stands in an earlier row; to keep both, map `id` to a column that differs"
                yield refused(first.problem.origin, "duplicate_problem", why, kind="filtered")
                continue
            seen.add(key)
        yield from items


def near(name: str, known: Iterable[str]) -> str:
    """Up to eight of the names there are, those most like `name` first, as text for an error."""
    names = sorted(known)
    like = difflib.get_close_matches(name, names, n=5, cutoff=0.5)
    shown = [*like, *(n for n in names if n not in like)]
    more = f" and {len(shown) - 8} more" if len(shown) > 8 else ""
    return (", ".join(shown[:8]) + more) if shown else "nothing"


def is_whole(value: Any) -> bool:
    """Whether `value` is an integer; True and False are none."""
    return isinstance(value, int) and not isinstance(value, bool)


def pair(value: Any) -> tuple[int, int] | None:
    """`value` as (lowest, highest), or None where it is no such pair of integers from 0 up."""
    if not isinstance(value, list | tuple) or len(value) != 2 or not all(is_whole(x) for x in value):
        return None
    low, high = value
    return (low, high) if 0 <= low <= high else None
