"""Find the first wrong step of attempts, in five ways whose answers can be compared.

    gold         the gold steps contradict it
    forks        the student can no longer be saved after it (see errata.stages.forks)
    judge        an engine says so
    comparison   a right attempt at the same problem contradicts it
    arithmetic   it holds an equation that is false

Every answer is a critique with its source; "no error" is an answer, and `unknown` says that none was found.
"""

import asyncio
from collections.abc import Sequence
from functools import partial
from typing import Any, Literal

from errata import chains
from errata.records.segment import Rule
from errata.records.types import Additions, Attempt, Critique, CritiqueSource, Episode, Estimate, Outcome
from errata.registry import Count, Most, PromptName, Role, StepName, stage
from errata.stages.base import Context, chosen, filtered, gather, new_id, request_seed
from errata.stages.forks import Aliveness, Forks, bisect, scan
from errata.verifiers import arithmetic, claims


@stage(version=2)
async def locate(
    episode: Episode,
    ctx: Context,
    *,
    method: Literal["gold", "forks", "judge", "comparison", "arithmetic"],
    of: StepName = "sample",
    outcome: Outcome | Literal["any"] = "fail",
    most: Most = 0,
    role: Role = "student",
    prompt: PromptName = "judge",
    forks: Count = 4,
    value: Literal["any", "mean"] = "any",
    threshold: float = 0.5,
    search: Literal["bisect", "scan"] = "bisect",
    batch: Most = 0,
    confirm: Most = 0,
    propagate_left: bool = True,
    compare: tuple[Literal["contradiction", "value", "engine"], ...] = ("contradiction", "value"),
    against: StepName = "",
    solve: PromptName = "solve",
    options: dict[str, Any] = {},
    steps: Rule = "lines",
) -> Additions:
    """Name the first wrong step by gold steps, forks from prefixes, a judge, a right attempt, or false equations.

    Forks: `forks` continuations a prefix under `solve`, the prompt that the attempts answered; a prefix is alive if
    `any` passes or if their `mean` reaches `threshold`. `bisect` finds the first error, `scan` labels every step, where
    a success makes earlier steps right by `propagate_left`. `batch` asks for a few at a time and stops when the outcome
    is settled, `confirm` asks anew on both sides of the place found. `options` are the verifier's.

    A judge is asked by `prompt`. A comparison is with a right attempt of the step `against` (by default `of`): the
    first step that it contradicts, the first whose value it never computes, or what an engine says, by `compare`.
    """
    rule = Aliveness(forks=forks, value=value, threshold=threshold, batch=batch, confirm=confirm)

    async def one(attempt: Attempt) -> Additions:
        if not attempt.complete:
            drop = filtered(episode, ctx, attempt.id, "incomplete", "an attempt that was cut has no first error")
            return Additions(drops=(drop,))
        if method == "gold":
            return _by_gold(episode, ctx, attempt)
        if method == "arithmetic":
            return _by_arithmetic(episode, ctx, attempt)
        if method == "judge":
            return await _by_engine(episode, ctx, attempt, role=role, prompt=prompt)
        if method == "comparison":
            ask = partial(_by_engine, role=role, prompt=prompt)
            return await _by_comparison(episode, ctx, attempt, compare, against or of, ask)
        made = Forks(
            episode=episode, ctx=ctx, parent=attempt, role=role, solve=solve, options=options, steps=steps,
            stride=forks + confirm,
        )  # fmt: skip
        return await _by_forks(made, rule, search, propagate_left)

    # Side by side: forks of one attempt wait for each other, those of several need not.
    return _joined(await asyncio.gather(*(one(a) for a in chosen(episode, of=of, outcome=outcome, most=most))))


def _joined(made: Sequence[Additions]) -> Additions:
    return Additions(
        attempts=tuple(x for m in made for x in m.attempts), critiques=tuple(x for m in made for x in m.critiques),
        verdicts=tuple(x for m in made for x in m.verdicts), estimates=tuple(x for m in made for x in m.estimates),
        drops=tuple(x for m in made for x in m.drops),
    )  # fmt: skip


def _answer(
    episode: Episode, ctx: Context, attempt: Attempt, source: CritiqueSource, verdict: str, first: int | None,
    text: str = "", **fields: Any,
) -> Critique:  # fmt: skip
    return Critique(
        id=new_id(episode, ctx, attempt.id, 0), attempt=attempt.id, stage=ctx.stage, index=0, source=source,
        verdict=verdict, first_error=first, text=text, **fields,  # type: ignore[arg-type]
    )  # fmt: skip


def _cost(ctx: Context, attempt: Attempt, requests: int, role: str) -> Estimate:
    """`location_requests`: what the answer cost, in requests."""
    return Estimate(
        target=attempt.id, stage=ctx.stage, name="location_requests", value=float(requests), n=1, engine=role
    )


def _by_gold(episode: Episode, ctx: Context, attempt: Attempt) -> Additions:
    """The first step that the gold solution contradicts.

    For the procedural family every right step is known. Elsewhere a step counts as right only if it stands in the gold
    solution, so that an attempt that differs from it in words alone is unknown.
    """
    chain = chains.parse(episode.problem.text)
    verdict, first, text = "unknown", None, ""
    if chain is not None:
        verdict, first, text = _by_chain(chain, attempt)
    elif episode.problem.solution:
        gold = [" ".join(s.split()) for s in episode.problem.solution]
        said = [" ".join(s.text.split()) for s in attempt.steps]
        if gold[-1] in said and set(said) <= set(gold):
            verdict = "no_error"
    made = _answer(episode, ctx, attempt, "gold", verdict, first, text, seen=("gold_steps",))
    return Additions(critiques=(made,))


def _by_chain(chain: chains.Chain, attempt: Attempt) -> tuple[str, int | None, str]:
    """(verdict, first wrong step, what is wrong). A step may hold several lines, each a step of the chain, or none."""
    lines = [(i, line) for i, step in enumerate(attempt.steps) for line in step.text.split("\n") if line.strip()]
    error = chains.first_error(chain, [line for _, line in lines])
    if error is None:
        return "no_error", None, ""
    first = lines[error.step][0] if error.step < len(lines) else len(attempt.steps)
    return "error", first, f"{error.kind}: {error.why}"


def _by_arithmetic(episode: Episode, ctx: Context, attempt: Attempt) -> Additions:
    """The first step with a false equation; "no error" says that no equation is false, not that no step is."""
    found = arithmetic.first_false([s.text for s in attempt.steps])
    if found is None:
        return Additions(critiques=(_answer(episode, ctx, attempt, "arithmetic", "no_error", None),))
    step, wrong = found
    said = f"{wrong.left} is not {wrong.right}"
    return Additions(critiques=(_answer(episode, ctx, attempt, "arithmetic", "error", step, said),))


async def _by_engine(
    episode: Episode, ctx: Context, attempt: Attempt, *, role: str, prompt: str, other: Attempt | None = None
) -> Additions:
    template = ctx.prompt(prompt)
    source: CritiqueSource = "judge" if other is None else "comparison"
    shown = {} if other is None else {"other": other}

    async def ask() -> Critique:
        answer = await ctx.ask(
            role, template.render(episode.problem, attempt, shown=shown),
            seed=request_seed(episode, ctx, attempt.id, 0), template=template.label, schema=template.schema,
        )  # fmt: skip
        verdict, step = template.reading(answer.text) if answer.complete else ("unknown", None)
        if step is not None and step > len(attempt.steps):
            verdict, step = "unknown", None
        # That the other one is right was told by the reference.
        seen = {*answer.seen, *(() if other is None else ("reference", *other.seen))}
        return _answer(
            episode, ctx, attempt, source, verdict, step, answer.text, call=answer.call, seen=tuple(sorted(seen))
        )

    critiques, drops = await gather(episode, ctx, {new_id(episode, ctx, attempt.id, 0): ask()})
    return Additions(critiques=tuple(critiques), estimates=(_cost(ctx, attempt, 1, role),), drops=drops)


async def _by_comparison(
    episode: Episode, ctx: Context, attempt: Attempt, compare: tuple[str, ...], against: str, ask: Any
) -> Additions:
    """Against the right attempt that speaks of the most of the same things."""
    mine = [s.text for s in attempt.steps]
    right = [a for a in chosen(episode, of=against, outcome="pass") if a.id != attempt.id and episode.accepts(a)]
    if not right:
        unknown = _answer(episode, ctx, attempt, "comparison", "unknown", None, "no right attempt to compare with")
        return Additions(critiques=(unknown,))
    other = max(right, key=lambda a: claims.shared(mine, [s.text for s in a.steps]))
    theirs = [s.text for s in other.steps]
    for rule in compare:
        if rule == "engine":
            made: Additions = await ask(episode, ctx, attempt, other=other)
            return made
        found = (claims.contradiction if rule == "contradiction" else claims.new_value)(mine, theirs)
        if found is not None:
            break
    else:
        found = None
    seen = tuple(sorted({"reference", *other.seen}))
    verdict, step, said = (
        ("error", found.step, f"another attempt denies that {found.claim}")
        if found
        else ("no_error" if episode.accepts(attempt) else "unknown", None, "")
    )
    return Additions(critiques=(_answer(episode, ctx, attempt, "comparison", verdict, step, said, seen=seen),))


async def _by_forks(
    forks: Forks, rule: Aliveness, search: Literal["bisect", "scan"], propagate_left: bool
) -> Additions:
    """An attempt that passes is alive as a whole and has no error; one without a verdict cannot be located."""
    episode, attempt = forks.episode, forks.parent
    outcome = episode.outcome(attempt.id)
    verdict, first = {"fail": "error", "pass": "no_error", "unknown": "unknown"}[outcome], None
    if search == "scan" and (outcome == "fail" or (outcome == "pass" and not propagate_left)):
        said, first = await scan(forks, rule, propagate_left)
        verdict, first = (said, first) if outcome == "fail" else (verdict, None)
    elif outcome == "fail":
        verdict, first = await bisect(forks, rule)
    cost = _cost(forks.ctx, attempt, sum(forks.asked.values()), forks.role)
    return Additions(
        attempts=tuple(forks.attempts), critiques=(forks.critique(verdict, first),), verdicts=tuple(forks.verdicts),
        estimates=(*forks.estimates(), cost), drops=tuple(forks.drops),
    )  # fmt: skip
