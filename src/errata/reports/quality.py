"""What kind of corpus an episode adds to: reviser, edits, difficulty, diversity, leaks. Sums over all episodes.

Counts are added part by part, in the order of the parts, and turned into figures at the end; a figure without cases is
None and never 0.
"""

from collections import Counter
from collections.abc import Mapping
from typing import Any

from rapidfuzz.distance import Levenshtein

from errata.records.types import Attempt, Episode
from errata.verifiers.leak import leaked

TENTHS = 10
UNIT = 10**9
"""Shares are summed as whole numbers of this part, so that a sum does not depend on the order of what is added."""
_MANY = 20_000
"""Characters beyond which two texts are compared by their beginnings, so that one endless answer costs no minutes."""


def measure_quality(episode: Episode) -> Counter[str]:
    """What one episode adds; keys are tab-separated coordinates, values are counts or sums."""
    found: Counter[str] = Counter()
    attempts = {a.id: a for a in episode.attempts}
    _revisers(episode, attempts, found)
    _samples(episode, found)
    for c in episode.critiques:
        if c.seen and c.text:
            own = [s.text for s in attempts[c.attempt].steps] if c.attempt in attempts else []
            found[f"leaks\t{c.stage}\tcritiques"] += 1
            found[f"leaks\t{c.stage}\tleaking"] += leaked(episode.problem, c.text, own) is not None
    return found


def _revisers(episode: Episode, attempts: Mapping[str, Attempt], found: Counter[str]) -> None:
    """Confidence and critique scores of who revises, and how much a revision changes.

    Source: per question a = P(right at first), b = P(right after right), d = P(right after wrong);
    CL = sum(a b)/sum(a), CS = sum((1-a) d)/sum(1-a) (Yang et al., arXiv:2412.19513). Edit ratio: Levenshtein distance
    over both lengths, as SCoRe plots it (arXiv:2409.12917).
    """
    by_stage: dict[str, list[tuple[Attempt, Attempt]]] = {}
    for a in episode.attempts:
        if a.kind == "revised" and a.parent is not None and a.parent in attempts:
            by_stage.setdefault(a.stage, []).append((attempts[a.parent], a))
    for stage, pairs in by_stage.items():
        known = [
            (first.id, episode.outcome(first.id) == "pass", episode.outcome(second.id) == "pass")
            for first, second in pairs
            if "unknown" not in (episode.outcome(first.id), episode.outcome(second.id))
        ]
        if known:
            firsts = {id: right for id, right, _ in known}
            at_first = sum(firsts.values()) / len(firsts)
            after = {x: [then for _, right, then in known if right is x] for x in (True, False)}
            kept, mended = (sum(then) / len(then) if then else 0.0 for then in (after[True], after[False]))
            at_last = sum(then for _, _, then in known) / len(known)
            found[f"reviser\t{stage}\tquestions"] += 1
            shares = {
                "a": at_first, "ab": at_first * kept, "not_a": 1 - at_first, "not_a_d": (1 - at_first) * mended,
                "second": at_last,
            }  # fmt: skip
            for name, value in shares.items():
                found[f"reviser\t{stage}\t{name}"] += round(value * UNIT)
        for before, then_made in pairs:
            ratio = edit_ratio(before.final_text, then_made.final_text)
            found[f"edits\t{stage}\t{min(TENTHS - 1, int(ratio * TENTHS))}"] += 1
            found[f"edits\t{stage}\tcopied"] += ratio == 0


def edit_ratio(a: str, b: str) -> float:
    """Levenshtein distance in characters over the sum of both lengths: 0 for a copy, at most 1."""
    a, b = a[:_MANY], b[:_MANY]
    return Levenshtein.distance(a, b) / (len(a) + len(b)) if a or b else 0.0


def _samples(episode: Episode, found: Counter[str]) -> None:
    """Difficulty of the problem under each stage that samples, and how many different errors it brings."""
    by_stage: dict[str, list[Attempt]] = {}
    for a in episode.attempts:
        if a.kind in ("sampled", "rollout"):
            by_stage.setdefault(a.stage, []).append(a)
    for stage, made in by_stage.items():
        outcomes = {a.id: episode.outcome(a.id) for a in made}
        known = [o for o in outcomes.values() if o != "unknown"]
        if known:
            right = known.count("pass")
            place = "none" if right == 0 else "all" if right == len(known) else str(TENTHS * right // len(known))
            found[f"difficulty\t{stage}\t{place}"] += 1
        wrong = [a for a in made if outcomes[a.id] == "fail"]
        found[f"diversity\t{stage}\tsolutions"] += len(made)
        found[f"diversity\t{stage}\tdistinct_solutions"] += len({_plain(a.final_text) for a in made})
        found[f"diversity\t{stage}\twrong"] += len(wrong)
        found[f"diversity\t{stage}\tdistinct_wrong_answers"] += len({_answer(a) for a in wrong})


def _plain(text: str) -> str:
    return " ".join(text.split())


def _answer(attempt: Attempt) -> str:
    """The words of the last step: what an attempt ends with."""
    return _plain(attempt.steps[-1].text) if attempt.steps else ""


def quality(counts: Mapping[str, int]) -> dict[str, Any]:
    """The sections of `metrics.json` from the added counts: reviser, edits, difficulty, diversity, leaks."""
    nested: dict[str, dict[str, Counter[str]]] = {
        name: {} for name in ("reviser", "edits", "difficulty", "diversity", "leaks")
    }
    for key, n in counts.items():
        kind, *at = key.split("\t")
        if kind in nested:
            nested[kind].setdefault(at[0], Counter())[at[1]] += n
    return {
        "reviser": {stage: _reviser(c) for stage, c in sorted(nested["reviser"].items())},
        "edit_ratio": {
            stage: {"tenths": [c[str(i)] for i in range(TENTHS)], "copied": share(c["copied"], _tenths(c))}
            for stage, c in sorted(nested["edits"].items())
        },
        "difficulty": {stage: _difficulty(c) for stage, c in sorted(nested["difficulty"].items())},
        "diversity": {stage: _diversity(c) for stage, c in sorted(nested["diversity"].items())},
        "leaks": {
            stage: {"critiques": c["critiques"], "leaking": c["leaking"], "share": share(c["leaking"], c["critiques"])}
            for stage, c in sorted(nested["leaks"].items())
        },
    }


def share(part: float, whole: float) -> float | None:
    """`part` of `whole`, to six digits; None of nothing."""
    return round(part / whole, 6) if whole else None


def _tenths(c: Counter[str]) -> int:
    return sum(c[str(i)] for i in range(TENTHS))


def _reviser(c: Counter[str]) -> dict[str, Any]:
    first, second = c["a"] / UNIT / c["questions"], c["second"] / UNIT / c["questions"]
    spread = 2 * first * (1 - first)
    return {
        "questions": c["questions"],
        "accuracy_first": round(first, 6),
        "accuracy_second": round(second, 6),
        "confidence_level": share(c["ab"], c["a"]),
        "critique_score": share(c["not_a_d"], c["not_a"]),
        "relative_self_correction": round((second - first**2) / spread, 6) if spread > 0 else None,
    }


def _difficulty(c: Counter[str]) -> dict[str, Any]:
    total = sum(c.values())
    return {
        "problems": total, "none_right": share(c["none"], total), "all_right": share(c["all"], total),
        "tenths_between": [c[str(i)] for i in range(TENTHS)],
    }  # fmt: skip


def _diversity(c: Counter[str]) -> dict[str, Any]:
    return {
        **{k: c[k] for k in ("solutions", "distinct_solutions", "wrong", "distinct_wrong_answers")},
        "distinct_share": share(c["distinct_solutions"], c["solutions"]),
        "distinct_wrong_share": share(c["distinct_wrong_answers"], c["wrong"]),
    }
