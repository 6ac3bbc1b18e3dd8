"""Rows for supervised fine-tuning: a prompt, then an attempt with the loss on its trained spans alone."""

from collections.abc import Iterator
from typing import Literal

from msgspec.structs import replace

from errata.exports.base import ExportContext
from errata.exports.rows import (
    NO_REVISIONS,
    context,
    conversation,
    leak,
    leak_in_critique,
    refused,
    rendered,
    shifted,
    trained_share,
    transition,
    without_notes,
)
from errata.records.ids import digest
from errata.records.rows import Metric, SftRow
from errata.records.types import Attempt, Drop, Episode, Message, Outcome, Tag, Transition
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
    estimates: tuple[str, ...] = (),
    privileged: bool = False,
    tags: dict[str, str] = {},
    explained: StepName = "",
    distinct: bool = False,
    pairs: StepName = "",
) -> Iterator[SftRow | Drop]:
    """A conversation per accepted attempt of the steps `of`, at most `most` per problem; `privileged` admits leaks.

    A row begins with the problem's own messages, or with `prompt`, which sees the problem, what the attempt revises and
    the critique that its maker saw. What the verifier says must be `outcome`. With `pairs`, a step that pairs attempts,
    a row is a pair whose better one is by the steps `of`, and shows the worse one as what the better one revises.
    `tags` label every row; `explained` names a step whose critiques of the attempt lend it the kinds of their findings,
    as tags `error_kind`. `distinct` takes the same words after the same prompt once. `estimates` names numbers of the
    attempt that the row's metrics are to hold, where it has them.
    """
    made = 0
    taken: set[tuple[tuple[Message, ...], str]] = set()
    for attempt, before in _candidates(episode, of, pairs):
        other = {"before": before.id} if before else {}
        id = digest(row="sft", stage=ctx.stage, attempt=attempt.id, **other)
        said = episode.outcome(attempt.id)
        if not attempt.complete or episode.rejects(attempt.id) or outcome not in (said, "any"):
            yield refused(episode, ctx.stage, id, "not_accepted", f"{attempt.id}: {said}")
            continue
        if most and made >= most:
            yield refused(episode, ctx.stage, id, "enough", f"{most} rows a problem")
            continue
        found = None if privileged else leak(episode, ctx.stage, id, [attempt])
        if prompt and not (found or privileged):
            found = leak_in_critique(episode, ctx.stage, id, attempt)
        found = found or without_notes(episode, ctx, id, attempt, prompt, before)
        if found:
            yield found
            continue
        if not any(s.train and s.text and s.turn % 2 == 0 for s in attempt.steps):
            yield refused(episode, ctx.stage, id, "nothing_trained", attempt.id)
            continue
        asked = rendered(episode, ctx, attempt, prompt, before)
        if distinct and (asked, attempt.text.strip()) in taken:
            yield refused(episode, ctx.stage, id, "same_text", attempt.id)
            continue
        taken.add((asked, attempt.text.strip()))
        made += 1
        labels = (*(Tag(name=name, value=value) for name, value in tags.items()), *_kinds(episode, attempt, explained))
        row = _row(episode, attempt, id, asked, before)
        numbers = [(name, episode.estimate(attempt.id, name)) for name in estimates]
        metrics = (*row.metrics, *(Metric(name=name, value=v) for name, v in numbers if v is not None))
        yield replace(row, tags=(*row.tags, *labels), metrics=metrics)


def _candidates(episode: Episode, of: tuple[str, ...], pairs: str) -> Iterator[tuple[Attempt, Attempt | None]]:
    """Attempts by these steps; or the better ones of pairs, each with the worse one."""
    if not pairs:
        yield from ((a, None) for a in episode.attempts if a.stage in of)
    for pair in (p for p in episode.pairs if pairs and p.stage == pairs):
        chosen = episode.attempt(pair.chosen)
        if chosen.stage in of:
            yield chosen, episode.attempt(pair.rejected)


def _kinds(episode: Episode, attempt: Attempt, step: str) -> tuple[Tag, ...]:
    """The kinds of error that critiques by `step` find in the attempt, and the critiques that say so."""
    mine = [c for c in episode.critiques if step and (c.attempt, c.stage) == (attempt.id, step) and c.findings]
    kinds = dict.fromkeys(f.kind for c in mine for f in c.findings if f.kind)
    return (
        *(Tag(name="error_kind", value=kind) for kind in kinds),
        *(Tag(name="explained_by", value=c.id) for c in mine),
    )


def _row(episode: Episode, attempt: Attempt, id: str, asked: tuple[Message, ...], before: Attempt | None) -> SftRow:
    turns, made = conversation(attempt)
    spans = (*context(asked), *shifted(made, len(asked)))
    parent = before.id if before else attempt.parent
    lineage = tuple(x for x in (attempt.id, parent, attempt.other, attempt.critique) if x)
    return SftRow(
        id=id, episode=episode.id, split=episode.problem.split, messages=(*asked, *turns),
        spans=spans, style=attempt.style, lineage=lineage, tags=attempt.tags,
        seen=tuple(sorted({*attempt.seen, *(before.seen if before else ())})),
        transition=transition(episode.outcome(before.id), episode.outcome(attempt.id))
        if before
        else _transition(episode, attempt),
        metrics=(trained_share(spans), *_reward(episode, attempt)), task=episode.problem.task,
    )  # fmt: skip


def _reward(episode: Episode, attempt: Attempt) -> tuple[Metric, ...]:
    """What the world gave a trajectory: a replay of the row must come to the same."""
    if episode.problem.task is None:
        return ()
    said = (v.score for v in episode.verdicts if (v.target, v.verifier) == (attempt.id, "world"))
    return tuple(Metric(name="reward", value=score) for score in said if score is not None)[:1]


def _transition(episode: Episode, attempt: Attempt) -> Transition:
    """From what the attempt revises to the attempt; a right solution with wrong steps woven in goes wrong to right."""
    if attempt.kind in NO_REVISIONS:
        return "none"
    before: Outcome = episode.outcome(attempt.parent) if attempt.parent else "unknown"
    if attempt.style in ("retry", "reflection") and attempt.fork_step is not None:
        before = "fail"
    return transition(before, episode.outcome(attempt.id))
