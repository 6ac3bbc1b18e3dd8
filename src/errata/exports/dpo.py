"""Rows for preference training: one prompt, a reply that passes and a reply that fails."""

import random
from collections.abc import Iterator
from typing import Literal

from errata.exports.rows import accepted, leak, refused
from errata.records.ids import digest, seed
from errata.records.types import Attempt, DpoRow, Drop, Episode, Message, Metric
from errata.registry import Most, StepName, export

Rule = Literal["outcome", "revision"]


@export(version=1)
def dpo(
    episode: Episode,
    *,
    stage: str,
    of: StepName = "sample",
    rules: tuple[Rule, ...] = ("outcome",),
    revisions: tuple[StepName, ...] = (),
    most: Most = 1,
    privileged: bool = False,
) -> Iterator[DpoRow | Drop]:
    """Pairs of a passing and a failing reply: independent samples (outcome), or a revision and what it revised.

    A revision pair stands on the original prompt, without the feedback (SCL's shape); right-to-wrong revisions give
    pairs too, with the first attempt chosen. An attempt with an unknown verdict is in no pair.
    """
    for rule in rules:
        pairs = _outcomes(episode, of, stage) if rule == "outcome" else _revisions(episode, of, revisions)
        for made, (chosen, rejected) in enumerate(pairs):
            id = digest(row="dpo", stage=stage, rule=rule, chosen=chosen.id, rejected=rejected.id)
            if most and made >= most:
                yield refused(episode, stage, id, "enough", f"{most} {rule} pairs a problem")
                continue
            found = None if privileged else leak(episode, stage, id, [chosen, rejected])
            yield found or _row(episode, id, chosen, rejected, rule)


def _outcomes(episode: Episode, of: str, stage: str) -> list[tuple[Attempt, Attempt]]:
    """Each right sample with a wrong one, in an order drawn from the problem's id; texts and answers differ."""
    mine = [a for a in episode.attempts if a.stage == of and a.complete]
    right = [a for a in mine if accepted(episode, a)]
    wrong = [a for a in mine if episode.outcome(a.id) == "fail"]
    draw = random.Random(seed(problem=episode.id, stage=stage, use="pairs"))
    draw.shuffle(right)
    draw.shuffle(wrong)
    return list(zip(right, wrong, strict=False))


def _revisions(episode: Episode, of: str, revisions: tuple[StepName, ...]) -> list[tuple[Attempt, Attempt]]:
    pairs = []
    for second in episode.attempts:
        named = second.stage in revisions if revisions else second.kind == "revised"
        if not named or second.parent is None or not second.complete:
            continue
        first = episode.attempt(second.parent)
        if first.stage != of or not first.complete:
            continue
        for better, worse in ((second, first), (first, second)):
            if accepted(episode, better) and episode.outcome(worse.id) == "fail":
                pairs.append((better, worse))
    return pairs


def _row(episode: Episode, id: str, chosen: Attempt, rejected: Attempt, rule: Rule) -> DpoRow:
    a, b = chosen.final_text, rejected.final_text
    revised = rejected.parent == chosen.id
    return DpoRow(
        id=id, episode=episode.id, split=episode.problem.split, prompt=episode.problem.messages,
        chosen=(Message(role="assistant", content=a),), rejected=(Message(role="assistant", content=b),),
        transition="right_to_wrong" if revised else "wrong_to_right" if chosen.parent == rejected.id else "none",
        rule=rule, lineage=(chosen.id, rejected.id), chosen_outcome=episode.outcome(chosen.id),
        rejected_outcome=episode.outcome(rejected.id), seen=tuple(sorted({*chosen.seen, *rejected.seen})),
        metrics=(
            Metric(name="shared_prefix", value=float(_shared(a, b))),
            Metric(name="length_gap", value=float(len(a) - len(b))),
        ),
    )  # fmt: skip


def _shared(a: str, b: str) -> int:
    """Characters that both texts begin with."""
    return next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))
