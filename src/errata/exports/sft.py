"""Rows for supervised fine-tuning: a prompt, then an attempt with the loss on its trained spans alone."""

from collections.abc import Iterator
from typing import Literal

from errata.exports.base import ExportContext
from errata.exports.rows import NO_REVISIONS, conversation, leak, refused, rendered, shifted, trained_share, transition
from errata.records.ids import digest
from errata.records.rows import SftRow
from errata.records.types import Attempt, Drop, Episode, Outcome
from errata.registry import Most, PromptName, StepName, export


@export(version=1)
def sft(
    episode: Episode,
    ctx: ExportContext,
    *,
    of: tuple[StepName, ...] = ("splice",),
    outcome: Outcome | Literal["any"] = "pass",
    prompt: PromptName = "",
    most: Most = 0,
    privileged: bool = False,
) -> Iterator[SftRow | Drop]:
    """A conversation per accepted attempt of the steps `of`, at most `most` per problem; `privileged` admits leaks.

    A row begins with the problem's own messages, or with `prompt`, which sees the problem, what the attempt revises and
    the critique that its maker saw. What the verifier says must be `outcome`.
    """
    made = 0
    for attempt in episode.attempts:
        if attempt.stage not in of:
            continue
        id = digest(row="sft", stage=ctx.stage, attempt=attempt.id)
        said = episode.outcome(attempt.id)
        if not attempt.complete or episode.rejects(attempt.id) or outcome not in (said, "any"):
            yield refused(episode, ctx.stage, id, "not_accepted", f"{attempt.id}: {said}")
            continue
        if most and made >= most:
            yield refused(episode, ctx.stage, id, "enough", f"{most} rows a problem")
            continue
        found = None if privileged else leak(episode, ctx.stage, id, [attempt])
        if found:
            yield found
            continue
        if not any(s.train and s.text and s.turn % 2 == 0 for s in attempt.steps):
            yield refused(episode, ctx.stage, id, "nothing_trained", attempt.id)
            continue
        made += 1
        yield _row(episode, ctx, attempt, id, prompt)


def _row(episode: Episode, ctx: ExportContext, attempt: Attempt, id: str, prompt: str) -> SftRow:
    turns, spans = conversation(attempt)
    asked = rendered(episode, ctx, attempt, prompt)
    revised = attempt.parent if attempt.kind not in NO_REVISIONS else None
    before = episode.outcome(revised) if revised else "unknown"
    lineage = tuple(x for x in (attempt.id, attempt.parent, attempt.other, attempt.critique) if x)
    return SftRow(
        id=id, episode=episode.id, split=episode.problem.split, messages=(*asked, *turns),
        spans=shifted(spans, len(asked)), style=attempt.style, lineage=lineage, seen=attempt.seen, tags=attempt.tags,
        transition=transition(before, episode.outcome(attempt.id)) if revised else "none",
        metrics=(trained_share(spans),),
    )  # fmt: skip
