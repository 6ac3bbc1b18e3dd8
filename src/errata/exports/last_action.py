"""Rows that teach one action each: all that came before as context, the loss on the last turn of the agent alone.

A long episode becomes as many rows as it has turns of the agent, each with its first and its latest messages. Source:
exploratory learning of ExACT (arXiv:2410.02052).
"""

from collections.abc import Iterator
from typing import Literal

from msgspec.structs import replace

from errata.exports.base import ExportContext
from errata.exports.rows import conversation, leak, refused, rendered, trained_share
from errata.records.ids import digest
from errata.records.rows import SftRow, Span
from errata.records.types import Attempt, Drop, Episode, Message, Outcome
from errata.registry import Count, PromptName, StepName, export


@export(version=1)
def last_action(
    episode: Episode,
    ctx: ExportContext,
    *,
    of: tuple[StepName, ...] = ("linearise",),
    outcome: Outcome | Literal["any"] = "pass",
    head: Count = 4,
    tail: Count = 12,
    prompt: PromptName = "",
) -> Iterator[SftRow | Drop]:
    """A row per turn of the agent in attempts by the steps `of` that the verifier gave this `outcome`.

    Before its turn stand the first `head` and the last `tail` of all messages so far, one less where two of one side
    would meet. A turn whose words are no training text (an error that is masked) gives no row. A row that does not hold
    all messages cannot be played again, and has no task.
    """
    for attempt in (a for a in episode.attempts if a.stage in of):
        id = digest(row="last_action", stage=ctx.stage, attempt=attempt.id)
        said = episode.outcome(attempt.id)
        if not attempt.complete or episode.rejects(attempt.id) or outcome not in (said, "any"):
            yield refused(episode, ctx.stage, id, "not_accepted", f"{attempt.id}: {said}")
            continue
        if found := leak(episode, ctx.stage, id, [attempt]):
            yield found
            continue
        asked = rendered(episode, ctx, attempt, prompt)
        turns, spans = conversation(attempt)
        for turn in range(0, len(turns), 2):
            mine = tuple(s for s in spans if s.message == turn)
            if any(s.train for s in mine):
                before = (*asked, *turns[:turn])
                kept = _kept(before, head, tail)
                yield _row(episode, ctx, attempt, turn, kept, turns[turn], mine, len(kept) == len(before))


def _kept(before: tuple[Message, ...], head: int, tail: int) -> tuple[Message, ...]:
    """The first and the last of the messages; all of them where they are no more."""
    if len(before) <= head + tail:
        return before
    first, last = before[:head], before[len(before) - tail :]
    return (*first, *(last[1:] if first[-1].role == last[0].role else last))


def _row(
    episode: Episode, ctx: ExportContext, attempt: Attempt, turn: int, before: tuple[Message, ...], last: Message,
    mine: tuple[Span, ...], whole: bool,
) -> SftRow:  # fmt: skip
    shown = (
        Span(message=i, start=0, end=len(m.content), role="action", train=False)
        for i, m in enumerate(before)
        if m.role == "assistant" and m.content
    )
    spans = (*shown, *(replace(s, message=len(before)) for s in mine))
    return SftRow(
        id=digest(row="last_action", stage=ctx.stage, attempt=attempt.id, turn=turn), episode=episode.id,
        split=episode.problem.split, messages=(*before, last), spans=spans, transition="none", style=attempt.style,
        lineage=tuple(x for x in (attempt.id, attempt.other) if x), seen=attempt.seen, tags=attempt.tags,
        metrics=(trained_share(spans),), task=episode.problem.task if whole else None,
    )  # fmt: skip
