"""Rows that train a judge: one reply or two, a question about them, and the answer that the verifier bears out.

What a judge learns must not be the form of the question: templates are drawn from a pool by the row's id, and so is
which of two replies comes first.
"""

import random
from collections.abc import Iterator, Mapping
from itertools import product

from errata.errors import RecipeError
from errata.exports.base import ExportContext
from errata.exports.rows import refused
from errata.records.ids import digest, seed
from errata.records.rows import JudgeRow
from errata.records.types import Attempt, Drop, Episode, Message, Tag
from errata.registry import Most, PromptName, StepName, export


@export(version=1)
def judge(
    episode: Episode,
    ctx: ExportContext,
    *,
    of: tuple[StepName, ...] = ("sample",),
    prompts: tuple[PromptName, ...] = ("judge_yes_no",),
    labels: dict[str, tuple[str, str]] = {"judge_yes_no": ("Yes", "No")},
    pairwise: bool = False,
    most: Most = 0,
) -> Iterator[JudgeRow | Drop]:
    """A row per attempt with a known verdict or, `pairwise`, per pair of a right and a wrong one, at most `most`.

    An attempt of no known verdict, or that a stage has turned away, is in no row.
    Each row takes one of `prompts`; `labels` gives for each the words for right and wrong, or for the first and the
    second reply being better, which a pairwise template sees as `attempt` and `other`.
    """
    if missing := [p for p in prompts if p not in labels]:
        raise RecipeError(f"judge: the prompt {missing[0]} has no labels: give the words for right and wrong")
    known: list[Attempt] = []
    for a in episode.attempts:
        if a.stage not in of:
            continue
        if episode.rejects(a.id):
            yield refused(episode, ctx.stage, _id(ctx, a), "not_accepted", a.id)
        elif not a.complete or episode.outcome(a.id) == "unknown":
            yield refused(episode, ctx.stage, _id(ctx, a), "no_verdict", a.id)
        else:
            known.append(a)
    right = [a for a in known if episode.outcome(a.id) == "pass"]
    wrong = [a for a in known if episode.outcome(a.id) == "fail"]
    shown: list[tuple[Attempt, Attempt | None]] = [(a, None) for a in known]
    for made, (first, second) in enumerate(product(right, wrong) if pairwise else shown):
        id = _id(ctx, first, second)
        if most and made >= most:
            yield refused(episode, ctx.stage, id, "enough", f"{most} rows a problem")
            continue
        yield _row(episode, ctx, id, first, second, prompts, labels)


def _id(ctx: ExportContext, first: Attempt, second: Attempt | None = None) -> str:
    return digest(row="judge", stage=ctx.stage, first=first.id, second=second.id if second else "")


def _row(
    episode: Episode, ctx: ExportContext, id: str, first: Attempt, second: Attempt | None, prompts: tuple[str, ...],
    labels: Mapping[str, tuple[str, str]],
) -> JudgeRow:  # fmt: skip
    draw = random.Random(seed(row=id, use="template"))
    name = draw.choice(prompts)
    yes, no = labels[name]
    if second is None:
        a, b, label = first, None, yes if episode.outcome(first.id) == "pass" else no
    elif draw.random() < 0.5:
        a, b, label = first, second, yes
    else:
        a, b, label = second, first, no
    shown = {"other": b} if b else {}
    lineage = tuple(x.id for x in (a, b) if x)
    return JudgeRow(
        id=id, episode=episode.id, split=episode.problem.split,
        prompt=ctx.prompt(name).render(episode.problem, a, shown=shown),
        completion=(Message(role="assistant", content=label),), form="pairwise" if b else "pointwise", label=label,
        lineage=lineage, seen=tuple(sorted({*a.seen, *(b.seen if b else ())})),
        tags=(Tag(name="template", value=name), Tag(name="label", value=label)),
    )  # fmt: skip
