"""Make errors on purpose in right attempts: by rule or by a sneaky engine, marked as such, and proven wrong.

Injected errors do not teach a model to correct its own (arXiv:2512.02389); they are one source among several, and a
control. The student continues from the wrong step itself, so that what follows the slip is its own. The proof is the
verifier's verdict on that continuation or, as for SPC's sneaky steps (arXiv:2504.19162), N completions from the right
step and N from the wrong one: success high before, low after.
"""

from typing import Any, Literal, NamedTuple

from msgspec.structs import replace

from errata.records.segment import Rule
from errata.records.types import (
    Additions,
    Attempt,
    Call,
    Drop,
    Episode,
    Estimate,
    Injection,
    Note,
    Step,
    StepSource,
    Tag,
    Verdict,
)
from errata.registry import Count, PromptName, Role, StepName, stage
from errata.stages.base import Context, ask_attempt, chosen, filtered, gather, new_id, request_seed, rng, verdict_of
from errata.stages.forks import Forks
from errata.stages.slips import Kind, Slip, slip

_LONGEST_KIND = 60


class Proof(NamedTuple):
    """How an injected step is proven wrong: who continues, and how; and which of its attempt's slips it is."""

    by: Literal["verifier", "forks"]
    n: int
    hi: float
    lo: float
    role: str
    prompt: str
    options: dict[str, Any]
    steps: Rule
    k: int = 0


class Made(NamedTuple):
    """What became of one attempt."""

    attempt: Attempt | None
    verdicts: tuple[Verdict, ...] = ()
    estimates: tuple[Estimate, ...] = ()
    notes: tuple[Note, ...] = ()
    drops: tuple[Drop, ...] = ()


@stage(version=2)
async def inject(
    episode: Episode,
    ctx: Context,
    *,
    role: Role = "student",
    of: StepName = "sample",
    kinds: tuple[Kind, ...] = ("result", "operand", "operator"),
    maker: Role = "",
    sneaky: PromptName = "sneaky",
    n: Count = 1,
    each: Count = 1,
    proof: Literal["verifier", "forks"] = "verifier",
    completions: Count = 8,
    hi: float = 0.75,
    lo: float = 0.5,
    prompt: PromptName = "solve",
    options: dict[str, Any] = {},
    steps: Rule = "lines",
) -> Additions:
    """Change one step of n passing attempts by a rule, or have `maker` change one by the prompt `sneaky`.

    `role` goes on from there, and what is not proven wrong is dropped: by the `verifier`, if it does not fail then; by
    `forks`, too, if fewer than `hi` of the `completions` of the original step succeed or more than `lo` of those of the
    wrong step (estimates `success_original` and `success_injected`). `options` are the verifier's.

    With `each`, so many slips are made of every attempt, each in a copy of its own; the same slip is made once.
    """
    how = Proof(proof, completions, hi, lo, role, prompt, options, steps)
    taken: set[tuple[str, Slip]] = set()

    async def one(parent: Attempt, k: int) -> Made:
        note = None
        if maker:
            asked = await _sneaky(episode, ctx, parent, maker, sneaky, k)
            if isinstance(asked, Drop):
                return Made(None, drops=(asked,))
            found, note = asked
        else:
            drawn = slip(rng(episode, ctx, _branch(parent, k)), parent, kinds, episode.problem)
            if drawn is None:
                id = new_id(episode, ctx, parent.id, k)
                return Made(None, drops=(filtered(episode, ctx, id, "no_room_for_a_slip"),))
            if (parent.id, drawn) in taken:
                return Made(None)
            taken.add((parent.id, drawn))
            found = drawn
        return await _proven(episode, ctx, parent, found, note, how._replace(k=k))

    parents = chosen(episode, of=of, outcome="pass", most=n)
    tasks = {new_id(episode, ctx, a.id, k): one(a, k) for a in parents for k in range(each)}
    made, failed = await gather(episode, ctx, tasks)
    return Additions(
        attempts=tuple(m.attempt for m in made if m.attempt), verdicts=tuple(v for m in made for v in m.verdicts),
        estimates=tuple(e for m in made for e in m.estimates), notes=tuple(x for m in made for x in m.notes),
        drops=(*(d for m in made for d in m.drops), *failed),
    )  # fmt: skip


def _branch(parent: Attempt, k: int) -> str:
    """Where the randomness of a slip is drawn: more slips of an attempt change none of the others."""
    return f"{parent.id}:{k}" if k else parent.id


async def _sneaky(
    episode: Episode, ctx: Context, parent: Attempt, role: str, prompt: str, k: int
) -> tuple[Slip, Note] | Drop:
    """A wrong step by an engine that sees the problem and the attempt up to the right step, nothing privileged."""
    id, template = new_id(episode, ctx, parent.id, k), ctx.prompt(prompt)
    if len(parent.steps) < 2:
        return filtered(episode, ctx, id, "no_room_for_a_slip")
    at = rng(episode, ctx, _branch(parent, k)).randrange(len(parent.steps) - 1)
    right = parent.steps[at].text
    answer = await ctx.ask(
        role, template.render(episode.problem, replace(parent, steps=parent.steps[: at + 1])),
        seed=request_seed(episode, ctx, f"{parent.id}:sneaky", k), template=template.label, schema=template.schema,
    )  # fmt: skip
    told = template.values(answer.text) if answer.complete else None
    if told is None or not isinstance(told.get("step"), str) or not told["step"].strip():
        return filtered(episode, ctx, id, "parse", answer.text[:200])
    wrong = " ".join(told["step"].split()) + right[len(right.rstrip()) :]
    if wrong.split() == right.split():
        return filtered(episode, ctx, id, "unchanged", "the sneaky step is the right one")
    kind = " ".join(str(told.get("error_type", "")).split())[:_LONGEST_KIND] or "sneaky"
    note = Note(
        id=new_id(episode, ctx, f"{parent.id}:sneaky", k), about=id, stage=ctx.stage, index=k, kind="sneaky",
        text=answer.text, call=answer.call, seen=answer.seen,
    )  # fmt: skip
    return Slip(at, kind, wrong), note


async def _proven(episode: Episode, ctx: Context, parent: Attempt, found: Slip, note: Note | None, how: Proof) -> Made:
    """The attempt with its wrong step and what follows it, if that is proven wrong."""
    id = new_id(episode, ctx, parent.id, how.k)
    before, after = Estimate(target=id, stage=ctx.stage, name="success_original", value=1.0, n=0), None
    if how.by == "forks":
        before = await _success(episode, ctx, parent, found.step + 1, how, id, "success_original")
        if before.value < how.hi:
            return _refused(episode, ctx, id, "original_fails", f"{before.value:.2f} of {before.n} succeed before")
    attempt = await _continued(episode, ctx, parent, found, note, how)
    verdict = await verdict_of(episode, ctx, attempt, options=how.options)
    if verdict.outcome != "fail":
        return _refused(episode, ctx, id, "not_proven_wrong", f"the verifier says {verdict.outcome}")
    if how.by == "forks":
        if found.ends:
            after = replace(before, name="success_injected", value=0.0, n=1)
        else:
            after = await _success(episode, ctx, attempt, found.step + 1 + len(found.more), how, id, "success_injected")
        if not after.n or after.value > how.lo:
            return _refused(episode, ctx, id, "still_saved", f"{after.value:.2f} of {after.n} succeed after")
    estimates = (before, after) if after is not None else ()
    return Made(attempt, (verdict,), estimates, (note,) if note else ())


def _refused(episode: Episode, ctx: Context, id: str, code: str, detail: str) -> Made:
    return Made(None, drops=(filtered(episode, ctx, id, code, detail),))


async def _success(
    episode: Episode, ctx: Context, attempt: Attempt, at: int, how: Proof, id: str, name: str
) -> Estimate:
    """Share of completions of the first `at` steps that pass; they are counted and in the journal, no records."""
    forks = Forks(
        episode=episode, ctx=ctx, parent=attempt, role=how.role, solve=how.prompt, options=how.options,
        steps=how.steps, stride=how.n,
    )  # fmt: skip
    await forks.ask(at, how.n)
    known = forks.known.get(at, [])
    value = sum(known) / len(known) if known else 0.0
    return Estimate(target=id, stage=ctx.stage, name=name, value=value, n=len(known), engine=how.role)


async def _continued(
    episode: Episode, ctx: Context, parent: Attempt, found: Slip, note: Note | None, how: Proof
) -> Attempt:
    """The attempt up to the wrong step, and what `role` makes of it."""
    at, original, id = found.step, parent.steps[found.step], new_id(episode, ctx, parent.id, how.k)
    source: StepSource = "injector"
    wrong = tuple(Step(text=t, role=original.role, source=source) for t in (found.text, *found.more))
    fields: dict[str, Any] = {
        "parent": parent.id, "fork_step": at, "injection": Injection(kind=found.kind, step=at, original=original.text),
        "seen": tuple(sorted({*parent.seen, *(note.seen if note else ())})),
        "tags": (Tag(name="error", value=found.kind),),
    }  # fmt: skip
    if found.ends:
        call: Call | None = None
        steps = (*parent.steps[:at], replace(wrong[0], role="answer"))
        return Attempt(
            id=id, stage=ctx.stage, index=how.k, kind="injected", steps=steps, call=call,
            **fields,
        )  # fmt: skip
    template = ctx.prompt(how.prompt)
    return await ask_attempt(
        episode, ctx, template.render(episode.problem), kind="injected", role=how.role, branch=parent.id, k=how.k,
        steps=how.steps, template=template.label, prefix=(*parent.steps[:at], *wrong), unfinished=found.unfinished,
        **fields,
    )  # fmt: skip
