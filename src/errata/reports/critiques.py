"""What a corpus's critiques are worth: whether they are right, whether they give anything away, and what they mend.

Counts over episodes, added up part by part as all metrics are. The truth about an attempt is what gold steps or a label
say of it, else its verdict; a critique is right if it says the same.
"""

from collections import Counter
from collections.abc import Mapping
from typing import Any

from errata.exports.critic import truth
from errata.records.types import WORDED, Episode
from errata.statistics import Interval, mean_interval, newcombe, wilson

ARMS = ("critique", "placebo", "wrong")


def measure(episode: Episode) -> Counter[str]:
    """What one episode adds to the counts; keys are tab-separated coordinates."""
    return _said(episode) + _loops(episode)


def _said(episode: Episode) -> Counter[str]:
    found: Counter[str] = Counter()
    attempts = {a.id: a for a in episode.attempts}
    for c in episode.critiques:
        if c.source not in WORDED or c.attempt not in attempts:
            continue
        place = f"critique\t{c.stage}\t{c.source}"
        true, at = truth(episode, attempts[c.attempt])
        found[f"{place}\tsaid\t{c.verdict}\t{true}"] += 1
        if true == "error" and at is not None:
            found[f"{place}\tlocated\t{('different', 'same')[c.first_error == at]}"] += 1
        for verifier in ("label", "scrub", "close_loop"):
            if (said := episode.verdict(c.id, verifier)) is not None:
                found[f"{place}\t{verifier}\t{said.outcome}"] += 1
    return found


def _loops(episode: Episode) -> Counter[str]:
    found: Counter[str] = Counter()
    for a in episode.attempts:
        arm = next((t.value for t in a.tags if t.name == "arm"), None)
        if arm is not None:
            found[f"loop\t{a.stage}\tarm\t{arm}\t{episode.outcome(a.id)}"] += 1
    for stage in sorted({e.stage for e in episode.estimates if e.name == "closed_loop_rate"}):
        mine: dict[str, dict[str, float]] = {}
        for e in episode.estimates:
            if e.stage == stage:
                mine.setdefault(e.target, {})[e.name] = e.value
        for arm, name in (("critique", "closed_loop_rate"), ("wrong", "wrong_critique_rate")):
            gains = [m[name] - m["placebo_rate"] for m in mine.values() if name in m and "placebo_rate" in m]
            if gains:
                # One number a problem: its revisions are no independent samples.
                found[f"loop\t{stage}\tgain\t{arm}\t{sum(gains) / len(gains):.6f}"] += 1
    return found


def summarise(counts: Mapping[str, int]) -> dict[str, Any]:
    """The sections `critiques` and `closed_loop` of `metrics.json`."""
    said: dict[tuple[str, str], Counter[str]] = {}
    loops: dict[str, Counter[str]] = {}
    for key, n in counts.items():
        kind, *at = key.split("\t")
        if kind == "critique":
            said.setdefault((at[0], at[1]), Counter())["\t".join(at[2:])] += n
        elif kind == "loop":
            loops.setdefault(at[0], Counter())["\t".join(at[1:])] += n
    return {
        "critiques": [{"stage": s, "source": c, **_accuracy(found)} for (s, c), found in sorted(said.items())],
        "closed_loop": {stage: _effect(found) for stage, found in sorted(loops.items())},
    }


def _accuracy(found: Counter[str]) -> dict[str, Any]:
    """How often critiques are right about the whole and about the place, and what labels and filters say of them."""
    cells = {(a, b): found[f"said\t{a}\t{b}"] for a in ("error", "no_error", "unknown") for b in ("error", "no_error")}
    judged = sum(cells.values())
    right = cells["error", "error"] + cells["no_error", "no_error"]
    missed = cells["no_error", "error"] + cells["unknown", "error"]
    wrong_alarms = cells["error", "no_error"]
    located = found["located\tsame"] + found["located\tdifferent"]
    total = {v: sum(n for key, n in found.items() if key.startswith(f"said\t{v}\t")) for v in _VERDICTS}
    return {
        "rows": sum(total.values()), **total,
        "no_error_share": _share(total["no_error"], sum(total.values())),
        "verdict_known": judged, "verdict_right": right, "verdict_accuracy": _share(right, judged),
        "verdict_f1": _share(2 * cells["error", "error"], 2 * cells["error", "error"] + missed + wrong_alarms),
        "first_error_known": located, "first_error_exact": _share(found["located\tsame"], located),
        "labelled_right": found["label\tpass"], "labelled_wrong": found["label\tfail"],
        "scrubbed": _sum(found, "scrub"), "leaking": found["scrub\tfail"],
        "leak_share": _share(found["scrub\tfail"], _sum(found, "scrub")),
        "tried": _sum(found, "close_loop"), "kept": found["close_loop\tpass"],
    }  # fmt: skip


_VERDICTS = ("error", "no_error", "unknown")


def _sum(found: Counter[str], kind: str) -> int:
    return sum(n for key, n in found.items() if key.startswith(f"{kind}\t"))


def _effect(found: Counter[str]) -> dict[str, Any]:
    """Pooled shares of each arm, and what a critique and a wrong critique gain over the placebo.

    `interval` takes every revision for an independent sample; `interval_by_problem` takes problems for that, and is the
    one to trust where a problem has several critiques.
    """
    shares: dict[str, tuple[int, int]] = {}
    made: dict[str, Any] = {}
    for arm in ARMS:
        passed, n = found[f"arm\t{arm}\tpass"], found[f"arm\t{arm}\tpass"] + found[f"arm\t{arm}\tfail"]
        shares[arm] = passed, n
        made[arm] = {
            "revisions": n + found[f"arm\t{arm}\tunknown"], "known": n, "passed": passed, "rate": _share(passed, n),
            "interval": _rounded(wilson(passed, n)) if n else None,
        }  # fmt: skip
    for arm, name in (("critique", "gain"), ("wrong", "wrong_gain")):
        (passed, n), (others, m) = shares[arm], shares["placebo"]
        problems = [
            float(key.rpartition("\t")[2])
            for key, count in found.items()
            if key.startswith(f"gain\t{arm}\t")
            for _ in range(count)
        ]
        by_problem = mean_interval(problems)
        made[name] = {
            "value": round(passed / n - others / m, 6) if n and m else None,
            "interval": _rounded(newcombe(passed, n, others, m)) if n and m else None,
            "problems": len(problems),
            "mean_by_problem": round(sum(problems) / len(problems), 6) if problems else None,
            "interval_by_problem": _rounded(by_problem) if by_problem else None,
        }
    return made


def _share(part: int, whole: int) -> float | None:
    return round(part / whole, 6) if whole else None


def _rounded(interval: Interval) -> list[float]:
    return [round(interval.low, 6), round(interval.high, 6)]
