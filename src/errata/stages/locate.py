"""Find the first wrong step of failed attempts, in three ways whose answers can be compared."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from errata import chains
from errata.records.segment import Rule
from errata.records.types import Additions, Attempt, Critique, Drop, Episode, Estimate, Outcome, Verdict
from errata.registry import Count, Most, PromptName, Role, StepName, stage
from errata.stages.base import Context, ask_attempt, chosen, filtered, gather, new_id, request_seed, verdict_of


@stage(version=1)
async def locate(
    episode: Episode,
    ctx: Context,
    *,
    method: Literal["gold", "forks", "judge"],
    of: StepName = "sample",
    outcome: Outcome | Literal["any"] = "fail",
    most: Most = 0,
    role: Role = "student",
    prompt: PromptName = "judge",
    forks: Count = 4,
    solve: PromptName = "solve",
    options: dict[str, Any] = {},
    steps: Rule = "lines",
) -> Additions:
    """Name the first wrong step by gold steps, by Monte-Carlo forks from each prefix, or by a judge engine.

    A judge is asked by `prompt`. Forks go on under `solve`, the prompt that the attempts answered; `options` are their
    verifier's.
    """
    found = Additions()
    for attempt in chosen(episode, of=of, outcome=outcome, most=most):
        if not attempt.complete:
            drops = (filtered(episode, ctx, attempt.id, "incomplete", "an attempt that was cut has no first error"),)
            found = _join(found, Additions(drops=drops))
        elif method == "gold":
            found = _join(found, _by_gold(episode, ctx, attempt))
        elif method == "judge":
            found = _join(found, await _by_judge(episode, ctx, attempt, role, prompt))
        else:
            found = _join(found, await _Forks(episode, ctx, attempt, role, forks, solve, options, steps).locate())
    return found


def _join(a: Additions, b: Additions) -> Additions:
    return Additions(
        attempts=a.attempts + b.attempts, critiques=a.critiques + b.critiques, verdicts=a.verdicts + b.verdicts,
        estimates=a.estimates + b.estimates, drops=a.drops + b.drops,
    )  # fmt: skip


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
    made = Critique(
        id=new_id(episode, ctx, attempt.id, 0), attempt=attempt.id, stage=ctx.stage, index=0, source="gold",
        verdict=verdict, first_error=first, text=text, seen=("gold_steps",),  # type: ignore[arg-type]
    )  # fmt: skip
    return Additions(critiques=(made,))


def _by_chain(chain: chains.Chain, attempt: Attempt) -> tuple[str, int | None, str]:
    """(verdict, first wrong step, what is wrong). A step may hold several lines, each a step of the chain, or none."""
    lines = [(i, line) for i, step in enumerate(attempt.steps) for line in step.text.split("\n") if line.strip()]
    error = chains.first_error(chain, [line for _, line in lines])
    if error is None:
        return "no_error", None, ""
    first = lines[error.step][0] if error.step < len(lines) else len(attempt.steps)
    return "error", first, f"{error.kind}: {error.why}"


async def _by_judge(episode: Episode, ctx: Context, attempt: Attempt, role: str, prompt: str) -> Additions:
    template = ctx.prompt(prompt)

    async def ask() -> Critique:
        answer = await ctx.ask(
            role, template.render(episode.problem, attempt),
            seed=request_seed(episode, ctx, attempt.id, 0), template=template.label, schema=template.schema,
        )  # fmt: skip
        verdict, step = template.reading(answer.text) if answer.complete else ("unknown", None)
        if step is not None and step > len(attempt.steps):
            verdict, step = "unknown", None
        return Critique(
            id=new_id(episode, ctx, attempt.id, 0), attempt=attempt.id, stage=ctx.stage, index=0, source="judge",
            verdict=verdict, first_error=step, text=answer.text, call=answer.call, seen=answer.seen,  # type: ignore[arg-type]
        )  # fmt: skip

    critiques, drops = await gather(episode, ctx, {new_id(episode, ctx, attempt.id, 0): ask()})
    return Additions(critiques=tuple(critiques), drops=drops)


@dataclass(frozen=True)
class _Forks:
    """Monte-Carlo location: a prefix is alive if any of K continuations from it passes.

    The first error is the step after which no continuation passes while some passed before it. Prefixes are bisected:
    a dead prefix stays dead when it grows, so that about log2(steps) prefixes are tried instead of all. An attempt that
    passes is alive as a whole and has no error; one without a verdict cannot be located.
    Source: Math-Shepherd's hard estimation (Wang et al. 2024); the search is OmegaPRM's (Luo et al. 2024).
    """

    episode: Episode
    ctx: Context
    attempt: Attempt
    role: str
    forks: int
    solve: str
    options: Mapping[str, Any]
    steps: Rule
    attempts: list[Attempt] = field(default_factory=list)
    verdicts: list[Verdict] = field(default_factory=list)
    estimates: list[Estimate] = field(default_factory=list)
    drops: list[Drop] = field(default_factory=list)

    async def value(self, at: int) -> float | None:
        """Share of continuations of the first `at` steps that pass; None where no verdict could be had."""
        episode, ctx, parent = self.episode, self.ctx, self.attempt
        template = ctx.prompt(self.solve)
        branch = f"{parent.id}:{at}"
        # Numbered through over all prefixes, as all of them are attempts with the same parent.
        tasks = {
            new_id(episode, ctx, branch, k): ask_attempt(
                episode, ctx, template.render(episode.problem, index=k), kind="forked", role=self.role, branch=branch,
                k=k, steps=self.steps, template=template.label, prefix=parent.steps[:at],
                parent=parent.id, fork_step=at, seen=parent.seen,
            )
            for k in range(at * self.forks, (at + 1) * self.forks)
        }  # fmt: skip
        made, drops = await gather(episode, ctx, tasks)
        verdicts = [await verdict_of(episode, ctx, a, options=self.options) for a in made]
        self.attempts.extend(made)
        self.verdicts.extend(verdicts)
        self.drops.extend(drops)
        known = [v.outcome for v in verdicts if v.outcome != "unknown"]
        if not known:
            return None
        value = known.count("pass") / len(known)
        self.estimates.append(
            Estimate(
                target=parent.id, stage=ctx.stage, name="mc_value", value=value, n=len(known), step=at, engine=self.role
            )
        )
        return value

    async def locate(self) -> Additions:
        alive, dead = 0, len(self.attempt.steps)
        outcome = self.episode.outcome(self.attempt.id)
        verdict, first = {"fail": "error", "pass": "no_error", "unknown": "unknown"}[outcome], None
        if verdict == "error" and not await self.value(0):
            # The student cannot solve the problem from its start: no prefix can be told to be wrong.
            verdict = "unknown"
        while verdict == "error" and dead - alive > 1:
            middle = (alive + dead) // 2
            value = await self.value(middle)
            if value is None:
                verdict = "unknown"
            elif value > 0:
                alive = middle
            else:
                dead = middle
        if verdict == "error":
            first = dead - 1
        episode, ctx = self.episode, self.ctx
        seen = {"reference", *(name for fork in self.attempts for name in fork.seen)}
        made = Critique(
            id=new_id(episode, ctx, self.attempt.id, 0), attempt=self.attempt.id, stage=ctx.stage, index=0,
            source="forks", verdict=verdict, first_error=first, seen=tuple(sorted(seen)),  # type: ignore[arg-type]
        )  # fmt: skip
        return Additions(
            attempts=tuple(self.attempts), critiques=(made,), verdicts=tuple(self.verdicts),
            estimates=tuple(self.estimates), drops=tuple(self.drops),
        )  # fmt: skip
