"""Grow a tree of an agent's episodes in the problem's world, by UCT, PUCT or MCTS*: its paths share their beginnings.

Every leaf is an attempt. One at which an episode ended has the world's verdict; the others were proposed and not played
on, and have the tag `leaf=open`. An attempt's parent is the one that it shares most of its first steps with. The
whole tree can be read from the episode again (errata.records.tree.tree_of).
"""

import asyncio
import json
import math
from dataclasses import replace
from typing import Literal

from errata.environments.base import DEAD_END
from errata.environments.hosts import Session, reward
from errata.errors import EngineError, RecipeError, WorldError
from errata.records.types import Additions, Episode
from errata.registry import Count, Most, PromptName, Role, Temperature, stage
from errata.stages.agent import Trajectory
from errata.stages.base import Context, quarantined, request_seed
from errata.stages.trees import Algo, Search, SearchNode, Value, recorded


@stage(version=1)
async def tree(
    episode: Episode,
    ctx: Context,
    *,
    role: Role = "student",
    algo: Algo = "uct",
    simulations: Count = 8,
    width: Count = 4,
    ahead: Count = 1,
    depth: Count = 20,
    c: float = 0.25,
    value: Literal["end", "distance", "rollouts", "engine"] = "end",
    rollouts: Count = 1,
    judge: Role = "student",
    judge_prompt: PromptName = "judge_score",
    until: float | None = None,
    window: Most = 0,
    prompt: PromptName = "solve",
    temperature: Temperature | None = None,
    tags: tuple[str, ...] = (),
) -> Additions:
    """Search with `simulations` of at most `depth` turns each; a node that is expanded gets `width` candidates.

    `value`: a simulation plays on to the `end` of the episode, with `ahead` candidates a turn, and the reward there
    counts; or the node that it reaches is worth what the world's `distance`, the mean of `rollouts` beside the tree or
    an `engine` (role `judge`, by `judge_prompt`) says. MCTS* evaluates every node and needs one of the latter.
    `until` ends the search once an episode ends with that reward. Estimates at every action of every leaf: `q` (n:
    visits), `prior` (n: proposals), `order` of first visits. Defaults are Agent-R's (arXiv:2501.11425).
    """
    if algo == "mcts_star" and value == "end":
        raise RecipeError("tree: mcts_star evaluates every node: set value to distance, rollouts or engine")
    template = ctx.prompt(prompt)
    drawn = {} if temperature is None else {"temperature": temperature}
    try:
        session = await ctx.world(episode.problem)
        valued = await _valued(session, value, rollouts, depth, judge, judge_prompt)
    except WorldError as error:
        return Additions(drops=(quarantined(episode, ctx, episode.id, error.code, str(error)),))
    begun = Trajectory(
        episode=episode, ctx=ctx, session=session, role=role, branch="", window=window,
        first=template.render(episode.problem), template=template.label, sampling=drawn,
    )  # fmt: skip
    search = Search(
        root=SearchNode(played=begun), algo=algo, c=c, width=width, ahead=min(ahead, width), depth=depth, value=valued
    )
    await search.run(simulations, math.inf if until is None else until)
    return await recorded(search, tags)


async def _valued(session: Session, by: str, rollouts: int, depth: int, judge: str, prompt: str) -> Value | None:
    if by == "rollouts":
        return _by_rollouts(rollouts, depth)
    if by == "engine":
        return _by_engine(judge, prompt)
    if by == "end":
        return None
    start = await session.distance()
    if start is None:
        raise WorldError("no_distance", f"{session.task.world} cannot tell how far the goal is")
    return _by_distance(start)


def _by_distance(start: float) -> Value:
    """Value by the world's own distance: the share of the way from the start that is behind, 0 at a dead end."""

    async def value(node: SearchNode) -> float:
        left = await node.played.session.distance()
        if left is None:
            raise WorldError("no_distance", f"{node.played.session.task.world} cannot tell how far the goal is")
        return 0.0 if left == DEAD_END else max(0.0, 1.0 - left / start) if start else 1.0

    return value


def _by_rollouts(n: int, depth: int) -> Value:
    """Value by Monte-Carlo: the mean reward of n episodes that the agent plays on from there, beside the tree."""

    async def one(node: SearchNode, k: int) -> float:
        session = await node.played.session.fork()
        played = replace(node.played, session=session, branch=f"{node.played.branch}/rollout", k=k)
        for _ in range(depth - node.depth):
            await played.act(await played.ask())
            if played.over:
                break
        found = min(1.0, max(0.0, reward(session)))
        await session.close()
        return found

    async def value(node: SearchNode) -> float:
        return sum(await asyncio.gather(*(one(node, k) for k in range(n)))) / n

    return value


def _by_engine(role: str, prompt: str) -> Value:
    """Value by an engine that is shown the trajectory: the number `score` of its JSON, from least to most as 0 to 1."""

    async def value(node: SearchNode) -> float:
        played = node.played
        template = played.ctx.prompt(prompt)
        answer = await played.ctx.ask(
            role, template.render(played.episode.problem, played.attempt("search")),
            seed=request_seed(played.episode, played.ctx, f"{played.branch}/value", 0), template=template.label,
            schema=template.schema,
        )  # fmt: skip
        told = template.values(answer.text) if answer.complete else None
        if told is None or "score" not in told:
            raise EngineError("unreadable", f"{role} gave no score by {prompt}")
        span = json.loads(template.schema)["properties"]["score"]
        return float((told["score"] - span["minimum"]) / (span["maximum"] - span["minimum"]))

    return value
