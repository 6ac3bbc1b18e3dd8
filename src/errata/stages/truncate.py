"""Cut long traces where they have answered, so that a student learns with less reflection, or learns to stop.

    candidate    after the `at`-th answer on the way, from 0: its forward reasoning, then `at` reflections
                 (First Try Matters, arXiv:2510.08308)
    exact        after the `at`-th right answer of a trace that overthinks
                 (Self-Braking, SBT-E, arXiv:2505.14604: after the second solution)
    dynamic      walk on from the first right answer; at the step where the score of what was said so far reaches
                 `over`, the loss stops, and at `over` + `slack` the trace (SBT-D)

What is kept is the trace's own, character for character. After it may come a piece of what was cut off (masked, of the
role `tail`: context without which nothing would be there to stop), the fixed sentence `stop`, and the conclusion.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, Literal, NamedTuple

from msgspec.structs import replace

from errata.errors import RecipeError
from errata.records.segment import segment
from errata.records.types import Additions, Attempt, Drop, Episode, Outcome, Problem, Step, Tag
from errata.registry import Most, StepName, stage
from errata.stages.base import Context, chosen, filtered, new_id
from errata.verifiers.candidates import Candidate, candidates, thinking
from errata.verifiers.overthinking import BETA, MARKERS, overthinking

Rule = Literal["candidate", "exact", "dynamic"]


@stage(version=1)
async def truncate(
    episode: Episode,
    ctx: Context,
    *,
    of: StepName = "sample",
    outcome: Outcome | Literal["any"] = "pass",
    rule: Rule = "candidate",
    at: Most = 0,
    least: Most = 0,
    over: float = 0.2,
    slack: float = 0.05,
    tail: Most = 0,
    stop: str = "",
    close: str = "",
    conclusion: str = "The answer is {answer}",
    markers: tuple[str, ...] = MARKERS,
    beta: float = BETA,
    options: dict[str, Any] = {},
) -> Additions:
    """Cut attempts by `rule`; those with fewer than `least` answers are left out, so that cuts can be compared.

    `tail` sentences of what was cut stay, masked. The conclusion is the trace's own from the tag `close` on where it
    concludes the same; else it is that tag and `conclusion`, where {answer} stands for the answer that was cut after.
    `options` are the verifier's, for which answers on the way are right.
    """
    if not 0 < over < 1 or slack < 0:
        raise RecipeError(f"truncate: over is {over}, slack {slack}: over lies between 0 and 1, slack is not below 0")
    cut = _Rule(rule, at, over, slack, markers, beta)
    made: list[Attempt] = []
    drops: list[Drop] = []
    for attempt in chosen(episode, of=of, outcome=outcome):
        id = new_id(episode, ctx, attempt.id, 0)
        parts = thinking(attempt.steps, close)
        if parts is None or not attempt.complete:
            code = "no_close_tag" if attempt.complete else "incomplete"
            drops.append(filtered(episode, ctx, id, code, f"{attempt.id}: {close!r}"))
            continue
        thought, ended = parts
        found = candidates(episode.problem, [s.text for s in thought])
        if len(found) < max(1, least):
            drops.append(filtered(episode, ctx, id, "few_candidates", f"{attempt.id}: {len(found)} answers on the way"))
            continue
        right = [(await ctx.judge(episode.problem, c.statement, "", options)).outcome == "pass" for c in found]
        place = cut.place(thought, found, right)
        if isinstance(place, str):
            drops.append(filtered(episode, ctx, id, place, attempt.id))
            continue
        words = conclusion.replace("{answer}", place.answer)
        steps = _steps(episode.problem, place, thought, ended, tail, stop, close, words)
        tags = (Tag(name="cut", value=rule), Tag(name="reflections", value=str(place.reflections)))
        made.append(
            Attempt(
                id=id, stage=ctx.stage, index=0, kind="truncated", steps=steps, parent=attempt.id,
                fork_step=place.kept, seen=attempt.seen, tags=(*attempt.tags, *tags),
            )
        )  # fmt: skip
    return Additions(attempts=tuple(made), drops=tuple(drops))


class Place(NamedTuple):
    """Where a trace is cut."""

    kept: int
    """Steps that stay."""
    stopped: int
    """One past the steps that stay masked; `kept` where none do."""
    answer: str
    reflections: int
    """Answers among the kept steps after the first one."""


class _Rule(NamedTuple):
    """A rule with its parameters; `place` applies it, or says why it cannot."""

    rule: Rule
    at: int
    over: float
    slack: float
    markers: Sequence[str]
    beta: float

    def place(self, thought: Sequence[Step], found: Sequence[Candidate], right: Sequence[bool]) -> Place | str:
        texts = [s.text for s in thought]
        solutions = [c for c, is_right in zip(found, right, strict=True) if is_right or self.rule == "candidate"]
        if not solutions:
            return "none_right"
        if self.rule != "candidate" and self._score(solutions[0], texts) <= self.over:
            return "not_overthinking"
        if self.rule == "dynamic":
            kept, stopped = self._walk(solutions[0], texts)
        elif len(solutions) <= self.at:
            return "few_candidates"
        else:
            kept = stopped = solutions[self.at].last + 1
        # The last solution that is kept whole: a cut may fall in the middle of the next one.
        answer = [c for c in solutions if c.last < kept][-1]
        return Place(kept, stopped, answer.value, sum(c.last < kept for c in found) - 1)

    def _score(self, first: Candidate, texts: Sequence[str]) -> float:
        return overthinking(first.last + 1, texts, self.markers, self.beta)

    def _walk(self, first: Candidate, texts: Sequence[str]) -> tuple[int, int]:
        """(steps up to the one that reaches `over`, steps up to the one that reaches `over` + `slack` or the end)."""
        scores = {k: self._score(first, texts[:k]) for k in range(first.last + 1, len(texts) + 1)}
        kept = next(k for k, score in scores.items() if score >= self.over)
        return kept, next((k for k, score in scores.items() if score >= self.over + self.slack), len(texts))


def _steps(
    problem: Problem, place: Place, thought: Sequence[Step], ended: Sequence[Step], tail: int, stop: str, close: str,
    words: str,
) -> tuple[Step, ...]:  # fmt: skip
    """The cut trace: kept steps, masked tail, the sentence that stops, the conclusion."""
    kept = [*thought[: place.kept]]
    masked = list(thought[place.kept : place.stopped])
    rest = "".join(s.text for s in thought[place.stopped :])
    masked += [Step(text=t, source=thought[-1].source) for t in segment(rest, "sentences")[:tail]]
    steps = [*kept, *(replace(s, role="tail", train=False) for s in masked)]
    if stop:
        steps.append(Step(text=stop, role="reflection", source="template"))
    own = candidates(problem, [s.text for s in ended])
    if ended and own and own[-1].value == place.answer:
        steps += ended
    elif close or steps[-1].text.strip() != words:
        steps.append(Step(text=close + ("\n\n" if close else "") + words, role="answer", source="template"))
    return _lines(steps)


def _lines(steps: Sequence[Step]) -> tuple[Step, ...]:
    """Words that were put in stand on lines of their own; the text ends with its last word."""
    joined = [
        replace(a, text=f"{a.text}\n") if "template" in (a.source, b.source) and not a.text.endswith("\n") else a
        for a, b in pairwise(steps)
    ]
    return (*joined, replace(steps[-1], text=steps[-1].text.rstrip()))
