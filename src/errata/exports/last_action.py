"""Rows that teach one action each: all that came before as context, the loss on the last turn of the agent alone.

A long episode becomes as many rows as it has turns of the agent, each with its first and its latest messages. Source:
exploratory learning of ExACT (arXiv:2410.02052).
"""

from collections.abc import Iterator
from typing import Literal

from msgspec.structs import replace

from errata.exports.base import ExportContext
from errata.exports.rows import context, conversation, leak, refused, rendered, shifted, trained_share
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
        messages, spans = (*asked, *turns), (*context(asked), *shifted(spans, len(asked)))
        for last in range(len(asked), len(messages), 2):
            if any(s.train for s in spans if s.message == last):
                yield _row(episode, ctx, attempt, messages, spans, (*_kept(messages[:last], head, tail), last))


def _kept(before: tuple[Message, ...], head: int, tail: int) -> tuple[int, ...]:
    """The places of the first and the last of the messages; all of them where they are no more."""
    places = range(len(before))
    if len(before) <= head + tail:
        return tuple(places)
    first, last = places[:head], places[len(before) - tail :]
    return (*first, *(last[1:] if before[first[-1]].role == before[last[0]].role else last))


def _row(
    episode: Episode, ctx: ExportContext, attempt: Attempt, messages: tuple[Message, ...], spans: tuple[Span, ...],
    kept: tuple[int, ...],
) -> SftRow:  # fmt: skip
    """The messages at these places; the last is trained as it is in the attempt, the others are not."""
    place = {at: i for i, at in enumerate(kept)}
    mine = tuple(
        replace(s, message=place[s.message], train=s.train and s.message == kept[-1])
        for s in spans
        if s.message in place
    )
    return SftRow(
        id=digest(row="last_action", stage=ctx.stage, attempt=attempt.id, message=kept[-1]), episode=episode.id,
        split=episode.problem.split, messages=tuple(messages[i] for i in kept), spans=mine, transition="none",
        style=attempt.style, lineage=tuple(x for x in (attempt.id, attempt.other) if x), seen=attempt.seen,
        tags=attempt.tags, metrics=(trained_share(mine),),
        task=episode.problem.task if len(kept) == kept[-1] + 1 else None,
    )  # fmt: skip
