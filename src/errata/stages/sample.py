"""Ask the student for several attempts at the problem."""

from errata.records.segment import Rule
from errata.records.types import Additions, Episode, Tag
from errata.registry import Count, PromptName, Role, StepName, Temperature, stage
from errata.stages.base import Context, ask_attempt, chosen, gather, new_id, quarantined


@stage(version=1)
async def sample(
    episode: Episode,
    ctx: Context,
    *,
    role: Role = "student",
    n: Count = 4,
    prompt: PromptName = "solve",
    steps: Rule = "lines",
    logprobs: bool = False,
    temperature: Temperature | None = None,
    hard: StepName = "",
    below: float = 0.5,
) -> Additions:
    """Sample n attempts at the problem from the engine that plays `role`, with `logprobs` those of their tokens too.

    A `temperature` stands in for the engine's own, and in the tags of the attempts. With `hard`, a step that has
    sampled before, only where the share of its attempts that pass is less than `below`: more attempts at harder
    problems.
    """
    if hard:
        known = [o for a in chosen(episode, of=hard, outcome="any") if (o := episode.outcome(a.id)) != "unknown"]
        if not known or known.count("pass") / len(known) >= below:
            return Additions()
    template = ctx.prompt(prompt)
    drawn = {} if temperature is None else {"temperature": temperature}
    tasks = {
        new_id(episode, ctx, "", k): ask_attempt(
            episode, ctx, template.render(episode.problem, index=k),
            kind="sampled", role=role, branch="", k=k, steps=steps, template=template.label,
            logprobs=logprobs, sampling=drawn, tags=tuple(Tag(name=k, value=f"{v:g}") for k, v in drawn.items()),
        )
        for k in range(n)
    }  # fmt: skip
    attempts, drops = await gather(episode, ctx, tasks)
    if not attempts:
        drops = (
            *drops,
            quarantined(episode, ctx, episode.id, drops[0].code if drops else "no_attempt", "every sample failed"),
        )
    return Additions(attempts=tuple(attempts), drops=drops)
