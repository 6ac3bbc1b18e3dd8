"""On-policy-ness: how likely the student finds wrong steps and training targets, against what it samples itself.

A corpus whose errors or corrections are foreign to the student teaches it little about its own (arXiv:2512.02389 saw
rule-made errors fail). Made from the Estimates `logprob` of the stage score, wherever there are any.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from errata.records.types import Attempt, CritiqueSource, Episode, Estimate
from errata.reports.quality import UNIT
from errata.stages.base import located

SPANS = ("all", "targets", "wrong")
_LOCATORS: tuple[CritiqueSource, ...] = (
    "gold", "label", "forks", "arithmetic", "comparison", "meta", "judge", "teacher", "critic", "student",
)  # fmt: skip
"""Who is believed first of where an attempt is wrong."""


def measure_policy(episode: Episode) -> Counter[str]:
    """What one episode adds: by role, the attempt's stage and span, -log p in billionths and tokens."""
    found: Counter[str] = Counter()
    scores = [e for e in episode.estimates if e.name == "logprob"]
    if not scores:
        return found
    attempts = {a.id: a for a in episode.attempts}
    spans = {id: _spans(episode, attempts[id]) for id in {e.target for e in scores} if id in attempts}
    for e in scores:
        if e.target in spans:
            for at in _places(e, attempts[e.target], spans[e.target]):
                found[f"on_policy\t{e.engine}\t{at}\tnats"] += round(-e.value * e.n * UNIT)
                found[f"on_policy\t{e.engine}\t{at}\ttokens"] += e.n
    return found


def _places(e: Estimate, attempt: Attempt, spans: Mapping[str, frozenset[int]]) -> Iterator[str]:
    """Where an estimate counts: the whole of an attempt, or its steps one by one."""
    if e.step is None:
        yield f"{attempt.stage}\tall"
        if attempt.kind == "sampled" and not attempt.seen and attempt.call and attempt.call.role == e.engine:
            yield "\town"
    else:
        yield from (f"{attempt.stage}\t{name}" for name, steps in spans.items() if e.step in steps)


def _spans(episode: Episode, attempt: Attempt) -> dict[str, frozenset[int]]:
    """`wrong`: the steps that are known to be; `targets`: trained steps that are not, of attempts that do not fail."""
    wrong = {i for i, s in enumerate(attempt.steps) if s.source == "injector"}
    if attempt.injection:
        wrong.add(attempt.injection.step)
    failed = episode.outcome(attempt.id) == "fail"
    if not wrong and attempt.kind == "spliced" and attempt.fork_step is not None:
        wrong.add(attempt.fork_step)
    if not wrong and (failed or attempt.kind == "spliced"):
        # The first turn of a splice is its parent, step by step.
        first = next((a for a in episode.attempts if a.id == attempt.parent), attempt) if not failed else attempt
        place = located(episode, first, _LOCATORS)
        wrong |= {place.first_error} if place is not None and place.first_error is not None else set()
    trained = {i for i, s in enumerate(attempt.steps) if s.train and s.weight > 0 and s.turn % 2 == 0}
    return {"wrong": frozenset(wrong), "targets": frozenset() if failed else frozenset(trained - wrong)}


def on_policy(counts: Mapping[str, int]) -> dict[str, Any]:
    """The section of `metrics.json`, by role: mean log-probability per token of its own samples, and of each stage's
    attempts, their targets and their wrong steps, with the gap to its own samples (below 0: less likely)."""
    nested: dict[str, dict[str, dict[str, Counter[str]]]] = {}
    for key, n in counts.items():
        kind, *at = key.split("\t")
        if kind == "on_policy":
            role, stage, span, what = at
            nested.setdefault(role, {}).setdefault(stage, {}).setdefault(span, Counter())[what] += n
    return {role: _role(stages) for role, stages in sorted(nested.items())}


def _role(stages: Mapping[str, Mapping[str, Counter[str]]]) -> dict[str, Any]:
    own = _mean(stages[""]["own"]) if "" in stages else None
    made: dict[str, Any] = {
        "own_samples": {"tokens": stages[""]["own"]["tokens"], "mean": own} if own is not None else None,
        "stages": {},
    }
    for stage, spans in sorted(stages.items()):
        if stage:
            made["stages"][stage] = {
                name: {
                    "tokens": spans[name]["tokens"],
                    "mean": (mean := _mean(spans[name])),
                    "gap": round(mean - own, 6) if own is not None else None,
                }
                for name in SPANS
                if name in spans
            }
    return made


def _mean(found: Counter[str]) -> float:
    """A mean log-probability per token; there are tokens wherever there is a sum."""
    return round(-found["nats"] / UNIT / found["tokens"], 6) + 0.0
