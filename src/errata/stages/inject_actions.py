"""Put an action into a successful trajectory that does not belong there, and have it noticed: text worlds only.

    no_effect      one that changes nothing; the right action follows, its thought now notices that (GUI-Reflection)
    corrupted      another in the place of the right one, after which the goal is no nearer; then the way from there
    extra_search   a look into another place first (Embodied-Reasoner)

Each is verified in the world before it is used: by its distance to the goal, and for `no_effect` by an unchanged state.
"""

from collections.abc import Mapping, Sequence
from typing import Literal

from msgspec.structs import replace

from errata.environments.base import DEAD_END, Turn
from errata.environments.hosts import Session
from errata.records.trajectory import Move, moves
from errata.records.types import Additions, Attempt, Drop, Episode
from errata.registry import Count, Most, PromptName, Role, StepName, stage
from errata.stages.base import Context, chosen, filtered, gather, new_id, rng
from errata.stages.noticing import Fault, Telling, Told

Kind = Literal["no_effect", "corrupted", "extra_search"]
_AHEAD = 3
"""Later actions of the trajectory that are tried too early, before any others: so people err."""


@stage(version=1)
async def inject_actions(
    episode: Episode,
    ctx: Context,
    *,
    role: Role = "teacher",
    of: StepName = "act",
    kinds: tuple[Kind, ...] = ("no_effect",),
    most: Most = 1,
    n: Count = 1,
    undo: bool = True,
    train: bool = False,
    searches: tuple[str, ...] = ("go", "open", "look", "search"),
    prompt: PromptName = "notice",
) -> Additions:
    """Make n trajectories of each of `kinds` from each of at most `most` passing ones by the step `of`.

    `role` writes by `prompt` what the agent thinks when it notices. After an action without effect all is as it was:
    the original action follows, word for word, and the rest of the trajectory; after others `undo` where it leads
    nearer, and a shortest way. The action that is put in is trained on only with `train`. A search begins with one of
    the words of `searches`. Drops: no_room where no place of the trajectory has such an action, state_changed where
    the world answers otherwise after all, and what a reflection is turned away for.
    """
    template = ctx.prompt(prompt)

    async def one(parent: Attempt, kind: Kind, k: int, index: int) -> Told | Drop:
        branch = f"{parent.id}/{kind}/{k}"
        draw = rng(episode, ctx, branch)
        all_moves = moves(parent.steps)
        for i in draw.sample(range(len(all_moves)), len(all_moves)):
            session = await ctx.world(episode.problem, [m.action for m in all_moves[:i]])
            options = [m.action for m in all_moves[i + 1 : i + 1 + _AHEAD]] if kind == "no_effect" else []
            valid = list(await session.valid_actions())
            draw.shuffle(valid)
            if kind == "corrupted":  # first of all with the same verb
                valid = _alike(all_moves[i].action, valid)
            if kind == "extra_search":
                valid = [a for a in valid if a.split()[0] in searches]
            found = await _fit(session, [*options, *valid], all_moves[i].action, kind)
            if found is not None:
                telling = Telling(
                    episode=episode, ctx=ctx, session=session, branch=branch, role=role, template=template,
                    steps=tuple(s for s in parent.steps if s.turn < all_moves[i].turn), seen=frozenset(parent.seen),
                )  # fmt: skip
                return await _told(telling, parent, all_moves[i], found, kind, train, undo, index)
            await session.close()
        return filtered(episode, ctx, new_id(episode, ctx, branch, 0), "no_room", f"no place for {kind}")

    parents = chosen(episode, of=of, outcome="pass", most=most)
    wanted = [(a, kind, k) for a in parents for kind in kinds for k in range(n)]
    tasks = {new_id(episode, ctx, f"{a.id}/{kind}/{k}", 0): one(a, kind, k, i) for i, (a, kind, k) in enumerate(wanted)}
    made, failed = await gather(episode, ctx, tasks)
    told = [t for t in made if isinstance(t, Told)]
    return Additions(
        attempts=tuple(t.attempt for t in told), verdicts=tuple(v for t in told for v in t.verdicts),
        drops=(*(d for t in told for d in t.drops), *(t for t in made if isinstance(t, Drop)), *failed),
    )  # fmt: skip


def _alike(action: str, others: Sequence[str]) -> list[str]:
    """Actions with the same verb before the others."""
    verb = action.split()[0]
    return [*(a for a in others if a.split()[0] == verb), *(a for a in others if a.split()[0] != verb)]


async def _fit(session: Session, options: Sequence[str], right: str, kind: Kind) -> str | None:
    """The first of the options that is an error of this kind here, proven in a fork of the world."""
    before, could = await session.distance(), await session.valid_actions()
    for action in dict.fromkeys(options):
        if action == right:
            continue
        fork = await session.fork()
        turn = await fork.step(action)
        after, can = await fork.distance(), await fork.valid_actions()
        await fork.close()
        if kind == "no_effect" and not (turn.changed or turn.done) and (before, could) == (after, can):
            return action
        if kind != "no_effect" and _astray(turn, before, after):
            return action
    return None


def _astray(turn: Turn, before: float | None, after: float | None) -> bool:
    """Whether an action that was allowed leads no nearer to the goal, and does not lose it."""
    if not (turn.valid and turn.changed) or turn.done or before is None or after is None or after == DEAD_END:
        return False
    return after >= before


async def _told(
    telling: Telling, parent: Attempt, move: Move, wrong: str, kind: Kind, train: bool, undo: bool, index: int
) -> Told:
    """The trajectory with the action in it, what is thought of it, and what follows."""
    await telling.err(wrong, train)
    if kind == "no_effect":
        thought = await telling.notice(move.action)
        original = parent.steps[move.step]
        if thought:
            await telling.go(original.text, role="correction", source=original.source, before=[thought])
            await _as_before(telling, parent, move)
    else:
        await telling.mend(undo)
        if not telling.fault:
            await telling.arrive()
    made = await telling.told(kind, parent.steps[move.step].text, index)
    return made._replace(attempt=replace(made.attempt, parent=parent.id))


async def _as_before(telling: Telling, parent: Attempt, move: Move) -> None:
    """The rest of the trajectory, which the world must answer as it did."""
    by_turn: Mapping[int, Move] = {m.turn: m for m in moves(parent.steps)}
    same = telling.steps[-1].text == move.observation
    for turn in sorted(t for t in by_turn if t > move.turn):
        if not same:
            telling.fault = Fault("state_changed", f"{move.action!r} is answered otherwise after it")
            return
        move = by_turn[turn]
        shifted = [replace(s, turn=turn + 2) for s in parent.steps if s.turn == turn]
        *before, last = shifted
        answer = await telling.go(last.text, role=last.role, source=last.source, train=last.train, before=before)
        same = answer.observation == move.observation
