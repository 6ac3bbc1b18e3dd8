"""Have an engine say, in the student's place, what is wrong with a step that is known to be wrong.

The writer may be shown the right step beside the wrong one. What it writes becomes a critique of the wrong attempt with
the place of the error; what it was shown is told in `seen`, and a text that gives it away is found by the filters.
"""

from typing import Literal, NamedTuple

from msgspec.structs import replace

from errata.records.types import Additions, Attempt, Critique, Episode
from errata.registry import Count, Most, PromptName, Role, StepName, stage
from errata.stages.base import Context, Proof, chosen, gather, new_id, proven, quarantined, request_seed, sibling


class _Wrong(NamedTuple):
    attempt: Attempt
    proof: Proof
    right: Attempt | None


@stage(version=1)
async def reflect(
    episode: Episode,
    ctx: Context,
    *,
    role: Role = "teacher",
    prompt: PromptName = "reflect",
    of: StepName = "fork",
    beside: StepName = "",
    proofs: tuple[str, ...] = ("gold",),
    forks: StepName = "",
    see: tuple[Literal["right_step", "reference", "gold_steps"], ...] = ("right_step",),
    most: Most = 0,
    n: Count = 1,
    source: Literal["teacher", "student", "critic"] = "teacher",
) -> Additions:
    """Ask for n reflections on each attempt of the step `of` whose wrong step is proven (see `proven` of stages.base).

    The attempt is shown up to its wrong step. With `right_step` in `see`, `other` is shown too: the right attempt that
    it forks from, or the passing one of the step `beside` that shares most steps with it. A reply that the prompt reads
    as no error is one: the writer then says that the step is right.
    """
    wrong: dict[tuple[str, ...], _Wrong] = {}
    for attempt in chosen(episode, of=of, outcome="any"):
        proof = proven(episode, attempt, proofs, forks) if attempt.complete else None
        if proof:
            found = _Wrong(attempt, proof, _right(episode, attempt, beside) if "right_step" in see else None)
            said = tuple(s.text.strip() for s in attempt.steps[: proof.step + 1])
            # The same words after the same steps are the same mistake: one reflection does.
            wrong.setdefault(said, found)
    template = ctx.prompt(prompt)
    values = {"reference": episode.problem.answer or "", "gold_steps": list(episode.problem.solution)}

    async def one(found: _Wrong, k: int) -> Critique:
        attempt, at = found.attempt, found.proof.step
        shown = {name: values[name] for name in see if name in values} | {"other": found.right}
        answer = await ctx.ask(
            role, template.render(
                episode.problem, replace(attempt, steps=attempt.steps[: at + 1]), index=k, shown=shown
            ), seed=request_seed(episode, ctx, attempt.id, k), template=template.label, schema=template.schema,
        )  # fmt: skip
        text = answer.text.strip()
        clear = template.reading(text).found == "no_error"
        known = {*see, *attempt.seen, *found.proof.seen, *(found.right.seen if found.right else ()), *answer.seen}
        verdict = "unknown" if not (text and answer.complete) else "no_error" if clear else "error"
        return Critique(
            id=new_id(episode, ctx, attempt.id, k), attempt=attempt.id, stage=ctx.stage, index=k, source=source,
            verdict=verdict, first_error=at if verdict == "error" else None, text=text,  # type: ignore[arg-type]
            call=answer.call, seen=tuple(sorted(known)),
        )  # fmt: skip

    picked = list(wrong.values())[: most or None]
    tasks = {new_id(episode, ctx, w.attempt.id, k): one(w, k) for w in picked for k in range(n)}
    critiques, drops = await gather(episode, ctx, tasks)
    unread = tuple(
        quarantined(episode, ctx, c.id, "parse" if c.call.finish == "stop" else "truncated", c.text[:200])
        for c in critiques
        if c.verdict == "unknown"
    )
    return Additions(critiques=tuple(critiques), drops=(*drops, *unread))


def _right(episode: Episode, attempt: Attempt, beside: str) -> Attempt | None:
    """The right attempt to set beside a wrong one."""
    if beside:
        return sibling(episode, attempt, beside)
    return episode.attempt(attempt.parent) if attempt.parent else None
