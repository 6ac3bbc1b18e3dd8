"""What a corpus operation sees: narrow columns of all rows. It may drop rows, and never rewrites one."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

FIELDS = ("verdict", "rule", "style", "form", "label")
"""Columns that only some kinds of rows have, and that corpus operations may go by where they are text."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Narrow:
    """One exported row, without its text."""

    config: str
    id: str
    episode: str
    split: str
    transition: str
    tags: Mapping[str, str] = field(default_factory=dict)
    """The row's labels."""
    metrics: Mapping[str, float] = field(default_factory=dict)
    """The row's numbers."""
    fields: Mapping[str, str] = field(default_factory=dict)
    """What the rows of its kind say in one word: FIELDS."""


class Selection(NamedTuple):
    """What an operation drops, and figures that tell why; one that has nothing to tell gives `dropped` alone."""

    dropped: Mapping[str, str]
    """The reason by row id."""
    figures: Mapping[str, Any]
    """Plain data for `metrics.json`, under `corpus` and the operation's name."""
