"""Have the student, or a teacher in its place, write an attempt anew, with a critique or told nothing."""

from typing import Literal

from errata.records.segment import Rule
from errata.records.types import Additions, Attempt, Critique, Episode, Outcome
from errata.registry import Count, Most, PromptName, Role, StepName, stage
from errata.stages.base import Context, ask_attempt, chosen, gather, new_id


@stage(version=1)
async def revise(
    episode: Episode,
    ctx: Context,
    *,
    role: Role = "student",
    prompt: PromptName = "revise",
    critique: StepName = "critique",
    of: StepName = "sample",
    outcome: Outcome | Literal["any"] = "fail",
    most: Most = 0,
    n: Count = 1,
    steps: Rule = "lines",
    source: Literal["student", "teacher"] = "student",
) -> Additions:
    """Ask for n revisions of each attempt; `critique` names the step whose critiques are shown, empty for none.

    `source` says whose words a revision's steps are.
    """
    template = ctx.prompt(prompt)
    attempts = chosen(episode, of=of, outcome=outcome, most=most)
    pairs: list[tuple[Attempt, Critique | None]] = [(a, None) for a in attempts]
    if critique:
        pairs = [
            (a, c)
            for a in attempts
            for c in episode.critiques
            if c.attempt == a.id and c.stage == critique and c.verdict != "unknown"
        ]
    tasks = {}
    for attempt, shown in pairs:
        branch = shown.id if shown else attempt.id
        for k in range(n):
            tasks[new_id(episode, ctx, branch, k)] = ask_attempt(
                episode,
                ctx,
                template.render(episode.problem, attempt, shown, index=k),
                kind="revised",
                role=role,
                branch=branch,
                k=k,
                steps=steps,
                source=source,
                template=template.label,
                parent=attempt.id,
                critique=shown.id if shown else None,
                # What the critic knew may have reached the student through the critique.
                seen=tuple(sorted({*attempt.seen, *(shown.seen if shown else ())})),
            )
    revised, drops = await gather(episode, ctx, tasks)
    return Additions(attempts=tuple(revised), drops=drops)
