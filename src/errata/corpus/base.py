"""What a corpus operation sees: narrow columns of all rows. It may drop rows, and never rewrites one."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Narrow:
    """One exported row, without its text."""

    config: str
    id: str
    episode: str
    split: str
    transition: str
