"""How well locators name the first error that somebody labelled: counts per source of problems and locator.

Source: ProcessBench's F1 (arXiv:2412.06559): accuracy on solutions with an error (the exact step), on those without
(to say that there is none), and the harmonic mean of both. An unknown label tells nothing; an unknown answer is a miss.
"""

from collections import Counter
from collections.abc import Mapping
from typing import Any

from errata.records.types import Episode

LABEL = "label"
"""The source of critiques that hold the labels of others."""


def measure_location(episode: Episode) -> Counter[str]:
    """What one episode adds; keys are tab-separated coordinates. Of two answers of one source the first counts."""
    found: Counter[str] = Counter()
    places: dict[str, dict[str, str]] = {}
    for c in episode.critiques:
        said = str(c.first_error) if c.verdict == "error" else c.verdict
        places.setdefault(c.attempt, {}).setdefault(c.source, said)
    for located in places.values():
        label = located.pop(LABEL, None)
        for locator, said in located.items() if label else ():
            kind = {"unknown": "unlabelled", "no_error": "clean"}.get(str(label), "error")
            hit = "" if kind == "unlabelled" else ("_miss", "_hit")[said == label]
            found[f"located\t{episode.problem.source}\t{locator}\t{kind}{hit}"] += 1
    return found


def location(counts: Mapping[str, int]) -> list[dict[str, Any]]:
    """The list `location` of `metrics.json`, one entry per source and locator; a figure without rows is None."""
    located: dict[tuple[str, str], Counter[str]] = {}
    for key, n in counts.items():
        kind, *at = key.split("\t")
        if kind == "located":
            located.setdefault((at[0], at[1]), Counter())[at[2]] += n
    return [_entry(source, locator, found) for (source, locator), found in sorted(located.items())]


def _entry(source: str, locator: str, found: Counter[str]) -> dict[str, Any]:
    errors, clean = (found[f"{kind}_hit"] + found[f"{kind}_miss"] for kind in ("error", "clean"))
    a = found["error_hit"] / errors if errors else None
    b = found["clean_hit"] / clean if clean else None
    f1 = None if a is None or b is None else 2 * a * b / (a + b) if a + b else 0.0
    return {
        "source": source, "locator": locator, "label": LABEL, "rows": errors + clean,
        "accuracy_error": _rounded(a), "accuracy_clean": _rounded(b), "f1": _rounded(f1),
        "errors": errors, "clean": clean, "unlabelled": found["unlabelled"],
    }  # fmt: skip


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 6)
