"""Make errors by rule in right attempts: marked as such, and kept only if the verifier proves them wrong.

Injected errors do not teach a model to correct its own (arXiv:2512.02389); they are one source among several, and a
control. The student continues from the wrong step itself, so that what follows the slip is its own.
"""

import random
import re
from dataclasses import replace
from typing import Literal

from errata.records.segment import Rule
from errata.records.types import Additions, Attempt, Drop, Episode, Injection, Step, Verdict
from errata.registry import PromptName, Role, StepName, stage
from errata.stages.base import Context, ask_attempt, chosen, filtered, gather, new_id, rng, verdict_of

Kind = Literal["result", "operand", "operator"]
_NUMBER = re.compile(r"(?<![\w.])\d+(?![\w.]*\d)")
_OPERATORS = (("plus", "minus", "times"), (" + ", " - ", " * "))


@stage(version=1)
async def inject(
    episode: Episode,
    ctx: Context,
    *,
    role: Role = "student",
    of: StepName = "sample",
    kinds: tuple[Kind, ...] = ("result", "operand", "operator"),
    n: int = 1,
    prompt: PromptName = "solve",
    steps: Rule = "lines",
) -> Additions:
    """Change one step of n passing attempts by a rule; `role` goes on from there, and what still passes is dropped."""
    template = ctx.prompt(prompt)
    drops: list[Drop] = []
    tasks = {}
    for parent in chosen(episode, of=of, outcome="pass", most=n):
        draw = rng(episode, ctx, parent.id)
        found = slip(draw, parent, kinds)
        id = new_id(episode, ctx, parent.id, 0)
        if found is None:
            drops.append(filtered(episode, ctx, id, "no_room_for_a_slip"))
            continue
        at, kind, text = found
        original = parent.steps[at]
        wrong = Step(text=text, role=original.role, source="injector")
        if not text.endswith("\n"):
            wrong = replace(wrong, text=text + "\n")
        tasks[id] = ask_attempt(
            episode, ctx, template.render(episode.problem), kind="injected", role=role, branch=parent.id, k=0,
            steps=steps, template=template.label, prefix=(*parent.steps[:at], wrong), parent=parent.id, fork_step=at,
            injection=Injection(kind=kind, step=at, original=original.text), seen=parent.seen,
        )  # fmt: skip
    made, failed = await gather(episode, ctx, tasks)
    kept: list[Attempt] = []
    verdicts: list[Verdict] = []
    for attempt in made:
        verdict = await verdict_of(episode, ctx, attempt)
        if verdict.outcome == "fail":
            kept.append(attempt)
            verdicts.append(verdict)
        else:
            drops.append(filtered(episode, ctx, attempt.id, "not_proven_wrong", f"the verifier says {verdict.outcome}"))
    return Additions(attempts=tuple(kept), verdicts=tuple(verdicts), drops=(*drops, *failed))


def slip(draw: random.Random, attempt: Attempt, kinds: tuple[Kind, ...]) -> tuple[int, Kind, str] | None:
    """(step, kind, new text) of one slip, or None where no step has room for one."""
    places = [(i, kind) for i, step in enumerate(attempt.steps[:-1]) for kind in kinds if _change(draw, step.text, kind)]
    if not places:
        return None
    at, kind = draw.choice(places)
    text = _change(draw, attempt.steps[at].text, kind)
    return (at, kind, text) if text else None


def _change(draw: random.Random, text: str, kind: Kind) -> str | None:
    if kind == "operator":
        for family in _OPERATORS:
            here = [(text.index(word), word) for word in family if word in text]
            if here:
                at, word = min(here)
                other = draw.choice([w for w in family if w != word])
                # The last mention is the one that the result is computed from.
                at = text.rindex(word)
                return text[:at] + other + text[at + len(word) :]
        return None
    numbers = list(_NUMBER.finditer(text))
    if len(numbers) < (1 if kind == "result" else 2):
        return None
    found = numbers[-1] if kind == "result" else draw.choice(numbers[:-1])
    value = int(found[0])
    wrong = value + draw.choice([d for d in (-2, -1, 1, 2) if value + d >= 0])
    return text[: found.start()] + str(wrong) + text[found.end() :]
