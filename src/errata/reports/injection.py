"""Injected errors beside the student's own: which kinds, and where in the solution; and how far the two lie apart.

Kinds are told by one judge for both, `errata.chains`, where the problem is a chain; elsewhere positions alone are
compared. The total variation distance is half the sum of the differences of two shares: 0 for the same, 1 for disjoint.
Source: errors off the student's own distribution teach it little (EIFT, arXiv:2512.02389).
"""

from collections import Counter
from collections.abc import Mapping
from typing import Any

from errata import chains
from errata.records.types import Attempt, Episode

LOCATORS = ("gold", "label", "forks", "comparison", "judge", "teacher")
"""Whose word on the first error counts where the problem is no chain, in this order."""


def measure_injection(episode: Episode) -> Counter[str]:
    """What one episode adds: first errors of injected attempts and of samples that failed, by kind and tenth."""
    found: Counter[str] = Counter()
    for a in episode.attempts:
        whose = {"injected": "injected", "sampled": "own", "rollout": "own"}.get(a.kind)
        if whose is None or not a.complete or episode.outcome(a.id) != "fail":
            continue
        kind, step = _first_error(episode, a)
        if a.injection is not None:
            found[f"injection\t{whose}\trules\t{a.injection.kind}"] += 1
        if kind:
            found[f"injection\t{whose}\tkinds\t{kind}"] += 1
        if step is not None:
            found[f"injection\t{whose}\ttenths\t{min(9, 10 * step // max(1, len(a.steps)))}"] += 1
    return found


def _first_error(episode: Episode, attempt: Attempt) -> tuple[str, int | None]:
    """(kind, step) of the first error as far as they are known."""
    chain = chains.parse(episode.problem.text)
    if chain is not None:
        error = chains.first_error(chain, [s.text for s in attempt.steps])
        return (error.kind, error.step) if error else ("", None)
    if attempt.injection is not None:
        return "", attempt.injection.step
    said = [c for c in episode.critiques if c.attempt == attempt.id and c.verdict == "error"]
    return "", next((c.first_error for source in LOCATORS for c in said if c.source == source), None)


def injection(counts: Mapping[str, int]) -> dict[str, Any]:
    """The section `injection` of `metrics.json`; empty where nothing was injected."""
    found: dict[str, dict[str, Counter[str]]] = {}
    for key, n in counts.items():
        kind, *at = key.split("\t")
        if kind == "injection":
            found.setdefault(at[0], {}).setdefault(at[1], Counter())[at[2]] += n
    if "injected" not in found:
        return {}
    empty: Counter[str] = Counter()
    told = {
        whose: {
            **{what: dict(sorted(by.get(what, empty).items())) for what in ("rules", "kinds")},
            "tenths": [by.get("tenths", empty)[str(i)] for i in range(10)],
        }
        for whose, by in ((w, found.get(w, {})) for w in ("injected", "own"))
    }
    own = found.get("own", {})
    distances = {
        f"{what}_distance": distance(found["injected"].get(what, empty), own.get(what, empty))
        for what in ("kinds", "tenths")
    }
    return {**told, **distances}


def distance(a: Mapping[str, int], b: Mapping[str, int]) -> float | None:
    """Total variation distance of two tables of counts; None where one is empty."""
    all_a, all_b = sum(a.values()), sum(b.values())
    if not all_a or not all_b:
        return None
    return round(sum(abs(a.get(k, 0) / all_a - b.get(k, 0) / all_b) for k in {*a, *b}) / 2, 6)
