"""Choose how to sample: of all temperatures, sample counts and reward thresholds, the one with the best balance score.

For a configuration each problem selects its distinct responses above the threshold, the best first, up to a number. Of
n selected ones n' are right, and the problem counts min(n' / enough, 1) * n' / n: enough right responses, and few wrong
ones among them. The configuration with the best mean over the problems of a probe is kept; all other rows go.
Source: B-STaR (arXiv:2412.17256).
"""

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Mapping, Sequence
from itertools import accumulate
from typing import Any, NamedTuple

from errata.corpus.base import Narrow, Selection
from errata.errors import RecipeError
from errata.registry import Count, Most, corpus

_ROUNDING = 1e-12


class _Query(NamedTuple):
    """The distinct responses of one problem under one configuration, the best first."""

    falling: tuple[float, ...]
    """Their rewards with the sign turned, so that they rise."""
    right: tuple[int, ...]
    """How many of the first 0, 1, 2, ... are right."""


class _Configuration(NamedTuple):
    """One point of the grid, and how it does on the probe."""

    temperature: str
    samples: int
    threshold: float
    balance: float


@corpus(version=1)
def select_config(
    rows: Sequence[Narrow],
    *,
    config: str = "sft",
    right: str = "outcome_reward",
    tag: str = "temperature",
    samples: tuple[Count, ...] = (),
    thresholds: tuple[float, float, float] = (-1.0, 1.0, 0.01),
    enough: Count = 8,
    most: Count = 8,
    probe: Most = 0,
) -> Selection:
    """Keep the rows of `config` that the best configuration selects; `metrics.json` tells of every other one.

    A row's temperature is its tag `tag`; of `samples` the first so many of a problem's are taken (empty: all).
    `thresholds` is (first, last, step). `probe` problems, those with the lowest ids, decide (0: all). A response is
    right if its metric `right` is above 0; rows have the metrics reward, distinct and sample_index too, as the stage
    `reward` gives them. Where configurations are equal, the lowest temperature, then the fewest samples, then the
    lowest threshold is chosen.
    """
    first, last, by = thresholds
    if by <= 0 or last < first:
        raise RecipeError(f"thresholds are {list(thresholds)}: they are the first, the last and a step above 0")
    mine = [r for r in rows if r.config == config]
    needed = {"reward", "distinct", "sample_index", right}
    dropped = {r.id: "no_reward" for r in mine if tag not in r.tags or not needed <= set(r.metrics)}
    mine = [r for r in mine if r.id not in dropped]
    if not mine:
        return Selection(dropped, {"config": config, "probe": 0, "best": None, "candidates": []})
    problems = sorted({r.episode for r in mine})[: probe or None]
    grid = [round(first + i * by, 10) for i in range(int((last - first) / by + 1e-9) + 1)]
    temperatures = sorted({r.tags[tag] for r in mine}, key=_number)
    counts = sorted(set(samples)) or [int(max(r.metrics["sample_index"] for r in mine)) + 1]
    tried: list[list[_Configuration]] = []
    for temperature in temperatures:
        for count in counts:
            queries = _queries([r for r in mine if _within(r, tag, temperature, count)], problems, right)
            tried.append(
                [_Configuration(temperature, count, t, _balance(queries, t, enough, most)) for t in grid],
            )
    best = tried[0][0]
    for one in (c for candidates in tried for c in candidates):
        if one.balance > best.balance + _ROUNDING:
            best = one
    dropped |= _rest(mine, tag, best, most)
    told = [_told(candidates) for candidates in tried]
    return Selection(dropped, {"config": config, "probe": len(problems), "best": best._asdict(), "candidates": told})


def _number(value: str) -> tuple[float, str]:
    try:
        return float(value), value
    except ValueError:
        return float("inf"), value


def _within(row: Narrow, tag: str, temperature: str, count: int) -> bool:
    return row.tags[tag] == temperature and row.metrics["sample_index"] < count


def _queries(rows: Sequence[Narrow], problems: Sequence[str], right: str) -> list[_Query]:
    """One a problem of the probe; one that has no row selects nothing."""
    by_problem: Mapping[str, list[Narrow]] = defaultdict(list)
    for row in rows:
        if row.metrics["distinct"] > 0:
            by_problem[row.episode].append(row)
    made = []
    for problem in problems:
        ranked = sorted(by_problem.get(problem, ()), key=_rank)
        count = accumulate((r.metrics[right] > 0 for r in ranked), initial=0)
        made.append(_Query(tuple(-r.metrics["reward"] for r in ranked), tuple(count)))
    return made


def _rank(row: Narrow) -> tuple[float, str]:
    return -row.metrics["reward"], row.id


def _balance(queries: Sequence[_Query], threshold: float, enough: int, most: int) -> float:
    """Mean over the problems of min(n' / enough, 1) * n' / n; 0 for one that selects nothing."""
    total = 0.0
    for query in queries:
        n = min(bisect_left(query.falling, -threshold), most)
        total += min(query.right[n] / enough, 1.0) * query.right[n] / n if n else 0.0
    return total / len(queries)


def _rest(rows: Sequence[Narrow], tag: str, best: _Configuration, most: int) -> dict[str, str]:
    """Why each row that is not selected goes."""
    dropped: dict[str, str] = {}
    by_problem: Mapping[str, list[Narrow]] = defaultdict(list)
    for row in rows:
        if not _within(row, tag, best.temperature, best.samples):
            dropped[row.id] = "other_config"
        elif not row.metrics["distinct"] > 0:
            dropped[row.id] = "duplicate"
        elif best.balance <= 0 or row.metrics["reward"] <= best.threshold:
            # A grid without one right response chooses nothing.
            dropped[row.id] = "below_threshold"
        else:
            by_problem[row.episode].append(row)
    return dropped | {r.id: "enough" for found in by_problem.values() for r in sorted(found, key=_rank)[most:]}


def _told(candidates: Sequence[_Configuration]) -> dict[str, Any]:
    """One temperature and sample count: its best threshold, and the balance score wherever a threshold changes it."""
    top = candidates[0]
    steps: list[list[float]] = []
    for one in candidates:
        top = one if one.balance > top.balance + _ROUNDING else top
        if not steps or abs(one.balance - steps[-1][1]) > _ROUNDING:
            steps.append([one.threshold, one.balance])
    return {**top._asdict(), "steps": [[t, round(b, 6)] for t, b in steps]}
