"""Go on from a wrong step: an analysis of what is wrong with it, then the correction, by a student or a teacher.

    the attempt's steps up to and including the wrong one | what a critique says of it | the solution from there on

Corrections by two writers of the same attempt from the same step share all that comes before the analysis, so that they
can be set against each other (SuperCorrect's cross-model pairs, arXiv:2410.09008). The wrong step is masked.
"""

from collections.abc import Sequence
from typing import Literal, NamedTuple

from msgspec.structs import replace

from errata.records.segment import Rule
from errata.records.types import Additions, Attempt, Critique, Drop, Episode, Step
from errata.registry import Count, Most, PromptName, Role, StepName, stage
from errata.stages.base import Context, ask_attempt, chosen, filtered, gather, located, new_id


@stage(version=1)
async def correct(
    episode: Episode,
    ctx: Context,
    *,
    role: Role = "teacher",
    prompt: PromptName = "revise",
    of: StepName = "sample",
    critique: StepName = "critique",
    at: tuple[str, ...] = ("teacher",),
    source: Literal["student", "teacher"] = "teacher",
    lead: str = "",
    most: Most = 0,
    n: Count = 1,
    steps: Rule = "lines",
) -> Additions:
    """Have `role` correct failed attempts from their first wrong step on, n times for each analysis by `critique`.

    The place is where the first of the sources `at` locates the error. The reply to `prompt`, which shows attempt and
    analysis, is begun with the right steps before it, word for word. An analysis that names another step, or none, is
    used unless its own source is the one that located the error.
    """
    template = ctx.prompt(prompt)
    found, drops = _found(episode, ctx, chosen(episode, of=of, outcome="fail", most=most), critique, at)
    asked = {new_id(episode, ctx, f.said.id, k): (f, k) for f in found for k in range(n)}
    tasks = {
        id: ask_attempt(
            episode, ctx, template.render(episode.problem, f.attempt, f.said, index=k), kind="spliced", role=role,
            branch=f.said.id, k=k, steps=steps, source=source, template=template.label,
            prefix=f.attempt.steps[: f.step], parent=f.attempt.id, critique=f.said.id, fork_step=f.step,
            style="correction", seen=(*f.attempt.seen, *f.said.seen, *f.place.seen),
        )
        for id, (f, k) in asked.items()
    }  # fmt: skip
    made, failed = await gather(episode, ctx, tasks)
    kept: list[Attempt] = []
    for reply in made:
        f, _ = asked[reply.id]
        if len(reply.steps) > f.step:
            kept.append(replace(reply, steps=_joined(f, reply, lead, source)))
        else:
            drops.append(filtered(episode, ctx, reply.id, "no_step", "the reply is empty"))
    return Additions(attempts=tuple(kept), drops=(*drops, *failed))


class _Found(NamedTuple):
    """An attempt, where it goes wrong and who says so, and the analysis to correct it by."""

    attempt: Attempt
    step: int
    place: Critique
    said: Critique


def _found(
    episode: Episode, ctx: Context, attempts: Sequence[Attempt], critique: str, at: tuple[str, ...]
) -> tuple[list[_Found], list[Drop]]:
    found: list[_Found] = []
    drops: list[Drop] = []
    for attempt in attempts:
        place = located(episode, attempt, at)
        step = place.first_error if place else None
        if place is None or step is None:
            drops.append(filtered(episode, ctx, attempt.id, "not_located", f"none of {', '.join(at)} names a step"))
        elif step >= len(attempt.steps):
            drops.append(filtered(episode, ctx, attempt.id, "no_wrong_step", "it goes wrong after its last step"))
        else:
            said = [c for c in episode.critiques if (c.attempt, c.stage) == (attempt.id, critique)]
            found += [
                _Found(attempt, step, place, c)
                for c in said
                if c.verdict != "unknown" and (c.source != place.source or c.first_error == step)
            ]
    return found, drops


def _joined(f: _Found, reply: Attempt, lead: str, source: Literal["student", "teacher"]) -> tuple[Step, ...]:
    """Right steps and the wrong one, the analysis on a line of its own, the reply from there on."""
    wrong = f.attempt.steps[f.step]
    text = f"{lead}{f.said.text.strip()}\n"
    analysis = Step(text=text if wrong.text.endswith("\n") else f"\n{text}", role="reflection", source=source)
    rest = tuple(replace(s, role="answer" if s.role == "answer" else "correction") for s in reply.steps[f.step :])
    return (*f.attempt.steps[: f.step], replace(wrong, role="reasoning", train=False), analysis, *rest)
