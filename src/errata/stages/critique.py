"""Ask a teacher what is wrong with failed attempts."""

from typing import Any, Literal

from errata.prompts import Prompt
from errata.records.types import Additions, Attempt, Critique, Episode, Finding, Outcome
from errata.registry import Count, Most, PromptName, Role, StepName, stage
from errata.stages.base import Context, chosen, gather, located, new_id, privileged, quarantined, request_seed

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
    see: tuple[Literal["reference", "gold_steps", "first_error"], ...] = (),
    source: Literal["teacher", "student", "critic"] = "teacher",
    notes: tuple[StepName, ...] = (),
) -> Additions:
    """Have `role` say where attempts first go wrong, and why: n critiques of each, shown what `see` names.

    `source` says in whose name the critiques stand: a student's own are told from a teacher's by it.
    `first_error` shows a hint as {step, exact}: where an injected slip stands or a label or gold steps find the first
    error (exact), or the step before which a fork of a right attempt is right. A prompt whose `read.fields` has `step`
    tells by it what the critique says of each step: correct or right, else wrong. A reply as JSON may hold `findings`,
    a list of objects with the fields of a Finding, whose steps count from the prompt's base, and `text`, its words.
    The prompt sees the notes that the steps `notes` made, by their kinds.
    """
    template = ctx.prompt(prompt)
    known = [note for note in episode.notes if note.stage in notes and not episode.rejects(note.id)]
    hidden = {*see, *(name for note in known for name in note.seen)}

    async def one(attempt: Attempt, k: int) -> Critique:
        shown = privileged(episode, tuple(name for name in see if name != "first_error"))
        shown["notes"] = {note.kind: note.text for note in known}
        if "first_error" in see:
            shown["first_error"] = hint(episode, attempt)
        answer = await ctx.ask(
            role, template.render(episode.problem, attempt, index=k, shown=shown),
            seed=request_seed(episode, ctx, attempt.id, k), template=template.label, schema=template.schema,
        )  # fmt: skip
        # A reply that breaks its schema is no answer: half of one is not told from the whole.
        whole = answer.complete and (not template.schema or template.values(answer.text) is not None)
        found = template.reading(answer.text) if whole else None
        return Critique(
            id=new_id(episode, ctx, attempt.id, k), attempt=attempt.id, stage=ctx.stage, index=k, source=source,
            verdict=found.found if found and _exists(found.step, attempt) else "unknown",  # type: ignore[arg-type]
            first_error=found.step if found and _exists(found.step, attempt) else None,
            steps=_each(template, answer.text, attempt),
            findings=_findings(template, answer.text, attempt) if found else (),
            text=_words(template, answer.text) if found else answer.text, call=answer.call,
            seen=tuple(sorted({*hidden, *answer.seen})),
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


def _words(template: Prompt, text: str) -> str:
    """What a reply says in words: all of it, or the `text` of its JSON where it has one."""
    said = (template.values(text) or {}).get("text") if template.schema else None
    return said if isinstance(said, str) and said.strip() else text


def _findings(template: Prompt, text: str, attempt: Attempt) -> tuple[Finding, ...]:
    """The remarks of a reply as JSON; a step that the attempt does not have is none."""
    told = (template.values(text) or {}).get("findings", []) if template.schema else []
    made = []
    for remark in told if isinstance(told, list) else []:
        if isinstance(remark, dict):
            step = remark.get("step")
            at = step - template.reading.base if isinstance(step, int) and not isinstance(step, bool) else None
            texts: dict[str, Any] = {n: v for n in _TEXTS if isinstance(v := remark.get(n), str)}
            made.append(Finding(step=at if at is not None and 0 <= at < len(attempt.steps) else None, **texts))
    return tuple(made)


def hint(episode: Episode, attempt: Attempt) -> dict[str, Any]:
    """Where the first error of an attempt is known to be: {step: 0-based or None, exact: whether just there}."""
    if attempt.injection:
        return {"step": attempt.injection.step, "exact": True}
    found = located(episode, attempt, ("label", "gold"))
    if found:
        return {"step": found.first_error, "exact": True}
    right_before = attempt.kind == "forked" and attempt.parent and episode.outcome(attempt.parent) == "pass"
    return {"step": attempt.fork_step if right_before else None, "exact": False}


def _each(template: Prompt, text: str, attempt: Attempt) -> tuple[Outcome, ...]:
    """What a critique says of each step, where it says something of every one."""
    said = template.each("step", text)
    if len(said) != len(attempt.steps):
        return ()
    return tuple("pass" if word.strip().lower() in ("correct", "right") else "fail" for word in said)


def _exists(step: int | None, attempt: Attempt) -> bool:
    """Whether the attempt has that step; one past the last stands for a missing end."""
    return step is None or step <= len(attempt.steps)
