"""A part: its episodes run, exported and counted. What it gives is a function of the part's items alone."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from errata.errors import ErrataError
from errata.exports.base import ExportContext
from errata.records.ids import digest
from errata.records.types import Drop, Episode
from errata.reports.exported import measure_rows
from errata.reports.metrics import measure
from errata.runners.episode import Ended, lost
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
        """Count one thing that came in and what became of it: out, filtered or quarantined."""
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
            drops.append(item)
            if item.target == item.episode:
                funnel["source"].count(item.kind, item.code)
            else:
                # An attempt of an episode that goes on without it.
                funnel["source"].made["dropped"] += 1
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
    rows = {name: _export(plan, name, episodes, funnel, drops) for name in plan.exports}
    for name, made in rows.items():
        metrics.update(measure_rows(name, made))
    # Over every episode, so that a filter flatters no figure.
    metrics.update(measure(e.whole for e in ended))
    counts = {"funnel": [c.entry(name) for name, c in funnel.items()], "metrics": dict(sorted(metrics.items()))}
    return Finished(episodes, drops, rows, counts)


def _export(
    plan: Plan, name: str, episodes: Sequence[Episode], funnel: dict[str, Count], drops: list[Drop]
) -> list[Any]:
    """The rows of one config; what it refuses is added to `drops`, and both to its line of the funnel."""
    component, options = plan.exports[name]
    count = funnel[name] = Count(unit="rows")
    context = ExportContext(name, plan.prompt)
    rows = []
    for episode in episodes:
        try:
            made = list(component.make(episode, context, **options))
        except ErrataError:
            raise
        except Exception as error:  # a fault in an export costs the rows of its episode, with the reason
            row_id = digest(export=name, episode=episode.id)
            made = [lost(episode, name, f"error_{type(error).__name__}", str(error), row_id)]
        for row in made:
            if isinstance(row, Drop):
                count.count(row.kind, row.code)
                drops.append(row)
            else:
                count.count("out")
                rows.append(row)
    return rows


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
