"""Make errors by rule in right attempts: marked as such, and kept only if the verifier proves them wrong.

Injected errors do not teach a model to correct its own (arXiv:2512.02389); they are one source among several, and a
control. The student continues from the wrong step itself, so that what follows the slip is its own.
"""

import random
import re
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

from errata.records.segment import Rule
from errata.records.types import Additions, Attempt, Drop, Episode, Injection, Step, Verdict
from errata.registry import Count, PromptName, Role, StepName, stage
from errata.stages.base import Context, ask_attempt, chosen, filtered, gather, new_id, rng, verdict_of

Kind = Literal["result", "operand", "operator"]
_NUMBER = re.compile(r"(?<![\w.])\d+(?![\w.]*\d)")
_OPERATORS = (("plus", "minus", "times"), ("+", "-", "*"))


@stage(version=1)
async def inject(
    episode: Episode,
    ctx: Context,
    *,
    role: Role = "student",
    of: StepName = "sample",
    kinds: tuple[Kind, ...] = ("result", "operand", "operator"),
    n: Count = 1,
    each: Count = 1,
    prompt: PromptName = "solve",
    options: dict[str, Any] = {},
    steps: Rule = "lines",
) -> Additions:
    """Change one step of n passing attempts by a rule; `role` goes on from there, and what still passes is dropped.

    With `each`, so many slips are drawn of every attempt, each in a copy of its own; the same slip is made once.
    `options` are the verifier's.
    """
    template = ctx.prompt(prompt)
    drops: list[Drop] = []
    tasks = {}
    drawn: set[tuple[str, Slip]] = set()
    for parent, k in ((a, k) for a in chosen(episode, of=of, outcome="pass", most=n) for k in range(each)):
        draw = rng(episode, ctx, f"{parent.id}:{k}" if k else parent.id)
        found = slip(draw, parent, kinds)
        id = new_id(episode, ctx, parent.id, k)
        if found and (parent.id, found) in drawn:
            continue
        if found is None:
            drops.append(filtered(episode, ctx, id, "no_room_for_a_slip"))
            continue
        drawn.add((parent.id, found))
        at = found.step
        original = parent.steps[at]
        wrong = Step(text=found.text, role=original.role, source="injector")
        tasks[id] = ask_attempt(
            episode, ctx, template.render(episode.problem), kind="injected", role=role, branch=parent.id, k=k,
            steps=steps, template=template.label, prefix=(*parent.steps[:at], wrong), unfinished=found.unfinished,
            parent=parent.id, fork_step=at,
            injection=Injection(kind=found.kind, step=at, original=original.text), seen=parent.seen,
        )  # fmt: skip
    made, failed = await gather(episode, ctx, tasks)
    kept: list[Attempt] = []
    verdicts: list[Verdict] = []
    for attempt in made:
        verdict = await verdict_of(episode, ctx, attempt, options=options)
        if verdict.outcome == "fail":
            kept.append(attempt)
            verdicts.append(verdict)
        else:
            drops.append(filtered(episode, ctx, attempt.id, "not_proven_wrong", f"the verifier says {verdict.outcome}"))
    return Additions(attempts=tuple(kept), verdicts=tuple(verdicts), drops=(*drops, *failed))


class Slip(NamedTuple):
    """One wrong step: its index, the rule that made it, and its text as far as the rule wrote it."""

    step: int
    kind: Kind
    text: str
    unfinished: bool
    """Whether the step ends with the slip, so that the student goes on within it and draws the wrong conclusion."""


def slip(draw: random.Random, attempt: Attempt, kinds: Sequence[Kind]) -> Slip | None:
    """A wrong result, or a wrong operand or operator to go on from; None where no step has room for one."""
    found = [s for i, step in enumerate(attempt.steps[:-1]) for kind in kinds if (s := _slip(draw, i, step.text, kind))]
    return draw.choice(found) if found else None


def _slip(draw: random.Random, at: int, text: str, kind: Kind) -> Slip | None:
    if kind == "operator":
        return _operator(draw, at, text)
    numbers = list(_NUMBER.finditer(text))
    if len(numbers) < (1 if kind == "result" else 2):
        return None
    found = numbers[-1] if kind == "result" else draw.choice(numbers[:-1])
    value = int(found[0])
    wrong = text[: found.start()] + str(value + draw.choice([d for d in (-2, -1, 1, 2) if value + d >= 0]))
    return Slip(at, kind, wrong + text[found.end() :], False) if kind == "result" else Slip(at, kind, wrong, True)


def _operator(draw: random.Random, at: int, text: str) -> Slip | None:
    """Another operator in the place of the step's last one, from which its result is computed."""
    for family in _OPERATORS:
        places = [found for word in family for found in re.finditer(rf"(?<!\S){re.escape(word)}(?!\S)", text)]
        if places:
            last = max(places, key=lambda found: found.start())
            other = draw.choice([word for word in family if word != last[0]])
            return Slip(at, "operator", text[: last.start()] + other, True)
    return None
