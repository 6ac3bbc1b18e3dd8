"""Take the gold solution for an attempt: the known-good path that others fork from, and that errors are woven into.

It is privileged, and says so (`seen`): a recipe that trains on it names it, as in `of: expert`.
"""

from errata.records.segment import Rule
from errata.records.types import Additions, Attempt, Episode
from errata.registry import stage
from errata.stages.base import Context, filtered, named, new_id, steps_of


@stage(version=1)
async def expert(episode: Episode, ctx: Context, *, steps: Rule = "lines", tags: tuple[str, ...] = ()) -> Additions:
    """Make the problem's gold solution an attempt, cut into steps anew; a problem without one is dropped.

    Its steps are the gold steps on lines of their own. It has no verdict yet: `verify` judges it like any other. A task
    in a world is left alone: what is done there is no text, and `act` with a teacher is its expert.
    """
    if episode.problem.task is not None:
        return Additions()
    if not episode.problem.solution:
        return Additions(drops=(filtered(episode, ctx, episode.id, "no_solution", "the problem has no gold steps"),))
    text = "\n".join(step.rstrip("\n") for step in episode.problem.solution)
    made = Attempt(
        id=new_id(episode, ctx, "", 0), stage=ctx.stage, index=0, kind="expert",
        steps=steps_of(text, steps, "rollout"), seen=("gold_steps",), tags=named(tags),
    )  # fmt: skip
    return Additions(attempts=(made,))
