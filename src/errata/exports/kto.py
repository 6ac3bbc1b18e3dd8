"""Single replies that are desirable or not, by their verdict (Kahneman-Tversky optimisation, arXiv:2402.01306)."""

from collections import Counter
from collections.abc import Iterator
from typing import Literal

from errata.exports.base import ExportContext
from errata.exports.rows import conversation, leak, leak_in_critique, refused, rendered, transition
from errata.records.ids import digest
from errata.records.rows import KtoRow
from errata.records.types import Attempt, Drop, Episode
from errata.registry import PromptName, StepName, export


@export(version=1)
def kto(
    episode: Episode,
    ctx: ExportContext,
    *,
    of: tuple[StepName, ...] = ("sample",),
    prompt: PromptName = "",
    weights: Literal["one", "balanced"] = "one",
    privileged: bool = False,
) -> Iterator[KtoRow | Drop]:
    """A row per whole attempt of the steps `of` with a known verdict: desirable if it passes.

    `privileged` admits leaks. The reply is the last turn. Weights are 1, or `balanced` so that a problem's desirable
    and undesirable replies weigh the same, and 1 in the mean; where a problem has one sort alone they stay 1. A reply
    with masked text is refused, as these rows have no masks.
    """
    fit: list[tuple[str, Attempt]] = []
    for attempt in episode.attempts:
        if attempt.stage not in of:
            continue
        id = digest(row="kto", stage=ctx.stage, attempt=attempt.id)
        found = _unfit(episode, ctx, attempt, id, prompt, privileged)
        if found:
            yield found
        else:
            fit.append((id, attempt))
    counts = Counter(episode.outcome(a.id) for _, a in fit)
    for id, attempt in fit:
        outcome = episode.outcome(attempt.id)
        said, _ = conversation(attempt)
        even = weights == "balanced" and len(counts) > 1
        yield KtoRow(
            id=id, episode=episode.id, split=episode.problem.split,
            prompt=(*rendered(episode, ctx, attempt, prompt), *said[:-1]), completion=said[-1:],
            label=outcome == "pass", weight=len(fit) / (2 * counts[outcome]) if even else 1.0,
            transition=transition(episode.outcome(attempt.parent) if attempt.parent else "unknown", outcome),
            lineage=tuple(x for x in (attempt.id, attempt.parent, attempt.other, attempt.critique) if x),
            seen=attempt.seen, tags=attempt.tags,
        )  # fmt: skip


def _unfit(
    episode: Episode, ctx: ExportContext, attempt: Attempt, id: str, prompt: str, privileged: bool
) -> Drop | None:
    if not attempt.complete or episode.outcome(attempt.id) == "unknown":
        return refused(episode, ctx.stage, id, "no_verdict", attempt.id)
    if episode.rejects(attempt.id):
        return refused(episode, ctx.stage, id, "not_accepted", attempt.id)
    last = max(s.turn for s in attempt.steps)
    if any(s.text and not s.train for s in attempt.steps if s.turn == last):
        return refused(episode, ctx.stage, id, "masked_text", attempt.id)
    if privileged:
        return None
    told = leak_in_critique(episode, ctx.stage, id, attempt) if prompt else None
    return leak(episode, ctx.stage, id, [attempt]) or told
