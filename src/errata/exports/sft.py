"""Rows for supervised fine-tuning: the prompt, then an attempt with the loss on its trained spans alone."""

from collections.abc import Iterator

from errata.exports.rows import accepted, conversation, leak, refused, transition
from errata.records.ids import digest
from errata.records.types import Attempt, Drop, Episode, Metric, SftRow, Span
from errata.registry import Most, StepName, export


@export(version=1)
def sft(
    episode: Episode, *, stage: str, of: tuple[StepName, ...] = ("splice",), most: Most = 0, privileged: bool = False
) -> Iterator[SftRow | Drop]:
    """A conversation per accepted attempt of the steps `of`, at most `most` per problem; `privileged` admits leaks."""
    made = 0
    for attempt in episode.attempts:
        if attempt.stage not in of:
            continue
        id = digest(row="sft", stage=stage, attempt=attempt.id)
        if not accepted(episode, attempt):
            yield refused(episode, stage, id, "not_accepted", f"{attempt.id}: {episode.outcome(attempt.id)}")
            continue
        if most and made >= most:
            yield refused(episode, stage, id, "enough", f"{most} rows a problem")
            continue
        found = None if privileged else leak(episode, stage, id, [attempt])
        if found:
            yield found
            continue
        if not any(s.train and s.text for s in attempt.steps):
            yield refused(episode, stage, id, "nothing_trained", attempt.id)
            continue
        made += 1
        yield _row(episode, attempt, id)


def _row(episode: Episode, attempt: Attempt, id: str) -> SftRow:
    turns, spans = conversation(attempt)
    offset = len(episode.problem.messages)
    before = episode.outcome(attempt.parent) if attempt.parent else "unknown"
    trained = sum(s.end - s.start for s in spans if s.train)
    total = sum(s.end - s.start for s in spans)
    lineage = tuple(x for x in (attempt.id, attempt.parent, attempt.other, attempt.critique) if x)
    return SftRow(
        id=id, episode=episode.id, split=episode.problem.split, messages=(*episode.problem.messages, *turns),
        spans=tuple(_shift(s, offset) for s in spans), style=attempt.style, lineage=lineage, seen=attempt.seen,
        transition=transition(before, episode.outcome(attempt.id)) if attempt.parent else "none",
        metrics=(Metric(name="trained_share", value=trained / total),),
    )  # fmt: skip


def _shift(span: Span, by: int) -> Span:
    return Span(
        message=span.message + by, start=span.start, end=span.end, role=span.role, train=span.train, weight=span.weight
    )
