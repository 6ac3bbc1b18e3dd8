"""Two lessons from a failed run: the right action in the place of the first error, and the one after noticing it.

GUI-Reflection (2506.08012) makes pre-error corrections and post-error reflections of the failures of its own rollouts.
The first error is the first action after which the goal is no nearer, which the world itself tells.
"""

from typing import NamedTuple

from msgspec.structs import replace

from errata.environments.base import DEAD_END
from errata.environments.hosts import Session, done
from errata.prompts import Prompt
from errata.records.trajectory import moves
from errata.records.types import Additions, Attempt, Drop, Episode, Estimate, Tag
from errata.registry import Most, PromptName, Role, StepName, stage
from errata.stages.agent import next_turn
from errata.stages.base import Context, chosen, filtered, gather, new_id
from errata.stages.noticing import Telling, Told


class _Error(NamedTuple):
    """Where a run goes wrong first: the action's step, its turn, and the actions before and up to it."""

    step: int
    turn: int
    before: tuple[str, ...]
    upto: tuple[str, ...]


@stage(version=1)
async def around_error(
    episode: Episode,
    ctx: Context,
    *,
    role: Role = "teacher",
    of: StepName = "act",
    most: Most = 1,
    undo: bool = True,
    prompt: PromptName = "notice",
) -> Additions:
    """Make step samples of at most `most` failing trajectories by the step `of`, tagged `lesson`.

    pre_error: the run up to the first error, then the first action of a shortest way instead. post_error: the run with
    the error and the world's answer, then what `role` writes by `prompt`, and the right action (`undo` where it leads
    nearer); none where the error loses the goal for good (drop: irreversible). Both are played; only what comes after
    the run's own steps is trained. The estimate `first_error_step` of the run says where. A run that just ended too
    early is continued where it stopped. Drops else: no_distance, and what a reflection is turned away for.
    """
    template = ctx.prompt(prompt)

    async def one(run: Attempt) -> Additions:
        error = await _first(episode, ctx, run)
        if error is None:
            return Additions(drops=(filtered(episode, ctx, run.id, "no_distance", "the world tells no distance"),))
        place = Estimate(
            target=run.id, stage=ctx.stage, name="first_error_step", value=float(error.step), n=1, engine="world"
        )  # fmt: skip
        made = [await _before(episode, ctx, run, error, role, template)]
        drops: list[Drop] = []
        if error.upto != error.before:
            after = await _after(episode, ctx, run, error, role, template, undo)
            if isinstance(after, Drop):
                drops.append(after)
            else:
                made.append(after)
        return Additions(
            attempts=tuple(m.attempt for m in made), verdicts=tuple(v for m in made for v in m.verdicts),
            estimates=(place,), drops=(*drops, *(d for m in made for d in m.drops)),
        )  # fmt: skip

    failed = [a for a in chosen(episode, of=of, outcome="fail", most=most) if a.complete]
    found, drops = await gather(episode, ctx, {new_id(episode, ctx, a.id, 0): one(a) for a in failed})
    return Additions(
        attempts=tuple(a for f in found for a in f.attempts), verdicts=tuple(v for f in found for v in f.verdicts),
        estimates=tuple(e for f in found for e in f.estimates), drops=(*(d for f in found for d in f.drops), *drops),
    )  # fmt: skip


async def _first(episode: Episode, ctx: Context, run: Attempt) -> _Error | None:
    """The first action that leads no nearer to the goal; where there is none, the end of the run."""
    session = await ctx.world(episode.problem)
    done_so_far: tuple[str, ...] = ()
    before = await session.distance()
    for m in moves(run.steps):
        await session.step(m.action)
        now = await session.distance()
        if before is None or now is None:
            return None
        if now >= before:
            return _Error(m.step, m.turn, done_so_far, (*done_so_far, m.action))
        done_so_far, before = (*done_so_far, m.action), now
    await session.close()
    played = [s for s in run.steps if s.role != "answer"]
    return _Error(len(run.steps), next_turn(played), done_so_far, done_so_far) if before is not None else None


def _telling(
    episode: Episode, ctx: Context, run: Attempt, session: Session, last: int, role: str, template: Prompt, lesson: str
) -> Telling:
    """The run up to its turn `last`, kept from the loss."""
    return Telling(
        episode=episode, ctx=ctx, session=session, branch=f"{run.id}/{lesson}", role=role,
        template=template, seen=frozenset({*run.seen, "gold_steps"}),
        steps=tuple(replace(s, train=False) for s in run.steps if s.turn < last),
        tags=(Tag(name="lesson", value=lesson),),
    )  # fmt: skip


async def _before(episode: Episode, ctx: Context, run: Attempt, error: _Error, role: str, template: Prompt) -> Told:
    session = await ctx.world(episode.problem, error.before)
    gold = await session.gold_actions() or ("",)
    telling = _telling(episode, ctx, run, session, error.turn, role, template, "pre_error")
    telling.mistake = len(telling.steps)
    await telling.go(gold[0], role="correction")
    return _revised(await telling.told("own", "", 0, verified=False), run, error)


async def _after(
    episode: Episode, ctx: Context, run: Attempt, error: _Error, role: str, template: Prompt, undo: bool
) -> Told | Drop:
    session = await ctx.world(episode.problem, error.upto)
    if done(session) or await session.distance() == DEAD_END:
        id = new_id(episode, ctx, f"{run.id}/post_error", 0)
        return filtered(episode, ctx, id, "irreversible", error.upto[-1])
    telling = _telling(episode, ctx, run, session, error.turn + 2, role, template, "post_error")
    await telling.mend(undo)
    return _revised(await telling.told("own", "", 1, verified=False), run, error)


def _revised(told: Told, run: Attempt, error: _Error) -> Told:
    """The sample as a revision of the run: nothing in it was injected."""
    own = replace(told.attempt, kind="revised", parent=run.id, injection=None, fork_step=error.step)
    return told._replace(attempt=replace(own, tags=tuple(t for t in own.tags if t.name != "inject")))
