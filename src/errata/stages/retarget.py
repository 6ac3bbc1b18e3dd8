"""Change the goal of a successful run, so that an action it took becomes the mistake (GUI-Reflection, 2506.08012).

The run is one that reaches another goal in the same surroundings, where the world says so; the goal that it is held
against is the problem's own. Up to the first action that leads no nearer to that, both runs are one.
"""

import msgspec
from msgspec.structs import replace

from errata.environments.base import DEAD_END
from errata.environments.goals import other_goal
from errata.environments.hosts import reward
from errata.errors import WorldError
from errata.prompts import Prompt
from errata.records.ids import canonical
from errata.records.types import Additions, Drop, Episode, Problem
from errata.registry import Count, PromptName, Role, stage
from errata.stages.base import Context, filtered, gather, new_id, rng
from errata.stages.noticing import Telling, Told


@stage(version=1)
async def retarget(
    episode: Episode,
    ctx: Context,
    *,
    role: Role = "teacher",
    n: Count = 1,
    tries: Count = 8,
    undo: bool = True,
    prompt: PromptName = "notice",
) -> Additions:
    """Make n trajectories in which an action that another goal called for is noticed, taken back or mended.

    Up to `tries` other goals are drawn for each. The way to the other goal is the world's own and reaches it; its first
    action that does not reduce the distance to the problem's goal is the mistake, which is kept from the loss and must
    not lose the goal for good. Then `role` writes by `prompt` what the agent thinks, `undo` is taken where it leads
    nearer, and the rest is a shortest way. Drops: no_other_goal, and what a reflection is turned away for.
    """
    template = ctx.prompt(prompt)

    async def one(k: int) -> Told | Drop:
        for j in range(tries):
            task = await _other(episode, ctx, k, j)
            told = await _told(episode, ctx, task, role, template, undo, k) if task else None
            if told:
                return told
        return filtered(episode, ctx, new_id(episode, ctx, f"retarget/{k}", 0), "no_other_goal", f"{tries} drawn")

    made, failed = await gather(episode, ctx, {new_id(episode, ctx, f"retarget/{k}", 0): one(k) for k in range(n)})
    told: dict[str, Told] = {}
    for t in made:
        if isinstance(t, Told):  # the same mistake at the same place is one
            told.setdefault("".join(s.text for s in t.attempt.steps[: (t.attempt.fork_step or 0) + 1]), t)
    kept = list(told.values())
    return Additions(
        attempts=tuple(t.attempt for t in kept), verdicts=tuple(v for t in kept for v in t.verdicts),
        drops=(*(d for t in kept for d in t.drops), *(t for t in made if isinstance(t, Drop)), *failed),
    )  # fmt: skip


async def _other(episode: Episode, ctx: Context, k: int, j: int) -> Problem | None:
    """The problem with another goal; None where the draw gives no task."""
    task = episode.problem.task
    if task is None:
        raise WorldError("no_world", "the problem is no task in a world: take a source such as `worlds`")
    spec = other_goal(task.world, msgspec.json.decode(task.spec), rng(episode, ctx, f"goal/{k}/{j}"))
    return replace(episode.problem, task=replace(task, spec=canonical(spec))) if spec else None


async def _told(
    episode: Episode, ctx: Context, other: Problem, role: str, template: Prompt, undo: bool, k: int
) -> Told | None:
    """The trajectory for one other goal; None where that is no task, or its way never errs."""
    try:
        there = await ctx.world(other)
    except WorldError as error:
        if error.code == "world_spec":
            return None
        raise
    way = await there.gold_actions() or ()
    for action in way:
        await there.step(action)
    reached = other.task is not None and reward(there) >= other.task.success
    await there.close()
    telling = Telling(
        episode=episode, ctx=ctx, session=await ctx.world(episode.problem), branch=f"retarget/{k}", role=role,
        template=template,
    )  # fmt: skip
    for action in way if reached else ():
        session = telling.session
        before, gold = await session.distance(), await session.gold_actions()
        fork = await session.fork()
        turn = await fork.step(action)
        after = await fork.distance()
        await fork.close()
        if turn.done or after == DEAD_END or before is None or after is None:
            return None
        if after < before:
            await telling.go(action)
            continue
        if not turn.changed:
            return None
        await telling.err(action)
        await telling.mend(undo)
        if not telling.fault:
            await telling.arrive()
        return await telling.told("changed_goal", gold[0] if gold else "", k)
    return None
