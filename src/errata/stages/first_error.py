"""Find the first wrong action of a bad trajectory: the transition point, at which a revision is to begin.

    actor      an engine, in Agent-R the one that acted, judges action after action and stops at the first bad one
               (arXiv:2501.11425); good and uncertain ones go on
    distance   the world says exactly how far the goal is: an action is bad if it is further away afterwards
    rollouts   continuations of the policy: an action is bad if before it some reach the goal, and after it none

Judged is what follows the beginning that a pair's two paths share. The critique of a path says where its judging began
(tag `after`), for the same path may be in several pairs. "No error" is an answer, and `unknown` says that none was
found. By distance every action is labelled; the estimates `distance` hold the number itself.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Literal, NamedTuple

from msgspec.structs import replace

from errata.environments.hosts import reward
from errata.errors import WorldError
from errata.records.ids import digest
from errata.records.trajectory import Move, moves
from errata.records.types import (
    Additions,
    Attempt,
    Call,
    Critique,
    CritiqueSource,
    Episode,
    Estimate,
    Outcome,
    Step,
    Tag,
)
from errata.registry import Count, Most, PromptName, Role, StepName, Temperature, stage
from errata.stages.agent import Trajectory
from errata.stages.base import Context, gather, new_id, request_seed

AFTER = "after"
"""The tag that says from which step on a path was judged."""


class _Said(NamedTuple):
    """A judgement of one action."""

    outcome: Outcome
    text: str = ""
    call: Call | None = None
    seen: tuple[str, ...] = ()


@stage(version=1)
async def first_error(
    episode: Episode,
    ctx: Context,
    *,
    source: Literal["actor", "distance", "rollouts"] = "actor",
    of: StepName = "pair_paths",
    role: Role = "student",
    prompt: PromptName = "judge_step",
    temperature: Temperature | None = None,
    rollouts: Count = 4,
    depth: Count = 20,
    solve: PromptName = "solve",
    window: Most = 0,
) -> Additions:
    """Say where the rejected path of each pair by the step `of` first goes wrong, after what both paths share.

    actor: `role` is asked by `prompt`, whose field `verdict` is good, bad or uncertain; what cannot be read is
    uncertain. rollouts: `rollouts` continuations by `role`, under `solve`, of at most `depth` turns in all; estimates
    `mc_value`. A beginning is judged once, however many paths have it.
    """
    finder = _Finder(episode, ctx, role, prompt, temperature, rollouts, depth, solve, window)
    wanted = dict.fromkeys((p.rejected, p.step or 0) for p in episode.pairs if p.stage == of)
    numbers: dict[str, int] = {}
    places = []
    for id, start in wanted:
        places.append((episode.attempt(id), start, numbers.setdefault(id, 0)))
        numbers[id] += 1
    ways: dict[str, Callable[[Attempt, int, int], Awaitable[Critique]]] = {
        "actor": finder.by_actor, "distance": finder.by_distance, "rollouts": finder.by_rollouts,
    }  # fmt: skip
    tasks = {new_id(episode, ctx, a.id, k): ways[source](a, start, k) for a, start, k in places}
    made, drops = await gather(episode, ctx, tasks)  # type: ignore[arg-type]
    estimates = (*finder.estimates.values(), *finder.costs(made, role if source != "distance" else "world"))
    return Additions(critiques=tuple(made), estimates=estimates, drops=drops)


class _Finder:
    """The judgements of one episode, each made once."""

    def __init__(
        self, episode: Episode, ctx: Context, role: str, prompt: str, temperature: float | None, rollouts: int,
        depth: int, solve: str, window: int,
    ) -> None:  # fmt: skip
        self.episode, self.ctx, self.role = episode, ctx, role
        self.template, self.solve = ctx.prompt(prompt), ctx.prompt(solve)
        self.sampling: Mapping[str, float] = {} if temperature is None else {"temperature": temperature}
        self.rollouts, self.depth, self.window = rollouts, depth, window
        self.estimates: dict[tuple[str, str, int], Estimate] = {}
        self.asked: dict[str, int] = {}
        self._known: dict[str, asyncio.Task[_Said]] = {}
        self._values: dict[str, asyncio.Task[float]] = {}

    async def by_actor(self, attempt: Attempt, start: int, index: int) -> Critique:
        """Action after action, up to the first bad one."""
        labels: list[Outcome] = ["unknown"] * len(attempt.steps)
        said: list[_Said] = []
        for move in (m for m in moves(attempt.steps) if m.step >= start):
            said.append(await self._judged(attempt, move))
            labels[move.step] = said[-1].outcome
            if said[-1].outcome == "fail":
                break
        source: CritiqueSource = "student" if self.role == "student" else "judge"
        seen = tuple(sorted({name for s in said for name in s.seen}))
        last = said[-1] if said else _Said("unknown")
        return self._critique(attempt, start, index, source, labels, seen, text=last.text, call=last.call)

    async def _judged(self, attempt: Attempt, move: Move) -> _Said:
        """What the engine says of an action; the same beginning is shown once."""
        shown = _until(attempt, move)
        key = digest(beginning=[s.text for s in shown])
        if key not in self._known:
            self._known[key] = asyncio.ensure_future(self._ask(replace(attempt, steps=shown), key))
            self.asked[attempt.id] = self.asked.get(attempt.id, 0) + 1
        return await self._known[key]

    async def _ask(self, shown: Attempt, key: str) -> _Said:
        answer = await self.ctx.ask(
            self.role, self.template.render(self.episode.problem, shown),
            seed=request_seed(self.episode, self.ctx, key, 0), template=self.template.label,
            schema=self.template.schema, sampling=self.sampling,
        )  # fmt: skip
        told = self.template.values(answer.text) if answer.complete else None
        word = str((told or {}).get("verdict", "")).lower()
        outcome: Outcome = "fail" if word == "bad" else "pass" if word == "good" else "unknown"
        return _Said(outcome, answer.text, answer.call, answer.seen)

    async def by_distance(self, attempt: Attempt, start: int, index: int) -> Critique:
        """Every action, by whether the goal is further away after it. Raises WorldError where the world cannot tell."""
        session = await self.ctx.world(self.episode.problem)
        labels: list[Outcome] = ["unknown"] * len(attempt.steps)
        before = await session.distance()
        for move in moves(attempt.steps):
            if not move.observation:
                break  # the agent's own end
            await session.step(move.action)
            left = await session.distance()
            if before is None or left is None:
                raise WorldError("no_distance", f"{session.task.world} cannot tell how far the goal is")
            if move.step >= start:
                labels[move.step] = "fail" if left > before else "pass" if left < before else "unknown"
            self._estimate(attempt, "distance", move.step, left, 1, "world")
            before = left
        await session.close()
        return self._critique(attempt, start, index, "gold", labels, ("distance",))

    async def by_rollouts(self, attempt: Attempt, start: int, index: int) -> Critique:
        """Action after action, up to the first after which no continuation reaches the goal."""
        labels: list[Outcome] = ["unknown"] * len(attempt.steps)
        if not await self._value(attempt, attempt.steps[:start]):
            # From here the policy never reaches the goal: no action can be told to be wrong.
            return self._critique(attempt, start, index, "forks", labels, (), verdict="unknown")
        for move in (m for m in moves(attempt.steps) if m.step >= start and m.observation):
            value = await self._value(attempt, _until(attempt, move))
            self._estimate(attempt, "mc_value", move.step, value, self.rollouts, self.role)
            labels[move.step] = "pass" if value else "fail"
            if not value:
                break
        return self._critique(attempt, start, index, "forks", labels, ())

    async def _value(self, attempt: Attempt, steps: tuple[Step, ...]) -> float:
        """Share of the continuations of these steps that reach the goal."""
        key = digest(beginning=[s.text for s in steps])
        if key not in self._values:
            begun = replace(attempt, steps=steps)
            self._values[key] = asyncio.ensure_future(self._played(begun, key))
            self.asked[attempt.id] = self.asked.get(attempt.id, 0) + self.rollouts
        return await self._values[key]

    async def _played(self, begun: Attempt, key: str) -> float:
        problem, actions = self.episode.problem, [m.action for m in moves(begun.steps)]

        async def one(k: int) -> bool:
            session = await self.ctx.world(problem, actions)
            played = Trajectory(
                episode=self.episode, ctx=self.ctx, session=session, role=self.role, branch=key, k=k,
                steps=begun.steps, window=self.window, first=self.solve.render(problem), template=self.solve.label,
                sampling=self.sampling,
            )  # fmt: skip
            await played.run(self.depth - len(actions))
            await session.close()
            return reward(session) >= session.task.success

        return sum(await asyncio.gather(*(one(k) for k in range(self.rollouts)))) / self.rollouts

    def _critique(
        self, attempt: Attempt, start: int, index: int, source: CritiqueSource, labels: list[Outcome],
        seen: tuple[str, ...], *, verdict: Literal["error", "no_error", "unknown"] | None = None, text: str = "",
        call: Call | None = None,
    ) -> Critique:  # fmt: skip
        first = next((i for i, label in enumerate(labels) if label == "fail"), None)
        said = verdict or ("no_error" if first is None else "error")
        return Critique(
            id=new_id(self.episode, self.ctx, attempt.id, index), attempt=attempt.id, stage=self.ctx.stage, index=index,
            source=source, verdict=said, first_error=first, steps=tuple(labels), text=text, call=call, seen=seen,
            tags=(Tag(name=AFTER, value=str(start)),),
        )  # fmt: skip

    def _estimate(self, attempt: Attempt, name: str, step: int, value: float, n: int, engine: str) -> None:
        self.estimates[attempt.id, name, step] = Estimate(
            target=attempt.id, stage=self.ctx.stage, name=name, value=value, n=n, step=step, engine=engine
        )

    def costs(self, made: list[Critique], engine: str) -> tuple[Estimate, ...]:
        """`location_requests` of every path: what its answers cost, in requests; what another path paid for is none."""
        return tuple(
            Estimate(
                target=id, stage=self.ctx.stage, name="location_requests", value=float(self.asked.get(id, 0)), n=1,
                engine=engine,
            )
            for id in dict.fromkeys(c.attempt for c in made)
        )  # fmt: skip


def _until(attempt: Attempt, move: Move) -> tuple[Step, ...]:
    """The steps up to what the world answered to an action."""
    return tuple(s for s in attempt.steps if s.turn <= move.turn + 1)
