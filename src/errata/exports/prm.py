"""Rows for process reward models: the steps of an attempt, each right, wrong or not known.

Labels come from a locator (steps before the first error are right, the error is wrong) or from the share of passing
continuations after each step. Source: process supervision as in PRM800K (arXiv:2305.20050), its Monte-Carlo form as in
Math-Shepherd (arXiv:2312.08935), and GLoRe's stepwise outcome labels (arXiv:2402.10963) with `prefixes`.
"""

from collections.abc import Iterator, Sequence
from typing import Literal

from errata.exports.base import ExportContext
from errata.exports.rows import refused, rendered
from errata.records.ids import digest
from errata.records.rows import Metric, PrmRow
from errata.records.types import Attempt, Critique, CritiqueSource, Drop, Episode, Tag
from errata.registry import Most, PromptName, StepName, export
from errata.verifiers.claims import used

Labels = list[bool | None]
Values = list[float | None]


@export(version=1)
def prm(
    episode: Episode,
    ctx: ExportContext,
    *,
    of: tuple[StepName, ...] = ("sample",),
    labels: Literal["locator", "values"] = "locator",
    sources: tuple[CritiqueSource, ...] = ("gold", "label", "forks", "judge", "comparison", "teacher"),
    after: Literal["wrong", "unknown"] = "wrong",
    threshold: float = 0.0,
    propagate_left: bool = True,
    used_later: bool = False,
    prefixes: bool = False,
    prompt: PromptName = "",
    most: Most = 0,
) -> Iterator[PrmRow | Drop]:
    """A row per attempt of the steps `of`, at most `most` per problem, or with `prefixes` one for each labelled step.

    By `locator`, the first of `sources` that answered tells the first error; steps `after` it are wrong or unknown. By
    `values`, a step is right if more than 0, or at least `threshold`, of the continuations after it pass; a right step
    makes earlier ones right by `propagate_left`. `used_later` takes a right step whose result nothing uses for unknown.
    """
    made = 0
    for attempt in episode.attempts:
        if attempt.stage not in of:
            continue
        id = digest(row="prm", stage=ctx.stage, attempt=attempt.id)
        if not attempt.complete or episode.rejects(attempt.id):
            yield refused(episode, ctx.stage, id, "not_accepted", attempt.id)
            continue
        if most and made >= most:
            yield refused(episode, ctx.stage, id, "enough", f"{most} attempts a problem")
            continue
        place = _place(episode, attempt, sources)
        values = _values(episode, attempt)
        if labels == "values":
            told: Labels | str = _by_values(values, after, threshold, propagate_left)
        else:
            told = _by_place(episode, attempt, place, after)
        if isinstance(told, str):
            yield refused(episode, ctx.stage, id, told, attempt.id)
            continue
        if used_later:
            told = [None if ok and not _used(episode, attempt, i) else ok for i, ok in enumerate(told)]
        if not any(x is not None for x in told):
            yield refused(episode, ctx.stage, id, "no_labels", attempt.id)
            continue
        made += 1
        asked = rendered(episode, ctx, attempt, prompt)
        source = place if labels == "locator" else None
        for n in [i + 1 for i, ok in enumerate(told) if ok is not None] if prefixes else [len(told)]:
            yield _row(episode, attempt, asked, told[:n], values[:n], source, prefixes)


def _place(episode: Episode, attempt: Attempt, sources: Sequence[str]) -> Critique | None:
    """The first answer, by order of `sources`; an answer that is unknown is none."""
    known = [c for c in episode.critiques if c.attempt == attempt.id and c.verdict != "unknown"]
    return next((c for source in sources for c in known if c.source == source), None)


def _by_place(episode: Episode, attempt: Attempt, place: Critique | None, after: str) -> Labels | str:
    if place is None:
        return "not_located"
    count = len(attempt.steps)
    if place.verdict == "no_error":
        # All steps of a wrong attempt cannot be right: the locator has only not found the error.
        return [True] * count if episode.outcome(attempt.id) != "fail" else "error_not_found"
    first = place.first_error if place.first_error is not None else count
    rest = [False if after == "wrong" else None] * (count - first - 1)
    return [*([True] * first), *([False] if first < count else []), *rest]


def _values(episode: Episode, attempt: Attempt) -> Values:
    """Share of continuations from after each step that pass; after the last one it is what the verifier says."""
    count = len(attempt.steps)
    whole = {"pass": 1.0, "fail": 0.0}.get(episode.outcome(attempt.id))
    return [*(episode.estimate(attempt.id, "mc_value", i + 1) for i in range(count - 1)), *([whole] if count else [])]


def _by_values(values: Values, after: str, threshold: float, propagate_left: bool) -> Labels:
    labels: Labels = [None if v is None else v > 0 and v >= threshold for v in values]
    if propagate_left:
        last = max((i for i, ok in enumerate(labels) if ok), default=-1)
        labels[: last + 1] = [True] * (last + 1)
    dead = next((i for i, ok in enumerate(labels) if ok is False), len(labels))
    return [False if ok is None and i > dead and after == "wrong" else ok for i, ok in enumerate(labels)]


def _used(episode: Episode, attempt: Attempt, at: int) -> bool:
    """Whether an attempt that begins with the steps up to `at` uses the result of that step: this one, or a passing
    continuation."""
    begun = [s.text for s in attempt.steps[: at + 1]]
    saved = [a for a in episode.attempts if a.parent == attempt.id and a.kind == "forked" and episode.accepts(a)]
    for a in (attempt, *(a for a in saved if (a.fork_step or 0) > at)):
        later = [s.text for s in a.steps[at + 1 :]]
        if used(begun[-1], later, episode.problem.text):
            return True
    return False


def _row(
    episode: Episode, attempt: Attempt, asked: tuple, labels: Labels, values: Values, place: Critique | None,  # type: ignore[type-arg]
    prefixes: bool,
) -> PrmRow:  # fmt: skip
    """The whole attempt, or a prefix of which the last step alone is labelled."""
    n, whole = len(labels), len(labels) == len(attempt.steps)
    shown: Labels = [*([None] * (n - 1)), labels[-1]] if prefixes else labels
    first = next((i for i, ok in enumerate(labels) if ok is False), None)
    seen = sorted({*attempt.seen, *(place.seen if place else ("reference",))})
    tags = (Tag(name="prefix", value=str(n)), Tag(name="label", value="right" if labels[-1] else "wrong"))
    coordinates = (
        {"row": "prm", "attempt": attempt.id, "steps": n} if prefixes else {"row": "prm", "attempt": attempt.id}
    )
    return PrmRow(
        id=digest(**coordinates), episode=episode.id, split=episode.problem.split, prompt=asked,
        completions=tuple(s.text for s in attempt.steps[:n]), labels=tuple(shown), values=tuple(values),
        first_error=None if prefixes else first, verdict=episode.outcome(attempt.id) if whole else "unknown",
        lineage=(attempt.id, *((place.id,) if place else ())), seen=tuple(seen),
        tags=(*attempt.tags, *(tags if prefixes else ())),
        metrics=(Metric(name="right_steps", value=float(sum(x is True for x in labels))),),
    )  # fmt: skip
