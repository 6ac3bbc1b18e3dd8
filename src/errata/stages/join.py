"""Join several whole attempts of one problem into one text.

    trace      an attempt and all that it was revised into, in one turn, with words of reflection between them: a long
               trace that answers, doubts itself and answers again
    thoughts   several attempts as thoughts, masked; then the fixed request `feedback`, then a last answer, trained
               (Progressive Thought Refinement, arXiv:2410.13413)
    turns      an attempt and all that it was revised into, a turn each, masked but for the last; between two stands the
               feedback that the second was made with (ISR-LLM, arXiv:2308.13724). All but the last are known wrong

Every attempt stands in it character for character but for white space at its end.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import Literal

from msgspec.structs import replace

from errata.errors import RecipeError
from errata.records.types import Additions, Attempt, Drop, Episode, Outcome, Step, Tag
from errata.registry import Count, Most, PromptName, StepName, stage
from errata.stages.base import Context, chosen, filtered, new_id

LEADS = (
    "Wait, let me check that once more.",
    "But I should not trust it yet: another way is better.",
    "Alternatively, I go through it again from the start.",
)


@stage(version=1)
async def join(
    episode: Episode,
    ctx: Context,
    *,
    style: Literal["trace", "thoughts", "turns"] = "trace",
    of: StepName = "sample",
    last: StepName = "loop",
    outcome: Outcome | Literal["any"] = "any",
    least: Count = 1,
    leads: tuple[str, ...] = LEADS,
    feedback: PromptName = "improve",
    rising: str = "",
    most: Most = 1,
) -> Additions:
    """Join what the step `of` made with what the step `last` made of it, where `last` has this outcome.

    A trace or turns need at least `least` revisions, a row of thoughts as many thoughts. `leads` are taken in turn. The
    feedback of turns is the last message of that prompt, or without one the critique's own words. Where
    `rising` names an estimate, thoughts and answer must have it and it must never fall from one to the next; of several
    answers the `most` best are taken (0: all).
    """
    if style == "trace" and not leads:
        raise RecipeError("join: a trace needs words between its attempts: name at least one lead")
    if style == "thoughts":
        lines = _answers(episode, of, last, outcome, rising)
    else:
        lines = _chains(episode, of, last, outcome if style == "trace" else "any")
    made: list[Attempt] = []
    drops: list[Drop] = []
    for whole in lines[:most] if style == "thoughts" and most else lines:
        first, final = whole[0], whole[-1]
        id = new_id(episode, ctx, f"{first.id}:{final.id}", 0)
        fault = _fault(episode, whole, least, rising)
        if style == "turns":
            fault = _unfit(episode, whole, outcome) or fault
        if fault:
            drops.append(filtered(episode, ctx, id, *fault))
            continue
        if style == "trace":
            steps = _trace(whole, leads)
        elif style == "turns":
            steps = _turns(whole, [_between(episode, ctx, a, b, feedback) for a, b in pairwise(whole)])
        else:
            asked = ctx.prompt(feedback).render(episode.problem, whole[-2])[-1].content
            steps = _thoughts(whole[:-1], asked, final)
        made.append(
            Attempt(
                id=id, stage=ctx.stage, index=0, kind="spliced", steps=steps, style=style,
                parent=whole[-2].id if style == "thoughts" else first.id, other=final.id,
                seen=tuple(sorted({name for a in whole for name in a.seen} | _quoted(episode, whole, style))),
                tags=(Tag(name="joined", value=str(len(whole))),),
            )
        )  # fmt: skip
    return Additions(attempts=tuple(made), drops=tuple(drops))


def _chains(episode: Episode, of: str, last: str, outcome: Outcome | Literal["any"]) -> list[list[Attempt]]:
    """Every attempt of `of` that was revised, with its revisions by `last` in order up to one that none revises."""
    by_id = {a.id: a for a in episode.attempts}
    revised = {a.parent for a in episode.attempts if a.stage == last}
    lines = []
    for leaf in chosen(episode, of=last, outcome=outcome):
        line = [leaf]
        while line[0].stage == last and line[0].parent in by_id:
            line.insert(0, by_id[line[0].parent])
        if leaf.id not in revised and line[0].stage == of:
            lines.append(line)
    return lines


def _answers(
    episode: Episode, of: str, last: str, outcome: Outcome | Literal["any"], rising: str
) -> list[list[Attempt]]:
    """All attempts of `of` with each answer by `last`, the one with the highest estimate first."""
    thoughts = [a for a in chosen(episode, of=of, outcome="any") if a.complete]
    answers = chosen(episode, of=last, outcome=outcome)
    if rising:
        answers = tuple(sorted(answers, key=lambda a: -(episode.estimate(a.id, rising) or 0.0)))
    return [[*thoughts, answer] for answer in answers]


def _fault(episode: Episode, whole: Sequence[Attempt], least: int, rising: str) -> tuple[str, str] | None:
    """(code, detail) of what is wrong with such a line of attempts."""
    if not all(a.complete and a.steps for a in whole):
        return "incomplete", "an attempt was cut by its length limit, or is empty"
    if len(whole) - 1 < least:
        return "too_few", f"{len(whole) - 1} of at least {least}"
    if rising:
        values = [episode.estimate(a.id, rising) for a in whole]
        told = ", ".join("-" if v is None else f"{v:.2f}" for v in values)
        known = [v for v in values if v is not None]
        if len(known) < len(values):
            return "quality_unknown", f"{rising}: {told}"
        if known != sorted(known):
            return "quality_falls", f"{rising}: {told}"
    return None


def _unfit(episode: Episode, whole: Sequence[Attempt], outcome: Outcome | Literal["any"]) -> tuple[str, str] | None:
    """(code, detail) of what keeps a line of attempts from being a correction of wrong ones."""
    evidence = {v.target: v.evidence for v in episode.verdicts if v.verifier == episode.problem.verifier}
    said = [episode.outcome(a.id) for a in whole]
    if "unknown" in said:
        i = said.index("unknown")
        return "unread", f"{episode.problem.origin}: attempt {i} of {len(whole)}: {evidence.get(whole[i].id, '')}"
    if outcome not in (said[-1], "any"):
        return "not_accepted", f"{len(whole)} attempts, the last one is {said[-1]}: {evidence.get(whole[-1].id, '')}"
    for i, (a, before) in enumerate(zip(whole[:-1], said, strict=False)):
        if before != "fail":
            return "not_wrong", f"attempt {i} of {len(whole)} is {before}: {evidence.get(a.id, '')}"
        if whole[i + 1].critique is None:
            return "no_feedback", f"attempt {i + 1} of {len(whole)} was made without a critique"
    return None


def _between(episode: Episode, ctx: Context, before: Attempt, after: Attempt, prompt: str) -> Step:
    """What stands between two attempts; the words of a verifier are the world's own, and no one's who knows more."""
    critique = episode.critique(after.critique or "")
    text = ctx.prompt(prompt).render(episode.problem, before, critique)[-1].content if prompt else critique.text
    if critique.source == "verifier":
        return Step(text=text, role="observation", source="environment", train=False)
    return Step(text=text, role="feedback", source="template", train=False)


def _quoted(episode: Episode, whole: Sequence[Attempt], style: str) -> set[str]:
    """What the makers of the critiques that are quoted had seen."""
    shown = {a.critique for a in whole if style == "turns"}
    return {name for c in episode.critiques if c.id in shown for name in c.seen}


def _turns(whole: Sequence[Attempt], between: Sequence[Step]) -> tuple[Step, ...]:
    steps: list[Step] = []
    for i, attempt in enumerate(whole):
        final = i == len(whole) - 1
        steps += [replace(step, train=step.train and final, turn=2 * i) for step in attempt.steps]
        if not final:
            steps.append(replace(between[i], turn=2 * i + 1))
    return tuple(steps)


def _trace(whole: Sequence[Attempt], leads: Sequence[str]) -> tuple[Step, ...]:
    steps: list[Step] = []
    for i, attempt in enumerate(whole):
        final = i == len(whole) - 1
        for step in _ended(attempt, "" if final else "\n"):
            role = step.role if final and step.role == "answer" else "correction" if i else "reasoning"
            steps.append(replace(step, role=role, turn=0))
        if not final:
            steps.append(Step(text=f"{leads[i % len(leads)]}\n", role="reflection", source="template"))
    return tuple(steps)


def _thoughts(thoughts: Sequence[Attempt], asked: str, final: Attempt) -> tuple[Step, ...]:
    before = [
        replace(step, role="thought", train=False, turn=0)
        for i, a in enumerate(thoughts)
        for step in _ended(a, "" if i == len(thoughts) - 1 else "\n\n")
    ]
    return (
        *before,
        Step(text=asked, role="feedback", source="template", train=False, turn=1),
        *(replace(s, turn=2, train=True) for s in final.steps),
    )


def _ended(attempt: Attempt, end: str) -> tuple[Step, ...]:
    """The steps of an attempt, whose text ends with `end` where it ended in white space or nothing."""
    *rest, tail = attempt.steps
    return (*rest, replace(tail, text=tail.text.rstrip() + end))
