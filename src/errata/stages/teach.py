"""A teacher watches an agent act and corrects it on line, step by step (STeP, arXiv:2505.20023).

After every step of the agent the teacher, who knows a way to the goal, says whether it was right. If not, it writes
what the agent should think of it and the action that is executed next; then the agent goes on by itself. What comes of
it is an error, the world's answer, a reflection and a correction in one trajectory, the error kept from the loss.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

from msgspec.structs import replace

from errata.environments.base import DEAD_END
from errata.environments.hosts import done, reward
from errata.prompts import Prompt
from errata.records.trajectory import action_of
from errata.records.types import Additions, Attempt, Check, Drop, Episode, Estimate, Outcome, Step, Tag, Verdict
from errata.registry import Count, Most, PromptName, Role, Temperature, stage
from errata.stages.agent import Trajectory, next_turn, world_verdict
from errata.stages.base import Context, filtered, gather, new_id, quarantined, request_seed, shared_out
from errata.verifiers.grounding import ungrounded
from errata.verifiers.leak import leaked

VERSION = 1
_COUNTED = ("judged", "flagged", "false_alarms", "missed", "unread", "corrections")


class _Manner(NamedTuple):
    """How a teacher teaches; see the parameters of the stage."""

    role: str
    template: Prompt
    golden: tuple[str, ...]
    timing: Literal["after", "before"]
    window: int
    most: int
    oracle: bool
    missed: Literal["mask", "train"]
    thoughts: bool


@stage(version=VERSION)
async def teach(
    episode: Episode,
    ctx: Context,
    *,
    role: Role = "student",
    teacher: Role = "teacher",
    n: Count = 1,
    limit: Count = 20,
    window: Most = 0,
    teacher_window: Most = 0,
    most: Most = 4,
    judge_timing: Literal["after", "before"] = "after",
    oracle: bool = True,
    missed: Literal["mask", "train"] = "mask",
    thoughts: bool = True,
    share: tuple[float, float] = (0.0, 1.0),
    prompt: PromptName = "solve",
    judge: PromptName = "teach",
    see: tuple[Literal["gold_steps"], ...] = ("gold_steps",),
    temperature: Temperature | None = None,
) -> Additions:
    """Play n episodes of at most `limit` actions with a teacher at hand; keep what the world says is solved.

    The teacher is asked by `judge` after each action of the agent but one that ends the world, before or after it sees
    the world's answer (`judge_timing`); it is shown what `see` says and the latest `teacher_window` moves in full (0:
    all). After `most` corrections (0: any number) the next error ends the episode. With the `oracle`, where the world
    tells the distance to the goal, an action that reduces it is right whatever the teacher says, a correction must
    reduce it, and errors that the teacher lets pass are kept from the loss (`missed`: mask). `thoughts` lets the
    corrected action follow a thought.

    A text of the teacher's must be grounded (errata.verifiers.grounding) and give nothing away. What goes no further
    has a drop: irreversible, too_many_errors, wrong_correction, ungrounded, leak, not_solved, incomplete. Estimates
    count what was judged, flagged, ... (`_COUNTED`). Of the problems those in `share` are taught, as in `sample`.
    """
    if not shared_out(episode, ctx, share):
        return Additions()
    template = ctx.prompt(prompt)
    drawn = {} if temperature is None else {"temperature": temperature}

    async def one(k: int) -> "_Made":
        manner = _Manner(
            teacher, ctx.prompt(judge), await _golden(episode, ctx) if see else (), judge_timing, teacher_window, most,
            oracle, missed, thoughts,
        )  # fmt: skip
        played = Trajectory(
            episode=episode, ctx=ctx, session=await ctx.world(episode.problem), role=role, branch="", k=k,
            first=template.render(episode.problem, index=k), template=template.label, window=window, sampling=drawn,
        )  # fmt: skip
        lesson = _Lesson(played=played, manner=manner)
        while not (played.over or lesson.ended) and len(played.session.actions) < limit:
            await lesson.step()
        return await lesson.made()

    made, failed = await gather(episode, ctx, {new_id(episode, ctx, "", k): one(k) for k in range(n)})
    if not made:
        failed = (*failed, quarantined(episode, ctx, episode.id, failed[0].code, "every episode failed"))
    return Additions(
        attempts=tuple(m.attempt for m in made), verdicts=tuple(v for m in made for v in m.verdicts),
        estimates=tuple(e for m in made for e in m.estimates), drops=(*(d for m in made for d in m.drops), *failed),
    )  # fmt: skip


async def _golden(episode: Episode, ctx: Context) -> tuple[str, ...]:
    """The gold steps with what the world answers to each."""
    session = await ctx.world(episode.problem)
    told = [f"{action} -> {(await session.step(action)).observation}" for action in episode.problem.solution]
    await session.close()
    return tuple(told)


class _Made(NamedTuple):
    """What became of one episode."""

    attempt: Attempt
    verdicts: tuple[Verdict, ...]
    estimates: tuple[Estimate, ...]
    drops: tuple[Drop, ...]


@dataclass(kw_only=True)
class _Lesson:
    """An episode under way with its teacher."""

    played: Trajectory
    manner: _Manner
    first_error: int | None = None
    """Index of the first action that was corrected."""
    ended: tuple[str, str] | None = None
    """(code, detail) of what ends it too early."""
    counts: Counter[str] = field(default_factory=Counter)

    async def step(self) -> None:
        """One action of the agent's and, where the teacher says so, its correction."""
        played = self.played
        before = await played.session.distance()
        turn = await played.act(await played.ask())
        if not played.complete:
            return
        last = next_turn(played.steps) - (1 if turn is None else 2)
        stopped = turn is None
        if done(played.session) and reward(played.session) >= played.session.task.success:
            return
        now = await played.session.distance()
        if now == DEAD_END or done(played.session):
            self.ended = ("irreversible", played.session.actions[-1])
            return
        told = await self._judged(last)
        nearer = None if before is None or now is None else now < before
        flagged = told is not None and told["verdict"] == "wrong"
        self.counts.update(judged=1, flagged=flagged, unread=told is None)
        if flagged and nearer and self.manner.oracle:
            self.counts["false_alarms"] += 1
            return
        if not flagged:
            self.counts["missed"] += nearer is False
            if nearer is False and self.manner.oracle and self.manner.missed == "mask":
                self._mask(last)
            return
        self._mask(last)
        if stopped:  # an end that is taken back: the world is told, and answers that it knows no such action
            said = [s if s.role != "answer" else replace(s, role="action") for s in played.steps if s.turn == last]
            played.steps = tuple(s for s in played.steps if s.turn != last)
            await played.play(said, ends=False)
        if self.first_error is None:
            self.first_error = next(
                i for i, s in enumerate(played.steps) if s.turn == last and s.role == "action"
            )  # fmt: skip
        if self.manner.most and self.counts["corrections"] >= self.manner.most:
            self.ended = ("too_many_errors", f"more than {self.manner.most}")
            return
        await self._correct(told or {}, now)

    async def _judged(self, last: int) -> Mapping[str, Any] | None:
        """What the teacher says of the agent's turn `last`; None where nothing can be read."""
        played, manner = self.played, self.manner
        # An action that means to end the episode is one to be judged too.
        steps = [replace(s, role="action") if s.role == "answer" else s for s in played.steps]
        if manner.timing == "before":
            steps = [s for s in steps if s.turn <= last]
        if manner.window:  # of what is older, the actions alone
            old = last - 2 * manner.window + 1
            steps = [s for s in steps if s.turn > old or s.role in ("action", "correction")]
        shown = {"gold_steps": list(manner.golden)} if manner.golden else {}
        so_far = Attempt(id="", stage="", index=0, kind="sampled", steps=tuple(steps))
        answer = await played.ctx.ask(
            manner.role, manner.template.render(played.episode.problem, so_far, index=played.k, shown=shown),
            seed=request_seed(played.episode, played.ctx, f"teach/{last}", played.k),
            template=manner.template.label, schema=manner.template.schema,
        )  # fmt: skip
        played.calls = (*played.calls, answer.call)
        played.seen |= {*answer.seen, *(["gold_steps"] if manner.golden else [])}
        return manner.template.values(answer.text) if answer.complete else None

    def _mask(self, turn: int) -> None:
        """Keep what the agent said in a turn from the loss."""
        self.played.steps = tuple(replace(s, train=False) if s.turn == turn else s for s in self.played.steps)

    async def _correct(self, told: Mapping[str, Any], before: float | None) -> None:
        """Say and do what the teacher wrote, if it is fit to learn from."""
        played = self.played
        reflection, thought, action = (" ".join(told[name].split()) for name in ("reflection", "thought", "action"))
        text = f"Thought: {thought}\nAction: {action}" if thought and self.manner.thoughts else action
        said = f"{reflection}\n{text}"
        if not (reflection and action) or action_of(said) != action:
            self.ended = ("wrong_correction", f"nothing to be played: {said[:200]!r}")
            return
        known = [s.text for s in played.steps]
        problem, words = played.episode.problem, reflection + (f"\n{thought}" if text != action else "")
        if name := ungrounded(problem, words, [*known, action] if text != action else known):
            self.ended = ("ungrounded", f"{name!r} has not been seen: {words[:200]!r}")
            return
        if found := leaked(problem, reflection) or leaked(problem, words, [*known, action]):
            self.ended = ("leak", found)
            return
        turn = await played.play(
            (
                Step(text=f"{reflection}\n", role="reflection", source="teacher", turn=next_turn(played.steps)),
                Step(text=text, role="correction", source="teacher", turn=next_turn(played.steps)),
            )
        )
        self.counts["corrections"] += 1
        now = await played.session.distance()
        known_worse = self.manner.oracle and before is not None and now is not None and now >= before
        if turn is None or not turn.valid or known_worse:
            self.ended = ("wrong_correction", action if turn is None else f"{action}: {turn.observation}")

    async def made(self) -> _Made:
        """The trajectory, the world's verdict, what was counted, and why it goes no further if it does not."""
        played, ctx = self.played, self.played.ctx
        corrected = self.first_error is not None
        attempt = played.attempt(
            "revised" if corrected else "sampled", fork_step=self.first_error, style="reflection" if corrected else "",
            tags=(Tag(name="corrections", value=str(self.counts["corrections"])),),
        )  # fmt: skip
        verdict = await world_verdict(ctx, attempt, played.session)
        await played.session.close()
        ended = self.ended
        if ended is None and verdict.outcome != "pass":
            ended = ("incomplete", "a turn was cut") if not attempt.complete else ("not_solved", verdict.evidence)
        outcome: Outcome = "fail" if self.ended else "pass"
        check = Check(name=ended[0] if ended else "taught", outcome=outcome, detail=ended[1] if ended else "")
        fit = Verdict(
            target=attempt.id, stage=ctx.stage, verifier="filter", version=VERSION, outcome=outcome, checks=(check,),
        )  # fmt: skip
        judged = self.counts["judged"]
        return _Made(
            attempt, (verdict, fit),
            tuple(
                Estimate(
                    target=attempt.id, stage=ctx.stage, name=name, value=float(self.counts[name]), n=judged,
                    engine=self.manner.role,
                )
                for name in _COUNTED
            ),
            (filtered(played.episode, ctx, attempt.id, *ended),) if ended else (),
        )  # fmt: skip
