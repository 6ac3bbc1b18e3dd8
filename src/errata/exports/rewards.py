"""Reward tables: what a reply is worth, as data. The tables are in `rewards.yaml`, each with its source.

A table is a sum of terms, each a value times what its kind measures of a segment of the reply; the rows of the export
`rl` hold the terms, and `offline_rl` adds them up over what verifiers have said.
"""

from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from msgspec import Struct

from errata.errors import RecipeError
from errata.records.rows import Reward

FILE = Path(__file__).parent / "rewards.yaml"
KINDS: Mapping[str, tuple[str, ...]] = {
    "outcome": ("pass", "fail"),
    "transition": ("right_to_right", "wrong_to_right", "right_to_wrong", "wrong_to_wrong"),
    "verdict": ("right", "wrong"),
    "format": ("unreadable",),
    "share": ("pass",),
    "repeat": ("same_answer",),
    "length": ("first_and_half",),
    "kl": ("token",),
}
"""What a term measures, and the values of `when`; `rewards.yaml` says what each means."""
TOLD = ("outcome", "transition", "verdict", "format", "kl")
"""Kinds whose part of a finished rollout's reward the verdicts on it tell: a reply without a readable answer has no
known verdict and is no rollout, and a divergence is the trainer's to add."""


class RewardTable(Struct, frozen=True, kw_only=True):
    """One method's rewards."""

    name: str
    about: str
    source: str
    evidence: str
    """How the numbers are known: R read in code, W on a page, A in an abstract, K not verified."""
    terms: tuple[Reward, ...]

    def worth(self, known: Mapping[tuple[str, str], str]) -> float:
        """The sum of the terms that hold; `known` says by (segment, kind) what is the case."""
        return sum((t.value for t in self.terms if known.get((t.segment, t.kind)) == t.when), 0.0)

    def cell(self, first: str, second: str) -> float:
        """The reward of two turns with these outcomes, pass or fail, in replies that differ in nothing else."""
        return self.worth(turns(first, second))

    @property
    def segments(self) -> frozenset[str]:
        """The segments whose own verdicts the terms ask for."""
        return frozenset(t.segment for t in self.terms if t.kind in ("outcome", "transition", "verdict"))


def turns(first: str, second: str = "") -> dict[tuple[str, str], str]:
    """What is known of a reply from the outcomes, pass or fail, of its one turn or its two."""
    last = second or first
    known = {("first", "outcome"): first, ("last", "outcome"): last}
    if second:
        words = {"pass": "right", "fail": "wrong"}
        known |= {("second", "outcome"): second, ("second", "transition"): f"{words[first]}_to_{words[second]}"}
    return known


def reward_table(
    name: str, parameters: Mapping[str, float] = {}, terms: Sequence[Mapping[str, Any]] = ()
) -> RewardTable:
    """The table called `name` with its parameters set as told, or one of `terms` of the recipe's own, called `own`.

    Raises RecipeError for a table, parameter, kind or case that there is not.
    """
    if terms:
        data: Mapping[str, Any] = {"about": "terms of the recipe's own", "source": "", "evidence": "", "terms": terms}
        name = "own"
    elif name in _tables():
        data = _tables()[name]
    else:
        raise RecipeError(f"there is no reward table {name!r}: there are {', '.join(_tables())}; or give `terms`")
    defaults = data.get("parameters", {})
    if unknown := sorted(set(parameters) - set(defaults)):
        has = ", ".join(defaults) or "none"
        raise RecipeError(f"the reward table {name} has no parameter {unknown[0]!r}: it has {has}")
    numbers = {**defaults, **parameters}
    return RewardTable(
        name=name, about=data["about"], source=data["source"], evidence=data["evidence"],
        terms=tuple(_term(name, t, numbers) for t in data["terms"]),
    )  # fmt: skip


def _term(table: str, data: Mapping[str, Any], numbers: Mapping[str, float]) -> Reward:
    fields = {"segment", "kind", "when", "value"}
    if not fields <= set(data) <= fields | {"times"} or isinstance(data["value"], str):
        raise RecipeError(f"reward table {table}: a term has segment, kind, when and value, not {dict(data)}")
    if data["when"] not in KINDS.get(data["kind"], ()):
        cases = "; ".join(f"{kind}: {', '.join(when)}" for kind, when in KINDS.items())
        raise RecipeError(
            f"reward table {table}: no term is of kind {data['kind']!r} when {data['when']!r}: there are {cases}"
        )
    times = numbers[data["times"]] if "times" in data else 1.0
    return Reward(segment=data["segment"], kind=data["kind"], when=data["when"], value=float(data["value"]) * times)


def table_names() -> tuple[str, ...]:
    """The names of all tables."""
    return tuple(_tables())


@cache
def _tables() -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = yaml.safe_load(FILE.read_text(encoding="utf-8"))
    return found
