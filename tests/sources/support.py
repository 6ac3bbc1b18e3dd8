"""Shared by the tests of sources."""

from collections.abc import Iterable
from pathlib import Path

from errata.records.types import Drop, Episode

RECORDED = Path(__file__).resolve().parents[2].parent / "shared" / "recorded"


def episodes(items: Iterable[Episode | Drop]) -> list[Episode]:
    return [item for item in items if isinstance(item, Episode)]


def drops(items: Iterable[Episode | Drop]) -> list[Drop]:
    return [item for item in items if isinstance(item, Drop)]
