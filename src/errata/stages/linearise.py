"""Play a tree as one episode: every node in the order of first visits, with steps back between branches.

A search remembers states, an agent in a world must walk back. So what the search did next is reached by the world's own
inverse action, once for every action since the common ancestor that changed something, and then forward again. The
episode is played anew in the world: each observation is the world's own, and where it ends the goal is reached. Source:
exploratory learning of ExACT (arXiv:2410.02052).
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import takewhile

from msgspec.structs import replace

from errata.environments.hosts import Session
from errata.errors import WorldError
from errata.records.trajectory import action_of
from errata.records.tree import Node, tree_of
from errata.records.types import Additions, Attempt, Episode, Step, Tag
from errata.registry import Count, StepName, stage
from errata.stages.agent import next_turn, observed, spoken, world_verdict
from errata.stages.base import Context, filtered, named, new_id, quarantined

Way = tuple[Node, ...]
"""The nodes from below the root to one of them."""
WHY = "Thought: I doubt that {action!r} is the best way on. I step back to try {next!r} instead."
FURTHER = "Thought: I step back further."


@stage(version=1)
async def linearise(
    episode: Episode,
    ctx: Context,
    *,
    of: StepName = "tree",
    backtracks: bool = True,
    undo: str = "undo",
    limit: Count = 35,
    tags: tuple[str, ...] = (),
) -> Additions:
    """One attempt of the tree that `of` grew, of at most `limit` actions, up to the first end that reaches the goal.

    `undo` is the action that takes the last one that changed something back. Without `backtracks` the way to that end
    alone is played (the control). Filtered are trees that reach no goal (`no_success`), longer ones (`too_long`), those
    with an action that the world refuses (`invalid`), and those with one that cannot be taken back (`cannot_undo`).
    """
    try:
        root = tree_of(episode, of)
        visits = _visits(root)
    except LookupError:
        return Additions(drops=(filtered(episode, ctx, episode.id, "no_tree", f"{of} has grown none"),))
    goal = next((i for i, way in enumerate(visits) if episode.outcome(way[-1].attempt or "") == "pass"), None)
    if goal is None:
        return Additions(drops=(filtered(episode, ctx, episode.id, "no_success", f"{of} reached no goal"),))
    try:
        # The control is of the same trees, so that all of the tree is walked for it too.
        for ways in (visits[: goal + 1],) if backtracks else (visits[: goal + 1], visits[goal : goal + 1]):
            walk = _Walk(session=await ctx.world(episode.problem), undo=undo, limit=limit)
            refused = await walk.through(ways)
            made = await _made(episode, ctx, walk, visits[goal][-1], tags)
            await walk.session.close()
            if refused:
                return Additions(drops=(filtered(episode, ctx, episode.id, refused, walk.fault),))
        return made
    except WorldError as error:
        return Additions(drops=(quarantined(episode, ctx, episode.id, error.code, str(error)),))


def _visits(root: Node) -> list[Way]:
    """The ways to all nodes that were visited, in the order of first visits."""
    found: list[tuple[int, Way]] = []
    stack: list[tuple[Node, Way]] = [(root, ())]
    while stack:
        node, way = stack.pop()
        for child in node.children:
            if child.order is not None:
                found.append((child.order, (*way, child)))
                stack.append((child, (*way, child)))
    return [way for _, way in sorted(found, key=lambda visit: visit[0])]


@dataclass(kw_only=True)
class _Walk:
    """An episode under way through a tree."""

    session: Session
    undo: str
    limit: int
    at: Way = ()
    before: list[tuple[tuple[str, ...], float | None]] = field(default_factory=list)
    """What the world allowed before each action from the root to here and how far the goal was: states differ by it."""
    changed: list[bool] = field(default_factory=list)
    """Of each of these actions, whether it changed something."""
    steps: tuple[Step, ...] = ()
    back: int = 0
    """Steps back so far."""
    fault: str = ""

    async def through(self, ways: Sequence[Way]) -> str:
        """Walk to one node after the other; the code of what is wrong with that, or nothing."""
        for way in ways:
            gave_up = way[-1].steps[-1].role == "answer"  # Nothing was played there.
            if not gave_up and (refused := await self.to(way)):
                return refused
        return ""

    async def to(self, way: Way) -> str:
        """Walk to a node; the code of what is wrong with that, or nothing."""
        shared = sum(1 for _ in takewhile(lambda both: both[0] is both[1], zip(self.at, way, strict=False)))
        left, first = self.at[shared:], True
        for node in reversed(left):
            state, changed = self.before.pop(), self.changed.pop()
            if changed:
                why = WHY.format(action=left[0].action, next=way[shared].action) if first else FURTHER
                said = spoken(f"{why}\nAction: {self.undo}", next_turn(self.steps), "template")
                refused = await self._play(said, "cannot_undo")
                if refused or await self._state() != state:
                    self.fault = self.fault or f"{self.undo!r} did not take {node.action!r} back"
                    return refused or "cannot_undo"
                self.back, first = self.back + 1, False
        self.at = self.at[:shared]
        for node in way[shared:]:
            self.before.append(await self._state())
            turn = next_turn(self.steps)
            words = tuple(replace(s, turn=turn) for s in node.steps if s.role != "observation")
            if refused := await self._play(words, "invalid"):
                return refused
            self.at = (*self.at, node)
            self.changed.append(self.session.turns[-1].changed)
        return ""

    async def _state(self) -> tuple[tuple[str, ...], float | None]:
        return await self.session.valid_actions(), await self.session.distance()

    async def _play(self, said: Sequence[Step], code: str) -> str:
        """One turn; `code`, or what else is wrong with it, or nothing."""
        action = action_of(said[-1].text)
        if len(self.session.turns) >= self.limit:
            self.fault = f"{self.limit} actions"
            return "too_long"
        turn = await self.session.step(action)
        if not turn.valid:
            self.fault = f"{action!r}: {turn.observation}"
            return code
        self.steps = (*self.steps, *said, observed(turn.observation, next_turn(said)))
        return ""


async def _made(episode: Episode, ctx: Context, walk: _Walk, goal: Node, tags: tuple[str, ...]) -> Additions:
    """The attempt that the walk has become, and what the world says of it."""
    end = episode.attempt(goal.attempt or "")
    made = Attempt(
        id=new_id(episode, ctx, end.id, 0), stage=ctx.stage, index=0, kind="spliced", steps=walk.steps, other=end.id,
        style="backtrack" if walk.back else "", seen=end.seen,
        tags=(*named(tags), Tag(name="backtracks", value=str(walk.back))),
    )  # fmt: skip
    verdict = await world_verdict(ctx, made, walk.session)
    return Additions(attempts=(made,), verdicts=(verdict,))
