"""Ask a teacher what is wrong with failed attempts."""

from typing import Literal

from errata.prompts import Prompt
from errata.records.types import Additions, Attempt, Critique, Episode, Finding, Outcome
from errata.registry import Count, Most, PromptName, Role, StepName, stage
from errata.stages.base import Context, chosen, gather, new_id, privileged, quarantined, request_seed

_TEXTS = ("quote", "kind", "severity", "text", "advice")
"""The fields of a finding that hold text."""


@stage(version=1)
async def critique(
    episode: Episode,
    ctx: Context,
    *,
    role: Role = "teacher",
    prompt: PromptName = "critique",
    of: StepName = "sample",
    outcome: Outcome | Literal["any"] = "fail",
    most: Most = 0,
    n: Count = 1,
    see: tuple[Literal["reference", "gold_steps"], ...] = (),
    source: Literal["teacher", "student", "critic"] = "teacher",
) -> Additions:
    """Have `role` say where attempts first go wrong, and why: n critiques of each, shown what `see` names.

    `source` says in whose name the critiques stand: a student's own are told from a teacher's by it. A reply as JSON
    may hold `findings`, a list of objects with the fields of a Finding; their steps count from the prompt's base.
    """
    template = ctx.prompt(prompt)
    shown = privileged(episode, see)

    async def one(attempt: Attempt, k: int) -> Critique:
        answer = await ctx.ask(
            role, template.render(episode.problem, attempt, index=k, shown=shown),
            seed=request_seed(episode, ctx, attempt.id, k), template=template.label, schema=template.schema,
        )  # fmt: skip
        found = template.reading(answer.text) if answer.complete else None
        return Critique(
            id=new_id(episode, ctx, attempt.id, k), attempt=attempt.id, stage=ctx.stage, index=k, source=source,
            verdict=found.found if found and _exists(found.step, attempt) else "unknown",  # type: ignore[arg-type]
            first_error=found.step if found and _exists(found.step, attempt) else None,
            findings=_findings(template, answer.text, attempt) if found else (), text=answer.text, call=answer.call,
            seen=tuple(sorted({*see, *answer.seen})),
        )  # fmt: skip

    attempts = chosen(episode, of=of, outcome=outcome, most=most)
    tasks = {new_id(episode, ctx, a.id, k): one(a, k) for a in attempts for k in range(n)}
    critiques, drops = await gather(episode, ctx, tasks)
    unread = tuple(
        quarantined(episode, ctx, c.id, "parse" if c.call.finish == "stop" else "truncated", c.text[:200])
        for c in critiques
        if c.verdict == "unknown"
    )
    return Additions(critiques=tuple(critiques), drops=(*drops, *unread))


def _findings(template: Prompt, text: str, attempt: Attempt) -> tuple[Finding, ...]:
    """The remarks of a reply as JSON; a step that the attempt does not have is none."""
    told = (template.values(text) or {}).get("findings", []) if template.schema else []
    made = []
    for remark in told if isinstance(told, list) else []:
        if isinstance(remark, dict):
            step = remark.get("step")
            at = step - template.reading.base if isinstance(step, int) and not isinstance(step, bool) else None
            texts = {n: v for n in _TEXTS if isinstance(v := remark.get(n), str)}
            made.append(Finding(step=at if at is not None and 0 <= at < len(attempt.steps) else None, **texts))
    return tuple(made)


def _exists(step: int | None, attempt: Attempt) -> bool:
    """Whether the attempt has that step; one past the last stands for a missing end."""
    return step is None or step <= len(attempt.steps)
