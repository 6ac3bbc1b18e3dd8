"""Have an attempt written by one that is shown what it will not see in training: the answer, a solution, a plan.

The hint is stripped when rows are made: they begin with the problem's own messages. What was shown is told in `seen`.
"""

from typing import Literal

from errata.records.segment import Rule
from errata.records.types import Additions, Episode, Tag
from errata.registry import Count, PromptName, Role, StepName, stage
from errata.stages.base import Context, ask_attempt, gather, new_id, planned, privileged, solved


@stage(version=1)
async def hint(
    episode: Episode,
    ctx: Context,
    *,
    prompt: PromptName,
    role: Role = "student",
    see: tuple[Literal["reference", "gold_steps"], ...] = (),
    notes: tuple[StepName, ...] = (),
    n: Count = 1,
    unless: tuple[StepName, ...] = (),
    tags: dict[str, str] = {},
    steps: Rule = "lines",
) -> Additions:
    """Sample n attempts, or n with each set of notes by the steps `notes`, under a prompt that shows what `see` names.

    `tags` label the attempts. Nothing is asked where an attempt by a step of `unless` is accepted.
    """
    if unless and solved(episode, unless):
        return Additions()
    template = ctx.prompt(prompt)
    shown = privileged(episode, see)
    labels = tuple(Tag(name=name, value=value) for name, value in tags.items())
    tasks = {}
    for i, earlier in (planned(episode, notes) if notes else {0: []}).items():
        texts = {"notes": {note.kind: note.text for note in earlier}}
        known = {*see, *(name for note in earlier for name in note.seen)}
        for k in range(i * n, (i + 1) * n):
            tasks[new_id(episode, ctx, "", k)] = ask_attempt(
                episode, ctx, template.render(episode.problem, index=k, shown=shown | texts), kind="hinted", role=role,
                branch="", k=k, steps=steps, template=template.label, seen=tuple(known), tags=labels,
            )  # fmt: skip
    made, drops = await gather(episode, ctx, tasks)
    return Additions(attempts=tuple(made), drops=drops)
