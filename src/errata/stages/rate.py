"""How hard a problem is for the student: the share of its attempts that pass."""

from typing import Any

from errata.records.segment import Rule
from errata.records.types import Additions, Attempt, Drop, Episode, Estimate, Verdict
from errata.registry import Count, PromptName, Role, StepName, stage
from errata.stages.base import Context, ask_attempt, chosen, gather, new_id, verdict_of


@stage(version=1)
async def rate(
    episode: Episode,
    ctx: Context,
    *,
    of: StepName = "",
    role: Role = "student",
    n: Count = 8,
    prompt: PromptName = "solve",
    options: dict[str, Any] = {},
    steps: Rule = "lines",
) -> Additions:
    """Measure the problem's `pass_rate` from the verified attempts of the step `of`, or from n new ones if it is empty.

    The estimate stands on the episode, and its n is the number of attempts with a verdict: unknown counts for nothing,
    and without any there is no estimate. New attempts are kept, with their verdicts by `options`.
    """
    made: list[Attempt] = []
    verdicts: list[Verdict] = []
    drops: tuple[Drop, ...] = ()
    if of:
        outcomes = [episode.outcome(a.id) for a in chosen(episode, of=of, outcome="any")]
    else:
        template = ctx.prompt(prompt)
        tasks = {
            new_id(episode, ctx, "", k): ask_attempt(
                episode, ctx, template.render(episode.problem, index=k), kind="sampled", role=role, branch="", k=k,
                steps=steps, template=template.label,
            )
            for k in range(n)
        }  # fmt: skip
        made, drops = await gather(episode, ctx, tasks)
        verdicts = [await verdict_of(episode, ctx, a, options=options) for a in made]
        outcomes = [v.outcome for v in verdicts]
    known = [o for o in outcomes if o != "unknown"]
    value = known.count("pass") / max(1, len(known))
    found = Estimate(
        target=episode.id, stage=ctx.stage, name="pass_rate", value=value, n=len(known), engine="" if of else role
    )
    estimates = (found,) if known else ()
    return Additions(attempts=tuple(made), verdicts=tuple(verdicts), estimates=estimates, drops=drops)
