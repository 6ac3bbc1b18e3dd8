"""Let an agent act in the problem's world, from its beginning to its end: trajectories with the world's own verdict."""

from typing import Literal

from errata.records.types import Additions, Attempt, AttemptKind, Episode, Outcome, StepSource, Verdict
from errata.registry import Count, Most, PromptName, Role, StepName, Temperature, stage
from errata.stages.agent import Trajectory, world_verdict
from errata.stages.base import Context, chosen, gather, named, new_id, quarantined


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
    of: StepName = "",
    outcome: Outcome | Literal["any"] = "fail",
    most: Most = 0,
    domains: tuple[str, ...] = (),
    tags: tuple[str, ...] = (),
) -> Additions:
    """Play n episodes of at most `limit` turns of the agent each; a teacher's are of the kind `expert`.

    With a `window` the agent is shown only its latest turns, as many of both sides together, and the first two. What
    the world says of an episode is its verdict: the score, and its named checks. Attempts whose engine or world failed
    are quarantined. An episode begins with `prompt`, by default the problem's own messages.

    With `of`, a step that has acted before, n episodes are played for each of its attempts with this `outcome`, `most`
    of them at most: another try from the beginning, by an agent that is shown the attempt and the notes about it.
    With `domains`, such as the names of worlds, problems of others are left alone.
    """
    if domains and episode.problem.domain not in domains:
        return Additions()
    template = ctx.prompt(prompt)
    drawn = {} if temperature is None else {"temperature": temperature}
    kind: AttemptKind = "revised" if of else "expert" if source == "teacher" else "sampled"

    async def one(k: int, before: Attempt | None) -> tuple[Attempt, Verdict]:
        session = await ctx.world(episode.problem)
        notes = {note.kind: note.text for note in episode.notes if before and note.about == before.id}
        told = {name for note in episode.notes if before and note.about == before.id for name in note.seen}
        played = Trajectory(
            episode=episode, ctx=ctx, session=session, role=role, branch=before.id if before else "", k=k,
            source=source, window=window, template=template.label, sampling=drawn,
            first=template.render(episode.problem, before, index=k, shown={"notes": notes} if notes else {}),
        )  # fmt: skip
        for _ in range(limit):
            await played.act(await played.ask())
            if played.over:
                break
        parent = before.id if before else None
        attempt = played.attempt(kind, tags=named(tags), parent=parent, seen=tuple(told))
        return attempt, await world_verdict(ctx, attempt, session)

    starts = chosen(episode, of=of, outcome=outcome, most=most) if of else (None,)
    tasks = {new_id(episode, ctx, b.id if b else "", k): one(k, b) for b in starts for k in range(n)}
    made, drops = await gather(episode, ctx, tasks)
    if drops and not made and not of:
        drops = (*drops, quarantined(episode, ctx, episode.id, drops[0].code, "every episode failed"))
    return Additions(attempts=tuple(a for a, _ in made), verdicts=tuple(v for _, v in made), drops=drops)
