"""Let an agent act in the problem's world, from its beginning to its end: trajectories with the world's own verdict."""

from typing import Literal

from errata.prompts import Prompt
from errata.records.types import Additions, Attempt, AttemptKind, Episode, Note, Outcome, StepSource, Verdict
from errata.registry import Count, Most, PromptName, Role, StepName, Temperature, stage
from errata.stages.agent import Trajectory, world_verdict
from errata.stages.base import Context, chosen, filtered, gather, named, new_id, quarantined, shared_out


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
    share: tuple[float, float] = (0.0, 1.0),
    domains: tuple[str, ...] = (),
    tags: tuple[str, ...] = (),
) -> Additions:
    """Play n episodes of at most `limit` turns of the agent each; a teacher's are of the kind `expert`.

    With a `window` the agent is shown only its latest turns, as many of both sides together, and the first two. What
    the world says of an episode is its verdict: the score, and its named checks. Attempts whose engine or world failed
    are quarantined. An episode begins with `prompt`, by default the problem's own messages.

    Problems outside `share` (as in `sample`) and of other `domains`, such as worlds, are left alone. With `of`, a step
    that has acted before, n episodes are played for each of its attempts with this `outcome`, `most` of them at most:
    another try from the beginning, by an agent that is shown the attempt and the notes about it. The notes about the
    problem are shown in any case. Tries for which a note that the prompt shows is missing are dropped.
    """
    if not shared_out(episode, ctx, share) or (domains and episode.problem.domain not in domains):
        return Additions()
    template = ctx.prompt(prompt)
    drawn = {} if temperature is None else {"temperature": temperature}
    kind: AttemptKind = "revised" if of else "expert" if source == "teacher" else "sampled"

    async def one(k: int, before: Attempt | None) -> tuple[Attempt, Verdict]:
        session, about = await ctx.world(episode.problem), _about(episode, before)
        notes = {x.kind: x.text for x in about}
        # What the first agent and the writers of notes knew may reach the next through their words.
        told = {name for x in (*about, *((before,) if before else ())) for name in x.seen}
        played = Trajectory(
            episode=episode, ctx=ctx, session=session, role=role, branch=before.id if before else "", k=k,
            source=source, window=window, template=template.label, sampling=drawn,
            first=template.render(episode.problem, before, index=k, shown={"notes": notes} if notes else {}),
        )  # fmt: skip
        await played.run(limit)
        made = played.attempt(kind, tags=named(tags), parent=before and before.id, seen=tuple(told))
        return made, await world_verdict(ctx, made, session)

    starts = chosen(episode, of=of, outcome=outcome, most=most) if of else (None,)
    lacking = {b.id if b else "": missing for b in starts if (missing := _missing(episode, b, template))}
    known = [b for b in starts if (b.id if b else "") not in lacking]
    tasks = {new_id(episode, ctx, b.id if b else "", k): one(k, b) for b in known for k in range(n)}
    made, drops = await gather(episode, ctx, tasks)
    for id, note in lacking.items():
        unfit, why = [new_id(episode, ctx, id, k) for k in range(n)], f"{id or episode.id} has no {note}"
        drops += tuple(filtered(episode, ctx, target, "no_note", why) for target in unfit)
    if drops and not made and not (of or lacking):
        drops = (*drops, quarantined(episode, ctx, episode.id, drops[0].code, "every episode failed"))
    return Additions(attempts=tuple(a for a, _ in made), verdicts=tuple(v for _, v in made), drops=drops)


def _about(episode: Episode, attempt: Attempt | None) -> tuple[Note, ...]:
    """Those about the problem, then those about the attempt, if there is one."""
    targets = (episode.id, *((attempt.id,) if attempt else ()))
    return tuple(note for id in targets for note in episode.notes if note.about == id)


def _missing(episode: Episode, attempt: Attempt | None, template: Prompt) -> str:
    """A kind of note that the prompt shows, and nobody has written about the attempt; empty where none is missing."""
    return min(template.notes - {note.kind for note in _about(episode, attempt)}, default="")
