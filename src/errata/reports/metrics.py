"""Metrics that are counts over episodes: added up part by part, turned into `metrics.json` at the end."""

from collections import Counter
from collections.abc import Iterable, Mapping
from itertools import combinations, pairwise
from typing import Any, get_args

from errata.records.types import SORTERS, Episode
from errata.reports import critiques
from errata.reports.exported import exported
from errata.reports.injection import injection, measure_injection
from errata.reports.location import location as locations
from errata.reports.location import measure_location
from errata.reports.policy import measure_policy, on_policy
from errata.reports.quality import measure_quality, quality
from errata.reports.trajectories import measure_trajectories, trajectories
from errata.verifiers.candidates import Reflection, reflection

LAST = 63
"""First errors at or after this step are counted together."""


def measure(episodes: Iterable[Episode]) -> Counter[str]:
    """What episodes add to the counts; keys are tab-separated coordinates."""
    parts = (
        _agreements, _locations, _attempts, _reflections, measure_location, measure_injection, measure_quality,
        measure_policy, measure_trajectories, critiques.measure,
    )  # fmt: skip
    found: Counter[str] = Counter()
    for episode in episodes:
        for part in parts:
            if counted := part(episode):
                found.update(counted)
    return found


def _agreements(episode: Episode) -> Counter[str]:
    found: Counter[str] = Counter()
    by_target: dict[str, dict[str, str]] = {}
    for v in episode.verdicts:
        by_target.setdefault(v.target, {})[v.verifier] = v.outcome
    for verdicts in by_target.values():
        if "label" in verdicts:
            for verifier, outcome in verdicts.items():
                if verifier not in ("label", *SORTERS):
                    found[f"agreement\t{verifier}\tlabel\t{outcome}\t{verdicts['label']}"] += 1
    return found


def _locations(episode: Episode) -> Counter[str]:
    found: Counter[str] = Counter()
    places: dict[str, dict[str, str]] = {}
    for c in episode.critiques:
        if c.source == "control":
            continue
        said = str(c.first_error) if c.verdict == "error" else c.verdict
        if c.first_error is not None and c.verdict == "error":
            found[f"first_error_step\t{c.source}\t{min(c.first_error, LAST)}"] += 1
        places.setdefault(c.attempt, {}).setdefault(c.source, said)
    for located in places.values():
        for a, b in combinations(sorted(located), 2):
            known = "unknown" not in (located[a], located[b])
            found[f"location\t{a}\t{b}\t{('different', 'same')[located[a] == located[b]] if known else 'unknown'}"] += 1
    return found


def _attempts(episode: Episode) -> Counter[str]:
    found: Counter[str] = Counter()
    attempts = {a.id: a for a in episode.attempts}
    for a in episode.attempts:
        outcome = episode.outcome(a.id)
        found[f"outcome\t{a.stage}\t{outcome}"] += 1
        if a.kind == "revised" and a.parent:
            # What was told nothing, or wrong things, is counted apart from what a critique did.
            arm = next((f" ({t.value})" for t in a.tags if t.name == "arm" and t.value != "critique"), "")
            found[f"transition\t{a.stage}{arm}\t{episode.outcome(a.parent)}\t{outcome}"] += 1
        if a.kind == "spliced" and a.fork_step is not None and a.parent:
            # A parent that was made for its wrong step alone is shorter than the solution that mends it.
            length = max(len(attempts[x].steps) for x in (a.parent, a.other) if x in attempts)
            tenth = min(9, 10 * a.fork_step // max(1, length))
            found[f"first_error\t{a.stage}\t{tenth}"] += 1
    return found


def _reflections(episode: Episode) -> Counter[str]:
    """Traces, answers on their way, and what each reflection between two of them did (arXiv:2510.08308)."""
    found: Counter[str] = Counter()
    stages = {a.id: a.stage for a in episode.attempts}
    for v in episode.verdicts:
        if v.verifier != "candidates" or not v.checks:
            continue
        stage = stages[v.target]
        found[f"reflections\t{stage}\ttraces"] += 1
        found[f"reflections\t{stage}\tanswers"] += len(v.checks)
        for name, check in (("first_right", v.checks[0]), ("last_right", v.checks[-1])):
            found[f"reflections\t{stage}\t{name}"] += check.outcome == "pass"
        for a, b in pairwise(v.checks):
            found[f"reflections\t{stage}\t{reflection((a.detail, a.outcome), (b.detail, b.outcome))}"] += 1
    return +found


def summarise(counts: Mapping[str, int], rows: Mapping[str, Mapping[str, int]]) -> dict[str, Any]:
    """`metrics.json` from the added counts; `rows` holds transitions of exported rows by config."""
    agreement: dict[tuple[str, str], Counter[str]] = {}
    location: dict[tuple[str, str], Counter[str]] = {}
    kinds = ("outcome", "transition", "first_error", "first_error_step", "drops", "reflections")
    nested: dict[str, dict[str, Counter[str]]] = {kind: {} for kind in kinds}
    for key, n in counts.items():
        kind, *at = key.split("\t")
        if kind == "agreement":
            verifier, label, ours, theirs = at
            agreement.setdefault((verifier, label), Counter())[_cell(ours, theirs)] += n
        elif kind == "location":
            location.setdefault((at[0], at[1]), Counter())[at[2]] += n
        elif kind in nested:
            name = "_to_".join({"pass": "right", "fail": "wrong"}.get(x, x) for x in at[1:])
            nested[kind].setdefault(at[0], Counter())[name] += n
    cells = ("both_pass", "both_fail", "only_verifier_passes", "only_label_passes", "unknown")
    return {
        "agreement": [
            {"verifier": v, "label": label, **{c: found[c] for c in cells}}
            for (v, label), found in sorted(agreement.items())
        ],
        "location_agreement": [
            {"a": a, "b": b, **{c: found[c] for c in ("same", "different", "unknown")}}
            for (a, b), found in sorted(location.items())
        ],
        "location": locations(counts),
        "injection": injection(counts),
        "outcomes": _plain(nested["outcome"]),
        "revisions": {stage: _corrections(found) for stage, found in sorted(nested["transition"].items())},
        "first_error_tenths": {
            stage: [found[str(i)] for i in range(10)] for stage, found in sorted(nested["first_error"].items())
        },
        "first_error_steps": {
            source: {str(step): found[str(step)] for step in sorted(map(int, found))}
            for source, found in sorted(nested["first_error_step"].items())
        },
        "reflections": {stage: _reflected(found) for stage, found in sorted(nested["reflections"].items())},
        **quality(counts),
        "on_policy": on_policy(counts),
        "trajectories": trajectories(counts),
        **critiques.summarise(counts),
        "exported": exported(counts),
        "drops": _plain(nested["drops"]),
        "rows": {config: dict(sorted(found.items())) for config, found in sorted(rows.items())},
    }


def _cell(ours: str, theirs: str) -> str:
    if "unknown" in (ours, theirs):
        return "unknown"
    if ours == theirs:
        return "both_pass" if ours == "pass" else "both_fail"
    return "only_verifier_passes" if ours == "pass" else "only_label_passes"


def _corrections(found: Counter[str]) -> dict[str, Any]:
    """Transition counts, with the share of wrong attempts mended and of right ones broken."""
    wrong = found["wrong_to_right"] + found["wrong_to_wrong"]
    right = found["right_to_right"] + found["right_to_wrong"]
    return {
        **dict(sorted(found.items())),
        "mended": round(found["wrong_to_right"] / wrong, 6) if wrong else None,
        "broken": round(found["right_to_wrong"] / right, 6) if right else None,
    }


def _reflected(found: Counter[str]) -> dict[str, Any]:
    """The counts, with the shares of reflections that keep the answer, and that make a wrong one right."""
    kinds = [kind for kind in get_args(Reflection) if kind != "unknown"]
    known = sum(found[kind] for kind in kinds)
    kept = found["right_to_right"] + found["same_wrong"]
    counts = {name: found[name] for name in ("traces", "answers", "first_right", "last_right", *kinds, "unknown")}
    return {
        **counts,
        "confirming": round(kept / known, 6) if known else None,
        "correcting": round(found["wrong_to_right"] / known, 6) if known else None,
    }


def _plain(found: dict[str, Counter[str]]) -> dict[str, dict[str, int]]:
    return {stage: dict(sorted(c.items())) for stage, c in sorted(found.items())}
