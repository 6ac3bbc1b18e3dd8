"""Ask the student for several attempts at the problem."""

from errata.records.segment import Rule
from errata.records.types import Additions, Episode
from errata.registry import Count, PromptName, Role, stage
from errata.stages.base import Context, ask_attempt, gather, new_id, quarantined


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
) -> Additions:
    """Sample n attempts at the problem from the engine that plays `role`, with `logprobs` those of their tokens too."""
    template = ctx.prompt(prompt)
    tasks = {
        new_id(episode, ctx, "", k): ask_attempt(
            episode, ctx, template.render(episode.problem, index=k),
            kind="sampled", role=role, branch="", k=k, steps=steps, template=template.label,
            logprobs=logprobs,
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
