"""Have a student revise its attempt again and again, until there is a reason to stop; every state is an attempt.

Each revision is shown the state before it, and either the fixed words of a prompt or a critique of that state, which an
engine writes or which is the evidence of the verifier. Reasons
to stop, of those that `stop` names, in this order:

    pass         the verifier passes the state
    unchanged    it states the same answer as the state before it, or is the same text
    judge        the critic finds no error in it
    budget       the replies of this loop have `budget` tokens or more
    turns        there have been `turns` revisions; this one always holds
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from msgspec.structs import replace

from errata.errors import EngineError, RecipeError
from errata.prompts import Prompt
from errata.records.segment import Rule
from errata.records.types import Additions, Attempt, Critique, Drop, Episode, Message, Outcome, Problem, Tag, Verdict
from errata.registry import Count, Most, PromptName, Role, StepName, Temperature, stage
from errata.stages.base import Context, ask_attempt, chosen, gather, new_id, quarantined, request_seed, verdict_of
from errata.stages.evidence import evidence_of
from errata.verifiers.candidates import candidates

Stop = Literal["pass", "unchanged", "judge", "budget"]


@stage(version=1)
async def loop(
    episode: Episode,
    ctx: Context,
    *,
    role: Role = "student",
    prompt: PromptName = "try_again",
    critic: Role = "",
    critique: PromptName = "critique",
    of: StepName = "sample",
    outcome: Outcome | Literal["any"] = "any",
    most: Most = 0,
    turns: Count = 3,
    stop: tuple[Stop, ...] = ("pass",),
    budget: Most = 0,
    options: dict[str, Any] = {},
    steps: Rule = "lines",
    evidence: bool = False,
    history: bool = False,
    temperature: Temperature | None = None,
    rise: Temperature = 0.0,
    hottest: Temperature = 1.0,
) -> Additions:
    """Revise attempts up to `turns` times; a `critic`, if a role is named, criticises every state by `critique` first.

    Every state is judged with `options` and tagged with its `turn`, from 1; the last one with why it is (`stopped`).
    A prompt that names no critique is told nothing of what the critic says, which then only stops the loop. With
    `evidence` the critique is what the verifier says. With `history` a revision is shown all states before it and what
    was said of each, as one conversation. A `temperature` stands in for the engine's own, `rise` more for each revision
    of an attempt, and never more than `hottest`.
    """
    if evidence and critic:
        raise RecipeError(f"loop: the critique is the verifier's evidence or by the critic {critic}: take one of them")
    if rise and temperature is None:
        raise RecipeError("loop: a temperature that rises needs one to begin from: name `temperature`")
    if "judge" in stop and not critic:
        raise RecipeError("loop: to stop on a judge it needs a critic: name the role that plays it")
    if ("budget" in stop) != (budget > 0):
        raise RecipeError("loop: a budget of tokens and the reason `budget` in stop go together")
    ask = _Asks(
        ctx.prompt(prompt),
        ctx.prompt(critique) if critic else None,
        role,
        critic,
        steps,
        evidence,
        history,
        (temperature, rise, hottest),
    )
    loops = [
        (a, _Loop(episode, ctx, ask, stop, budget, turns, options))
        for a in chosen(episode, of=of, outcome=outcome, most=most)
    ]
    await gather(episode, ctx, {a.id: one.run(a) for a, one in loops})
    return Additions(
        attempts=tuple(x for _, one in loops for x in one.attempts),
        critiques=tuple(x for _, one in loops for x in one.critiques),
        verdicts=tuple(x for _, one in loops for x in one.verdicts),
        drops=tuple(x for _, one in loops for x in one.drops),
    )


@dataclass(frozen=True)
class _Asks:
    """Who is asked what."""

    revise: Prompt
    criticise: Prompt | None
    role: str
    critic: str
    steps: Rule
    evidence: bool
    history: bool
    heat: tuple[float | None, float, float]
    """Temperature to begin from, what each revision adds, and the highest."""

    def sampling(self, turn: int) -> dict[str, float]:
        """What stands in for the engine's own sampling at revision `turn`, from 1."""
        start, rise, hottest = self.heat
        return {} if start is None else {"temperature": round(min(max(start, hottest), start + rise * turn), 6)}


@dataclass
class _Loop:
    """The revisions of one attempt, one after the other, each made from the one before."""

    episode: Episode
    ctx: Context
    ask: _Asks
    stop: tuple[str, ...]
    budget: int
    turns: int
    options: Mapping[str, Any]
    attempts: list[Attempt] = field(default_factory=list)
    critiques: list[Critique] = field(default_factory=list)
    verdicts: list[Verdict] = field(default_factory=list)
    drops: list[Drop] = field(default_factory=list)
    tokens: int = 0
    shown: tuple[Message, ...] = ()
    """With `history`: the conversation up to the last request."""

    async def run(self, first: Attempt) -> None:
        verdict = self.episode.verdict(first.id)
        state, before, self.shown = first, None, self.episode.problem.messages
        for turn in range(1, self.turns + 1):
            reason, said = await self._reason(state, before, verdict, turn - 1)
            if reason:
                self._stopped(state, reason)
                return
            revised = await self._revise(state, said, turn, first.id)
            if revised is None:
                return
            verdict = await verdict_of(self.episode, self.ctx, revised, options=self.options)
            self.attempts.append(revised)
            self.verdicts.append(verdict)
            if not revised.complete:
                self.drops.append(
                    quarantined(self.episode, self.ctx, revised.id, "truncated", "no more turns follow it")
                )
                return
            before, state = state, revised
        reason = self._known(state, before, verdict) or "turns"
        self._stopped(state, reason)

    def _stopped(self, state: Attempt, reason: str) -> None:
        """Tag the last state with why it is the last; an attempt that was right from the start is another stage's."""
        if self.attempts and self.attempts[-1].id == state.id:
            self.attempts[-1] = replace(state, tags=(*state.tags, Tag(name="stopped", value=reason)))

    def _known(self, state: Attempt, before: Attempt | None, verdict: Verdict | None) -> str:
        """The first reason to stop that needs no one to be asked; empty for none."""
        if "pass" in self.stop and verdict is not None and verdict.outcome == "pass":
            return "pass"
        if "unchanged" in self.stop and before is not None and _same(self.episode.problem, before, state):
            return "unchanged"
        return "budget" if "budget" in self.stop and self.tokens >= self.budget else ""

    async def _reason(
        self, state: Attempt, before: Attempt | None, verdict: Verdict | None, turn: int
    ) -> tuple[str, Critique | None]:
        """(why to stop, or nothing; what the critic or the verifier says of the state, if it is asked)."""
        reason, said = self._known(state, before, verdict), None
        if not reason and self.ask.evidence:
            if verdict is None:
                raise RecipeError("loop: evidence is what the verifier says: `verify` the attempts before the loop")
            said = evidence_of(self.episode, self.ctx, state, verdict)
            self.critiques.append(said)
        elif not reason and self.ask.criticise is not None:
            said = await self._criticise(state, self.ask.criticise, turn)
            if said is None:
                reason = "lost"
            elif "judge" in self.stop and said.verdict == "no_error":
                reason = "judge"
        return reason, said

    async def _criticise(self, state: Attempt, template: Prompt, turn: int) -> Critique | None:
        id = new_id(self.episode, self.ctx, f"{state.id}:critique", turn)
        try:
            answer = await self.ctx.ask(
                self.ask.critic, template.render(self.episode.problem, state), template=template.label,
                seed=request_seed(self.episode, self.ctx, f"{state.id}:critique", turn), schema=template.schema,
            )  # fmt: skip
        except EngineError as error:
            self.drops.append(quarantined(self.episode, self.ctx, id, error.code, str(error)))
            return None
        self.tokens += answer.call.completion_tokens
        found, step = template.reading(answer.text) if answer.complete else ("unknown", None)
        if found == "unknown" or (step is not None and step > len(state.steps)):
            self.drops.append(quarantined(self.episode, self.ctx, id, "parse", answer.text[:200]))
            return None
        made = Critique(
            id=id, attempt=state.id, stage=self.ctx.stage, index=0, source="critic", verdict=found,  # type: ignore[arg-type]
            first_error=step, text=answer.text, call=answer.call, seen=answer.seen,
        )  # fmt: skip
        self.critiques.append(made)
        return made

    async def _revise(self, state: Attempt, said: Critique | None, turn: int, root: str) -> Attempt | None:
        shown = said if said is not None and "critique" in self.ask.revise.names else None
        asked = self.ask.revise.render(self.episode.problem, state, shown, index=turn - 1)
        if self.ask.history:
            asked = self.shown = (*self.shown, *_after(self.episode.problem, asked, self.ask.revise.name))
        try:
            revised = await ask_attempt(
                self.episode, self.ctx, asked, sampling=self.ask.sampling(turn),
                kind="revised", role=self.ask.role, branch=f"{root}:{turn}", k=0, steps=self.ask.steps,
                template=self.ask.revise.label, parent=state.id, critique=shown.id if shown else None,
                seen=tuple(sorted({*state.seen, *(shown.seen if shown else ())})),
                tags=(Tag(name="turn", value=str(turn)),),
            )  # fmt: skip
        except EngineError as error:
            id = new_id(self.episode, self.ctx, f"{root}:{turn}", 0)
            self.drops.append(quarantined(self.episode, self.ctx, id, error.code, str(error)))
            return None
        self.tokens += revised.call.completion_tokens if revised.call else 0
        return revised


def _after(problem: Problem, asked: tuple[Message, ...], name: str) -> tuple[Message, ...]:
    """What a prompt says after the problem's own messages."""
    n = len(problem.messages)
    if asked[:n] != problem.messages:
        raise RecipeError(f"loop: with history, the prompt {name} must begin with the problem's own messages")
    return asked[n:]


def _same(problem: Problem, a: Attempt, b: Attempt) -> bool:
    """Whether both state the same answer at their ends, or are the same text."""
    answers = [[c.value for c in candidates(problem, [s.text for s in x.steps])][-1:] for x in (a, b)]
    return a.text == b.text or (answers[0] == answers[1] != [])
