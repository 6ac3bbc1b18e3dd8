"""Rows for value models: the first steps of a solution and what they are worth (ReST-MCTS*, arXiv:2406.03816).

A row is (problem, steps so far, value of the last of them). What many leaves of a tree share is one row.
"""

from collections.abc import Iterator, Mapping

from errata.exports.base import ExportContext
from errata.exports.rows import refused, rendered
from errata.records.ids import digest
from errata.records.rows import Metric, PrmRow
from errata.records.types import Attempt, Drop, Episode, Tag
from errata.registry import PromptName, StepName, export


@export(version=1)
def values(
    episode: Episode,
    ctx: ExportContext,
    *,
    of: tuple[StepName, ...] = ("tree",),
    by: StepName = "step_values",
    prompt: PromptName = "",
    tags: dict[str, str] = {},
) -> Iterator[PrmRow | Drop]:
    """A row for every distinct beginning of attempts by the steps `of` whose last step has a `value` by the step `by`.

    The last step alone has a value, and a label: right where it is worth more than the steps before it. An attempt
    without any value is refused as `no_values`.
    """
    told: set[tuple[str, ...]] = set()
    for attempt in (a for a in episode.attempts if a.stage in of):
        found = sorted(
            (e.step, e.value, e.n)
            for e in episode.estimates
            if (e.target, e.stage, e.name) == (attempt.id, by, "value") and e.step is not None
        )
        if not found:
            id = digest(row="values", stage=ctx.stage, attempt=attempt.id)
            yield refused(episode, ctx.stage, id, "no_values", attempt.id)
        before = 0.0
        for step, value, n in found:
            texts = tuple(s.text for s in attempt.steps[: step + 1])
            if texts not in told:
                told.add(texts)
                yield _row(episode, ctx, attempt, prompt, texts, value, n, value > before, tags)
            before = value


def _row(
    episode: Episode, ctx: ExportContext, attempt: Attempt, prompt: str, texts: tuple[str, ...], value: float, n: int,
    right: bool, tags: Mapping[str, str],
) -> PrmRow:  # fmt: skip
    open = (None,) * (len(texts) - 1)
    whole = len(texts) == len(attempt.steps)
    return PrmRow(
        id=digest(row="values", stage=ctx.stage, episode=episode.id, texts=texts), episode=episode.id,
        split=episode.problem.split, prompt=rendered(episode, ctx, attempt, prompt), completions=texts,
        labels=(*open, right), values=(*open, value), verdict=episode.outcome(attempt.id) if whole else "unknown",
        lineage=(attempt.id,), seen=tuple(sorted({*attempt.seen, "reference"})),
        tags=tuple(Tag(name=name, value=v) for name, v in tags.items()), metrics=(Metric(name="ends", value=float(n)),),
    )  # fmt: skip
