"""Do other things than the expert did: at each of its states K other actions, each played once in a fork of the world.

What comes of them is the early experience of Zhang et al. (arXiv:2510.08558): transitions for a world model, and
outcomes to compare the expert's action with. No reward is needed, and errors for invalid actions are kept.
"""

from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

from errata.environments.base import Turn
from errata.records.trajectory import Move, action_of, moves
from errata.records.types import Additions, Attempt, Call, Drop, Episode, Step, Tag
from errata.registry import Count, Most, PromptName, Role, StepName, Temperature, stage
from errata.stages.agent import messages, observed, spoken
from errata.stages.base import Context, chosen, filtered, gather, new_id, request_seed, rng


class _Other(NamedTuple):
    """An action that the expert did not take."""

    action: str
    steps: tuple[Step, ...]
    call: Call | None = None
    seen: tuple[str, ...] = ()


@stage(version=1)
async def branch(
    episode: Episode,
    ctx: Context,
    *,
    of: StepName = "act",
    k: Count = 3,
    among: Literal["valid", "policy"] = "valid",
    role: Role = "student",
    tries: Count = 8,
    states: Most = 0,
    prompt: PromptName = "solve",
    temperature: Temperature | None = None,
) -> Additions:
    """At each state of the passing trajectories of the step `of`, play up to `k` actions other than the one taken.

    They are drawn from those that the world allows (`valid`), or from `tries` replies of `role` to the same
    conversation (`policy`), invalid ones included; the same action in other spelling is one. `states` bounds how many
    states of a trajectory are taken. Each is an attempt of the kind `forked`: the trajectory up to there, the other
    action and what the world answers, tagged `valid` true or false; nothing in it is trained. A state without another
    action has a drop.
    """
    drawn = {} if temperature is None else {"temperature": temperature}
    template = ctx.prompt(prompt)

    async def sampled(expert: Attempt, move: Move, j: int) -> _Other | None:
        before = tuple(s for s in expert.steps if s.turn < move.turn)
        answer = await ctx.ask(
            role, messages(template.render(episode.problem, index=j), before),
            seed=request_seed(episode, ctx, _place(expert, move), j), template=template.label, sampling=drawn,
        )  # fmt: skip
        said = spoken(answer.text, move.turn, train=False)
        return _Other(action_of(answer.text), said, answer.call, answer.seen) if answer.complete else None

    async def one(expert: Attempt) -> Additions:
        taken = _picked(episode, ctx, expert, states)
        asked: dict[int, list[_Other]] = {}
        failed: tuple[Drop, ...] = ()
        if among == "policy":
            places = [(m, j) for m in taken for j in range(tries)]
            tasks = {new_id(episode, ctx, f"{_place(expert, m)}:try", j): sampled(expert, m, j) for m, j in places}
            found, failed = await gather(episode, ctx, tasks)
            for other in found:
                if other is not None:
                    asked.setdefault(other.steps[0].turn, []).append(other)
        made = await _walked(episode, ctx, expert, taken, k, asked if among == "policy" else None)
        return Additions(attempts=made.attempts, drops=(*made.drops, *failed))

    experts = chosen(episode, of=of, outcome="pass")
    done, drops = await gather(episode, ctx, {new_id(episode, ctx, a.id, 0): one(a) for a in experts})
    return Additions(
        attempts=tuple(a for d in done for a in d.attempts), drops=(*(x for d in done for x in d.drops), *drops)
    )


def _place(expert: Attempt, move: Move) -> str:
    return f"{expert.id}:{move.step}"


def _picked(episode: Episode, ctx: Context, expert: Attempt, most: int) -> list[Move]:
    """The states of a trajectory to branch at, in order; the move is the one that was taken there."""
    all_moves = list(moves(expert.steps))
    if not most or len(all_moves) <= most:
        return all_moves
    at = rng(episode, ctx, f"{expert.id}:states").sample(range(len(all_moves)), most)
    return [all_moves[i] for i in sorted(at)]


async def _walked(
    episode: Episode, ctx: Context, expert: Attempt, taken: Sequence[Move], k: int,
    asked: Mapping[int, list[_Other]] | None,
) -> Additions:  # fmt: skip
    """The expert's way once more, and from each state that is taken the other actions, each in a fork."""
    session = await ctx.world(episode.problem)
    attempts: list[Attempt] = []
    drops: list[Drop] = []
    for move in moves(expert.steps):
        if move in taken:
            others = asked.get(move.turn, []) if asked is not None else _listed(await session.valid_actions(), move)
            if asked is None:
                rng(episode, ctx, _place(expert, move)).shuffle(others)
            new = _distinct(others, move.action)[:k]
            for j, other in enumerate(new):
                fork = await session.fork()
                turn = await fork.step(other.action)
                await fork.close()
                id = new_id(episode, ctx, _place(expert, move), j)
                attempts.append(_forked(ctx, expert, move, other, turn, id, len(attempts)))
            if not new:
                id = new_id(episode, ctx, _place(expert, move), 0)
                drops.append(filtered(episode, ctx, id, "no_other_action", f"there is only {move.action!r}"))
        await session.step(move.action)
    await session.close()
    return Additions(attempts=tuple(attempts), drops=tuple(drops))


def _listed(options: Sequence[str], move: Move) -> list[_Other]:
    return [
        _Other(a, (Step(text=a, role="action", source="environment", train=False, turn=move.turn),)) for a in options
    ]


def _distinct(others: Sequence[_Other], action: str) -> list[_Other]:
    """Each action once, however it is spelled, and not the expert's."""
    known = {_normal(action), ""}
    found = []
    for other in others:
        if _normal(other.action) not in known:
            known.add(_normal(other.action))
            found.append(other)
    return found


def _normal(action: str) -> str:
    return " ".join(action.lower().split()).rstrip(" .!")


def _forked(ctx: Context, expert: Attempt, move: Move, other: _Other, turn: Turn, id: str, index: int) -> Attempt:
    before = [s for s in expert.steps if s.turn < move.turn]
    kept = tuple(Step(text=s.text, role=s.role, source=s.source, train=False, turn=s.turn) for s in before)
    return Attempt(
        id=id, stage=ctx.stage, index=index, kind="forked", parent=expert.id, fork_step=move.step,
        steps=(*kept, *other.steps, observed(turn.observation, move.turn + 1)),
        calls=() if other.call is None else (other.call,), seen=tuple(sorted({*expert.seen, *other.seen})),
        tags=(Tag(name="valid", value=str(turn.valid).lower()),),
    )  # fmt: skip
