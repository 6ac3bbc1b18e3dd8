"""Let an agent act in the problem's world, from its beginning to its end: trajectories with the world's own verdict."""

from errata.records.types import Additions, Attempt, Episode, StepSource, Verdict
from errata.registry import Count, Most, PromptName, Role, Temperature, stage
from errata.stages.agent import Trajectory, world_verdict
from errata.stages.base import Context, gather, named, new_id, quarantined


@stage(version=1)
async def act(
    episode: Episode,
    ctx: Context,
    *,
    role: Role = "student",
    n: Count = 1,
    limit: Count = 20,
    window: Most = 0,
    source: StepSource = "student",
    prompt: PromptName = "solve",
    temperature: Temperature | None = None,
    tags: tuple[str, ...] = (),
) -> Additions:
    """Play n episodes of at most `limit` turns of the agent each; a teacher's are of the kind `expert`.

    With a `window` the agent is shown only its latest turns, as many of both sides together, and the first two. What
    the world says of an episode is its verdict: the score, and its named checks. Attempts whose engine or world failed
    are quarantined. Begins with `prompt`, by default the problem's own messages.
    """
    template = ctx.prompt(prompt)
    drawn = {} if temperature is None else {"temperature": temperature}

    async def one(k: int) -> tuple[Attempt, Verdict]:
        session = await ctx.world(episode.problem)
        played = Trajectory(
            episode=episode, ctx=ctx, session=session, role=role, branch="", k=k, source=source, window=window,
            first=template.render(episode.problem, index=k), template=template.label, sampling=drawn,
        )  # fmt: skip
        for _ in range(limit):
            await played.act(await played.ask())
            if played.over:
                break
        attempt = played.attempt("expert" if source == "teacher" else "sampled", tags=named(tags))
        return attempt, await world_verdict(ctx, attempt, session)

    made, drops = await gather(episode, ctx, {new_id(episode, ctx, "", k): one(k) for k in range(n)})
    if not made:
        drops = (*drops, quarantined(episode, ctx, episode.id, drops[0].code, "every episode failed"))
    return Additions(attempts=tuple(a for a, _ in made), verdicts=tuple(v for _, v in made), drops=drops)
