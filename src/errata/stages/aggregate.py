"""Make one critique of many: a meta-critic weighs the remarks of several critics, or their locations are counted.

    meta   an engine reads all critiques of an attempt, says of each remark whether it is valid and of what kind, and
           writes one critique of the valid ones (MultiCritique, arXiv:2410.15287)
    vote   the location that most critics name; its text is the first one's that names it

The new critique has the source `meta` and names those that it sums up; the estimate `disagreement` is the share of them
that say something else.
"""

import json
from collections import Counter
from collections.abc import Mapping
from typing import Any, Literal

from msgspec.structs import replace

from errata.errors import RecipeError
from errata.records.types import Additions, Attempt, Critique, Episode, Estimate, Outcome
from errata.registry import PromptName, Role, StepName, stage
from errata.stages.base import Context, gather, new_id, privileged, quarantined, request_seed

_TOLD = ("units", "first_error", "text")
"""What a meta-critic's JSON must hold."""


@stage(version=1)
async def aggregate(
    episode: Episode,
    ctx: Context,
    *,
    method: Literal["meta", "vote"] = "meta",
    of: tuple[StepName, ...],
    role: Role = "meta",
    prompt: PromptName = "meta_critique",
    see: tuple[Literal["reference", "gold_steps"], ...] = (),
) -> Additions:
    """Sum up, for every attempt, the critiques that the steps `of` made of it; `meta` asks `role` by `prompt`.

    The prompt's JSON has `units` (`critic`, `unit` from 0, `valid`, `kind`), `first_error` (0-based, -1 for none) and
    `text`. A remark that it does not mention is taken to be invalid.
    """
    groups: dict[str, list[Critique]] = {}
    for c in episode.critiques:
        if c.stage in of and not episode.rejects(c.id) and c.verdict != "unknown":
            groups.setdefault(c.attempt, []).append(c)
    if method == "vote":
        made = [_voted(episode, ctx, target, some) for target, some in groups.items()]
        return Additions(critiques=tuple(made), estimates=tuple(_disagreement(ctx, c, groups[c.attempt]) for c in made))
    required = json.loads(ctx.prompt(prompt).schema or "{}").get("required", [])
    if missing := [name for name in _TOLD if name not in required]:
        raise RecipeError(f"aggregate: the prompt {prompt} does not ask for {missing[0]}: its schema must require it")
    tasks = {
        new_id(episode, ctx, target, 0): _meta(episode, ctx, episode.attempt(target), some, role, prompt, see)
        for target, some in groups.items()
    }
    found, drops = await gather(episode, ctx, tasks)
    lost = [
        quarantined(episode, ctx, c.id, "parse" if c.call.finish == "stop" else "truncated", c.text[:200])
        for c in found
        if c.verdict == "unknown"
    ]
    kept = [c for c in found if c.verdict != "unknown"]
    return Additions(
        critiques=tuple(found), drops=(*drops, *lost),
        estimates=tuple(_disagreement(ctx, c, groups[c.attempt]) for c in kept),
    )  # fmt: skip


async def _meta(
    episode: Episode, ctx: Context, attempt: Attempt, some: list[Critique], role: str, prompt: str, see: tuple[str, ...]
) -> Critique:
    """The meta-critic's; its findings are all units of all critics, each with its verdict."""
    template = ctx.prompt(prompt)
    answer = await ctx.ask(
        role, template.render(episode.problem, attempt, shown=privileged(episode, see) | {"critiques": some}),
        seed=request_seed(episode, ctx, attempt.id, 0), template=template.label, schema=template.schema,
    )  # fmt: skip
    told = template.values(answer.text) if answer.complete else None
    known: dict[str, Any] = {
        "id": new_id(episode, ctx, attempt.id, 0), "attempt": attempt.id, "stage": ctx.stage, "index": 0,
        "source": "meta", "of": tuple(c.id for c in some), "call": answer.call,
        "seen": _seen(some, (*see, *answer.seen)),
    }  # fmt: skip
    place = told["first_error"] if told else -1
    if told is None or place > len(attempt.steps):
        return Critique(verdict="unknown", text=answer.text, **known)
    judged = {(u["critic"], u["unit"]): u for u in told["units"]}
    findings = tuple(
        replace(f, critic=c.id, valid=_valid(unit), kind=unit["kind"] if unit else f.kind)
        for i, c in enumerate(some)
        for k, f in enumerate(c.findings)
        for unit in [judged.get((i, k))]
    )
    first = place if place >= 0 else None
    verdict: Literal["error", "no_error"] = "no_error" if first is None else "error"
    return Critique(verdict=verdict, first_error=first, text=told["text"], findings=findings, **known)


def _valid(unit: Mapping[str, Any] | None) -> Outcome:
    return "pass" if unit is not None and unit["valid"] else "fail"


def _place(c: Critique) -> int | None:
    return c.first_error if c.verdict == "error" else None


def _voted(episode: Episode, ctx: Context, target: str, some: list[Critique]) -> Critique:
    """The location that most name; of equally many, the earliest, and an error before none."""
    votes = Counter(_place(c) for c in some)
    place = min(votes, key=lambda p: (-votes[p], p is None, p or 0))
    first = next(c for c in some if _place(c) == place)
    return Critique(
        id=new_id(episode, ctx, target, 0), attempt=target, stage=ctx.stage, index=0, source="meta",
        verdict=first.verdict, first_error=first.first_error, text=first.text, findings=first.findings,
        of=tuple(c.id for c in some), seen=_seen(some, ()),
    )  # fmt: skip


def _seen(some: list[Critique], more: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(sorted({*more, *(name for c in some for name in c.seen)}))


def _disagreement(ctx: Context, made: Critique, some: list[Critique]) -> Estimate:
    other = sum(_place(c) != _place(made) for c in some)
    return Estimate(target=made.id, stage=ctx.stage, name="disagreement", value=other / len(some), n=len(some))
