"""Play attempts again: is what they say the world answered the world's own, and is their end what it is said to be?

A trajectory that was made elsewhere, put together, or played in an older world is taken at nobody's word.
"""

from collections.abc import Mapping
from typing import Literal, NamedTuple

from errata.environments.hosts import done
from errata.records.trajectory import PLAYED, STOP, Move, action_of, moves
from errata.records.types import Additions, Attempt, Drop, Episode, Estimate, Outcome, Step, Verdict
from errata.registry import Most, StepName, stage
from errata.stages.agent import observed, world_verdict
from errata.stages.base import Context, chosen, filtered, gather, new_id

_SHOWN = 80
"""Characters of an observation that the evidence quotes."""


class _Difference(NamedTuple):
    """An observation that is not the world's own."""

    step: int
    """The observation's in the attempt; the action's where the attempt holds no answer to it."""
    said: str | None
    """None where the attempt holds none."""
    own: str | None
    """None where nothing was played that the world could answer."""


class _Replayed(NamedTuple):
    verdicts: tuple[Verdict, ...]
    differences: tuple[_Difference, ...]
    mended: Attempt | None


@stage(version=1)
async def replay(
    episode: Episode,
    ctx: Context,
    *,
    of: StepName = "",
    outcome: Outcome | Literal["any"] = "any",
    most: Most = 0,
    mode: Literal["strict", "reward_only"] = "strict",
    own_observations: Literal["check", "replace"] = "check",
) -> Additions:
    """Give the actions of every trajectory by the step `of` (empty: any step) to its world anew.

    An attempt without a verdict of the world gets one. A verdict `replay` says whether the attempt is what the world
    makes of its actions: `strict` asks every observation to be the world's own, character for character, and both modes
    the score to be the one that a verdict of the world told before. What fails, or cannot be played (unknown), is
    exported no more. An Estimate `mismatch` of 1 stands at the step of each observation that differs.

    With `own_observations: replace`, an attempt with such observations gives another one, of the kind `replayed`, that
    holds the world's own, up to where the world ends. Its agent's words were said to other observations.
    """
    tries = {a.id: a for a in chosen(episode, of=of, outcome=outcome, most=most) if _acts(a)}
    strict, replace_ = mode == "strict", own_observations == "replace"
    played, lost = await gather(
        episode, ctx, {id: _replay(episode, ctx, a, strict, replace_) for id, a in tries.items()}
    )
    drops = list(lost)
    for found in played:
        said = next(v for v in found.verdicts if v.verifier == "replay")
        if said.outcome == "fail":
            drops.append(filtered(episode, ctx, said.target, "not_replayed", said.evidence))
    unknown = tuple(_unknown(ctx, episode, d) for d in lost)
    return Additions(
        attempts=tuple(r.mended for r in played if r.mended),
        verdicts=(*(v for r in played for v in r.verdicts), *unknown),
        estimates=tuple(
            Estimate(
                target=r.verdicts[0].target, stage=ctx.stage, name="mismatch", value=1.0, n=1, step=d.step,
                engine="world",
            )
            for r in played
            for d in r.differences
        ),
        drops=tuple(drops),
    )  # fmt: skip


def _acts(attempt: Attempt) -> bool:
    """Whether it is a trajectory: something of it was played, or is said to have been seen, or its agent stops."""
    stops = bool(attempt.steps) and attempt.steps[-1].role == "answer" and action_of(attempt.steps[-1].text) in STOP
    return stops or any(s.role in (*PLAYED, "observation") for s in attempt.steps)


async def _replay(episode: Episode, ctx: Context, attempt: Attempt, strict: bool, mend: bool) -> _Replayed:
    session = await ctx.world(episode.problem)
    own: dict[int, str] = {}
    end = attempt.steps[-1].turn + 1
    played = moves(attempt.steps)
    if played and not attempt.complete and attempt.steps[-1].turn == played[-1].turn:
        played = played[:-1]  # words that were cut are no action
    for move in played:
        over = done(session)
        own[move.turn + 1] = (await session.step(move.action)).observation
        if not over and done(session):
            end = move.turn + 1
    found = _differences(attempt.steps, played, own)
    now = await world_verdict(ctx, attempt, session)
    before = episode.verdict(attempt.id, "world")
    wrong = [_told(found[0])] if strict and found else []
    if before and (before.score, before.outcome) != (now.score, now.outcome):
        wrong.append(f"the world's verdict is {now.outcome} ({now.score}), not {before.outcome} ({before.score})")
    share = 1 - len(found) / max(1, len(own), len(found))
    said = _verdict(ctx, attempt, now.version, "fail" if wrong else "pass", "; ".join(wrong), share)
    verdicts = (said,) if before else (now, said)
    made = _mended(episode, ctx, attempt, own, found, end) if mend and found else None
    if made:
        fresh = await world_verdict(ctx, made, session)
        verdicts = (*verdicts, fresh, _verdict(ctx, made, now.version, "pass", "", 1.0))
    return _Replayed(verdicts, found, made)


def _differences(steps: tuple[Step, ...], played: tuple[Move, ...], own: Mapping[int, str]) -> tuple[_Difference, ...]:
    """Where the attempt's observations and the world's part, in order; the last action's may be missing."""
    place: dict[int, int] = {m.turn + 1: m.step for m in played}
    said: dict[int, str] = {}
    for i, step in enumerate(steps):
        if step.role == "observation" and step.source != "template":
            if step.turn not in said:
                place[step.turn] = i
            said[step.turn] = said.get(step.turn, "") + step.text
    last = steps[-1].turn + 1
    turns = sorted({*said, *own} - ({last} - said.keys()))
    return tuple(_Difference(place[t], said.get(t), own.get(t)) for t in turns if said.get(t) != own.get(t))


def _told(found: _Difference) -> str:
    """The first difference in words."""
    own, said = ("nothing" if x is None else repr(x[:_SHOWN]) for x in (found.own, found.said))
    return f"step {found.step}: the world answers {own}, the attempt has {said}"


def _mended(
    episode: Episode, ctx: Context, attempt: Attempt, own: Mapping[int, str], found: tuple[_Difference, ...], end: int
) -> Attempt | None:
    """The attempt with the world's own observations; None where it holds some that answer no action."""
    if any(d.own is None for d in found):
        return None
    steps = [s for s in attempt.steps if s.turn not in own and s.turn <= end]
    steps += [observed(text, turn) for turn, text in own.items() if turn <= end]
    return Attempt(
        id=new_id(episode, ctx, attempt.id, 0), stage=ctx.stage, index=0, kind="replayed",
        steps=tuple(sorted(steps, key=lambda s: s.turn)), parent=attempt.id, fork_step=found[0].step,
        style=attempt.style, complete=attempt.complete, seen=attempt.seen, tags=attempt.tags,
    )  # fmt: skip


def _verdict(ctx: Context, attempt: Attempt, version: int, outcome: Outcome, evidence: str, share: float) -> Verdict:
    return Verdict(
        target=attempt.id, stage=ctx.stage, verifier="replay", version=version, outcome=outcome, score=share,
        evidence=evidence,
    )  # fmt: skip


def _unknown(ctx: Context, episode: Episode, lost: Drop) -> Verdict:
    """An attempt that could not be played is not wrong, and not the world's own either."""
    version = episode.problem.task.version if episode.problem.task else 0
    return Verdict(
        target=lost.target, stage=ctx.stage, verifier="replay", version=version, outcome="unknown",
        evidence=f"{lost.code}: {lost.detail}",
    )  # fmt: skip
