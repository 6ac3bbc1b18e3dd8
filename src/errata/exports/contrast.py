"""Rows for contrastive training: a right rationale, others that are right too, and the student's own wrong ones."""

from collections.abc import Iterator

from errata.exports.base import ExportContext
from errata.exports.rows import leak, refused
from errata.records.ids import digest
from errata.records.rows import ContrastRow, Metric
from errata.records.types import Attempt, Drop, Episode
from errata.registry import Count, StepName, export


@export(version=1)
def contrast(
    episode: Episode,
    ctx: ExportContext,
    *,
    of: tuple[StepName, ...] = ("revise",),
    against: tuple[StepName, ...] = ("sample",),
    anchors: tuple[StepName, ...] = ("sample", "revise"),
    positives: Count = 10,
    negatives: Count = 4,
    metrics: dict[str, float] = {},
    privileged: bool = False,
) -> Iterator[ContrastRow | Drop]:
    """One row a problem: anchor, accepted attempts by `of` as positives, failed ones by `against` as negatives.

    The anchor is the first accepted attempt by the first of `anchors` that has one. No text stands twice among anchor
    and positives, or among negatives. `metrics` are put on every row: a published loss setting for trainers to read.
    `privileged` admits leaks. Source: the self-reflection loss of Learn-to-Reason (arXiv:2310.13332), whose counts the
    defaults are.
    """
    right = [a for a in episode.attempts if episode.accepts(a)]
    anchor = next((a for step in anchors for a in right if a.stage == step), None)
    wrong = [a for a in episode.attempts if a.stage in against and a.complete and episode.outcome(a.id) == "fail"]
    id = digest(row="contrast", stage=ctx.stage, episode=episode.id)
    if anchor is None:
        yield refused(episode, ctx.stage, id, "no_anchor", f"no attempt by {', '.join(anchors)} is accepted")
        return
    alike = _distinct([a for a in right if a.stage in of], anchor.final_text)[:positives]
    unlike = _distinct(wrong)[:negatives]
    if not alike or not unlike:
        missing = "no_positive" if not alike else "no_negative"
        yield refused(episode, ctx.stage, id, missing, f"{len(alike)} positives, {len(unlike)} negatives")
        return
    used = [anchor, *alike, *unlike]
    found = None if privileged else leak(episode, ctx.stage, id, used)
    yield found or ContrastRow(
        id=id, episode=episode.id, split=episode.problem.split, prompt=episode.problem.messages,
        anchor=anchor.final_text, positives=tuple(a.final_text for a in alike),
        negatives=tuple(a.final_text for a in unlike), lineage=tuple(a.id for a in used),
        seen=tuple(sorted({name for a in used for name in a.seen})),
        metrics=tuple(Metric(name=name, value=value) for name, value in metrics.items()),
    )  # fmt: skip


def _distinct(attempts: list[Attempt], *taken: str) -> list[Attempt]:
    """The first attempt with each text, but for the texts that are taken."""
    first = {a.final_text.strip(): a for a in reversed(attempts)}
    return [a for text, a in reversed(first.items()) if text not in {t.strip() for t in taken}]
