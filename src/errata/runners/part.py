"""A part: its episodes run, exported and counted. What it gives is a function of the part's items alone."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from errata.records.types import Drop, Episode
from errata.reports.metrics import measure
from errata.runners.episode import Ended
from errata.runners.plan import Plan


@dataclass
class Count:
    """One stage's line of the funnel: in = out + filtered + quarantined."""

    unit: str = "episodes"
    entered: int = 0
    out: int = 0
    filtered: int = 0
    quarantined: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    made: Counter[str] = field(default_factory=Counter)

    def count(self, fate: str, code: str = "") -> None:
        self.entered += 1
        setattr(self, fate, getattr(self, fate) + 1)
        if fate != "out":
            self.reasons[code] += 1

    def entry(self, stage: str) -> dict[str, Any]:
        """The line as the manifest holds it."""
        return {
            "stage": stage, "unit": self.unit, "in": self.entered, "out": self.out, "filtered": self.filtered,
            "quarantined": self.quarantined, "reasons": dict(sorted(self.reasons.items())),
            "made": dict(sorted(self.made.items())),
        }  # fmt: skip


@dataclass(frozen=True)
class Finished:
    """A part's content, ready to be committed."""

    episodes: list[Episode]
    drops: list[Drop]
    rows: dict[str, list[Any]]
    counts: dict[str, Any]


def finish_part(plan: Plan, items: Sequence[Episode | Drop], ended: Sequence[Ended]) -> Finished:
    """Export the episodes that came through, and count what became of everything."""
    funnel = {"source": Count(), **{name: Count() for name in plan.steps}}
    drops: list[Drop] = []
    for item in items:
        if isinstance(item, Drop):
            funnel["source"].count(item.kind, item.code)
            drops.append(item)
        else:
            funnel["source"].count("out")
    metrics: Counter[str] = Counter()
    for e in ended:
        drops += e.drops
        for passage in e.passages:
            funnel[passage.stage].count(passage.fate, passage.code)
            funnel[passage.stage].made.update(passage.made)
    for d in drops:
        metrics[f"drops\t{d.stage}\t{d.code}"] += 1
    episodes = [e.episode for e in ended if e.episode is not None]
    rows: dict[str, list[Any]] = {}
    for name, (component, options) in plan.exports.items():
        funnel[name] = Count(unit="rows")
        rows[name] = []
        for episode in episodes:
            for row in component.make(episode, stage=name, **options):
                if isinstance(row, Drop):
                    funnel[name].count(row.kind, row.code)
                    drops.append(row)
                else:
                    funnel[name].count("out")
                    rows[name].append(row)
    for episode in episodes:
        metrics.update(measure(episode))
    counts = {"funnel": [c.entry(name) for name, c in funnel.items()], "metrics": dict(sorted(metrics.items()))}
    return Finished(episodes, drops, rows, counts)


def add_funnels(counts: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The funnel of all parts."""
    total: dict[str, dict[str, Any]] = {}
    for count in counts:
        for entry in count["funnel"]:
            if entry["stage"] not in total:
                total[entry["stage"]] = {**entry, "reasons": dict(entry["reasons"]), "made": dict(entry["made"])}
                continue
            mine = total[entry["stage"]]
            for key in ("in", "out", "filtered", "quarantined"):
                mine[key] += entry[key]
            for key in ("reasons", "made"):
                mine[key] = dict(sorted((Counter(mine[key]) + Counter(entry[key])).items()))
    return list(total.values())


def add_metrics(counts: Sequence[dict[str, Any]]) -> Counter[str]:
    """The counted metrics of all parts."""
    total: Counter[str] = Counter()
    for count in counts:
        total.update(count["metrics"])
    return total
