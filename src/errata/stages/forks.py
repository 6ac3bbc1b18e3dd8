"""Continuations of a prefix: how many pass tells whether the prefix can still be saved.

Shared by the stages that ask for them; it is no stage itself. A prefix is alive if any of its continuations passes
(`any`: Math-Shepherd's hard estimation, arXiv:2312.08935) or if a share of them does (`mean`).

With a `batch` the asking is adaptive. Continuations are asked for a few at a time, until the outcome of all K is
settled; one that begins with the attempt's own next steps counts for the longer prefixes too, as it is a sample of
them; and as alive prefixes are cheap then, a search tries more of them. Without, all K are asked for at once.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from errata.records.segment import Rule
from errata.records.types import Attempt, Critique, Drop, Episode, Estimate, Verdict
from errata.stages.base import Context, ask_attempt, gather, new_id, verdict_of

Found = tuple[Literal["error", "no_error", "unknown"], int | None]
"""What a search says, and the first wrong step."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Aliveness:
    """When a prefix counts as alive."""

    forks: int
    """Continuations of a prefix: K."""
    value: Literal["any", "mean"] = "any"
    threshold: float = 0.5
    """Share that must pass where `value` is the mean."""
    batch: int = 0
    """Continuations asked for at a time; 0 asks for all at once."""
    confirm: int = 0
    """Fresh continuations of the prefixes on both sides of the place that was found."""

    def settled(self, passed: int, left: int, total: int) -> bool | None:
        """Alive or dead, whatever the `left` continuations of `total` say; None while it depends on them."""
        least = 1 if self.value == "any" else max(1, math.ceil(self.threshold * total - 1e-9))
        if passed >= least:
            return True
        return False if passed + left < least else None

    @property
    def pivot(self) -> float:
        """Where between the last alive prefix and the first dead one to try next, as a share of the steps between.

        In the middle, where every prefix costs the same. Asked for a few at a time, an alive prefix costs a (its first
        success) and a dead one K: then the search is cheapest if it meets a dead prefix with the probability y^K, for
        the y that solves y^K + y^a = 1 (each answer is worth its cost).
        """
        alive = max(self.batch, 2 if self.value == "any" else math.ceil(self.threshold * self.forks))
        if not self.batch or alive >= self.forks:
            return 0.5
        low, high = 0.0, 1.0
        for _ in range(40):
            y = (low + high) / 2
            low, high = (low, y) if y**self.forks + y**alive > 1 else (y, high)
        return float(low**self.forks)


@dataclass(kw_only=True)
class Forks:
    """Continuations of one attempt's prefixes, numbered through over all of them, and what verifiers say."""

    episode: Episode
    ctx: Context
    parent: Attempt
    role: str
    solve: str
    options: Mapping[str, Any]
    steps: Rule
    stride: int
    """The most continuations that one prefix can have."""
    attempts: list[Attempt] = field(default_factory=list)
    verdicts: list[Verdict] = field(default_factory=list)
    drops: list[Drop] = field(default_factory=list)
    asked: dict[int, int] = field(default_factory=dict)
    """Requests by prefix."""
    lost: dict[int, int] = field(default_factory=dict)
    """Requests without a verdict, by prefix."""
    known: dict[int, list[bool]] = field(default_factory=dict)
    """Whether each continuation with a verdict passes, by prefix."""

    async def ask(self, at: int, n: int, shared: bool = False) -> None:
        """n more continuations of the first `at` steps; those without a verdict count for nothing.

        Where they are `shared`, one that begins with the attempt's own next steps counts for the longer prefixes too.
        """
        episode, ctx, parent = self.episode, self.ctx, self.parent
        template, branch = ctx.prompt(self.solve), f"{parent.id}:{at}"
        first = at * self.stride + self.asked.get(at, 0)
        # Numbered through over all prefixes, as all of them are attempts with the same parent.
        tasks = {
            new_id(episode, ctx, branch, k): ask_attempt(
                episode, ctx, template.render(episode.problem, index=k), kind="forked", role=self.role, branch=branch,
                k=k, steps=self.steps, template=template.label, prefix=parent.steps[:at],
                parent=parent.id, fork_step=at, seen=parent.seen,
            )
            for k in range(first, first + n)
        }  # fmt: skip
        made, drops = await gather(episode, ctx, tasks)
        verdicts = [await verdict_of(episode, ctx, a, options=self.options) for a in made]
        self.attempts += made
        self.verdicts += verdicts
        self.drops += drops
        self.asked[at] = self.asked.get(at, 0) + n
        known = [(a, v.outcome == "pass") for a, v in zip(made, verdicts, strict=True) if v.outcome != "unknown"]
        self.lost[at] = self.lost.get(at, 0) + n - len(known)
        for attempt, passed in known:
            for prefix in range(at, (self._follows(attempt, at) if shared else at) + 1):
                self.known.setdefault(prefix, []).append(passed)

    def _follows(self, fork: Attempt, at: int) -> int:
        """How many steps the fork has in common with its parent, from those that it was given on; never all."""
        most = min(len(fork.steps), len(self.parent.steps) - 1)
        same = (i for i in range(at, most) if fork.steps[i].text != self.parent.steps[i].text)
        return max(at, next(same, most))

    async def alive(self, at: int, rule: Aliveness, total: int) -> bool | None:
        """Whether the first `at` steps are alive by `total` continuations of them; None if none has a verdict.

        One that has no verdict, or whose request failed, leaves the sample smaller.
        """
        while True:
            known = self.known.get(at, [])
            left = max(0, total - len(known) - self.lost.get(at, 0))
            said = rule.settled(sum(known), left, len(known) + left)
            if not left or (said is not None and (rule.batch or at in self.asked)):
                return said if known else None
            await self.ask(at, min(left, rule.batch or left), shared=rule.batch > 0)

    def now(self, at: int, rule: Aliveness) -> bool | None:
        """Alive or dead by all that is known by now: shared continuations may have come since it was tried."""
        known = self.known.get(at)
        return rule.settled(sum(known), 0, len(known)) if known else None

    def share(self, at: int) -> float | None:
        """Share of the continuations that pass; None where no verdict is known."""
        known = self.known.get(at)
        return sum(known) / len(known) if known else None

    def estimates(self) -> list[Estimate]:
        """`mc_value` of each prefix: at step k, the share of continuations of the first k steps that pass.

        Where asking stopped at the first that passed, its share is larger than the chance to pass.
        """
        return [
            Estimate(
                target=self.parent.id, stage=self.ctx.stage, name="mc_value", value=sum(known) / len(known),
                n=len(known), step=at, engine=self.role,
            )
            for at, known in sorted(self.known.items())
            if known
        ]  # fmt: skip

    def critique(self, verdict: str, first: int | None) -> Critique:
        """The answer of a search; the verdicts that it rests on have seen the reference."""
        seen = {"reference", *(name for fork in self.attempts for name in fork.seen)}
        return Critique(
            id=new_id(self.episode, self.ctx, self.parent.id, 0), attempt=self.parent.id, stage=self.ctx.stage, index=0,
            source="forks", verdict=verdict, first_error=first, seen=tuple(sorted(seen)),  # type: ignore[arg-type]
        )  # fmt: skip


async def bisect(forks: Forks, rule: Aliveness) -> Found:
    """The step after which no prefix is alive: a dead prefix stays dead as it grows, so about log2(steps) are tried.

    Where prefixes are asked for a few continuations at a time, alive ones are cheap and tried more often (`pivot`).
    Where a prefix that was taken for dead turns out alive (`confirm`), the search goes on behind it: chance takes an
    alive prefix for dead where its continuations seldom pass. The search is OmegaPRM's (arXiv:2406.06592).
    """
    last = len(forks.parent.steps)
    total = dict.fromkeys(range(last), rule.forks)
    state: dict[int, bool] = {}
    at = 0
    while True:
        said = await forks.alive(at, rule, total[at])
        if said is None:
            return "unknown", None
        state[at] = said
        if at == 0 and not said:
            if total[0] == rule.forks and rule.confirm:
                total[0] += rule.confirm
                continue
            # The student cannot solve the problem from its start: no prefix can be told to be wrong.
            return "unknown", None
        state = {k: bool(forks.now(k, rule)) if rule.batch else ok for k, ok in state.items()}
        alive = max(k for k, ok in state.items() if ok)
        dead = min((k for k, ok in state.items() if not ok and k > alive), default=last)
        if dead - alive > 1:
            at = min(dead - 1, alive + max(1, int((dead - alive) * rule.pivot)))
            continue
        unsure = [k for k in (dead, alive) if 0 < k < last and total[k] == rule.forks]
        if not (rule.confirm and unsure):
            return "error", dead - 1
        at = unsure[0]
        total[at] += rule.confirm


async def scan(forks: Forks, rule: Aliveness, propagate_left: bool) -> Found:
    """Every prefix, from the last to the first: a label for each step.

    With `propagate_left` an alive prefix makes all before it alive, which are not asked for then (GLoRe's labels,
    arXiv:2402.10963): the first error follows the last alive prefix. Without it, the first dead prefix tells.
    """
    state: dict[int, bool | None] = {}
    for at in reversed(range(len(forks.parent.steps))):
        state[at] = await forks.alive(at, rule, rule.forks)
        if propagate_left and state[at]:
            return "error", max((k for k in state if rule.batch and forks.now(k, rule)), default=at)
        if propagate_left and state[at] is None:
            return "unknown", None
    if None in state.values() or not any(state.values()):
        return "unknown", None
    return "error", next((at for at in range(1, len(state)) if not state[at]), len(state)) - 1
