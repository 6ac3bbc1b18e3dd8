"""Ask the student, or a teacher in its place, for several attempts at the problem."""

from typing import Literal

from errata.records.segment import Rule
from errata.records.types import Additions, Episode, Tag
from errata.registry import Count, PromptName, Role, StepName, Temperature, stage
from errata.stages.base import Context, ask_attempt, chosen, gather, new_id, quarantined, shared_out


@stage(version=1)
async def sample(
    episode: Episode,
    ctx: Context,
    *,
    role: Role = "student",
    n: Count = 4,
    prompt: PromptName = "solve",
    steps: Rule = "lines",
    source: Literal["student", "teacher"] = "student",
    share: tuple[float, float] = (0.0, 1.0),
    logprobs: bool = False,
    temperature: Temperature | None = None,
    hard: StepName = "",
    below: float = 0.5,
) -> Additions:
    """Sample n attempts at the problem from the engine that plays `role`; a teacher's are of the kind `expert`.

    Every problem has a place from 0 to 1, drawn once a run: those outside `share` are passed over, so that two steps
    with shares that do not meet work on different problems. With `hard`, a step that has sampled before, only problems
    are sampled where the share of its attempts that pass is less than `below`: more attempts at harder ones. With
    `logprobs`, attempts hold those of their tokens too. A `temperature` stands in for the engine's own, and in the tags
    of the attempts.
    """
    if not shared_out(episode, ctx, share):
        return Additions()
    if hard:
        known = [o for a in chosen(episode, of=hard, outcome="any") if (o := episode.outcome(a.id)) != "unknown"]
        if not known or known.count("pass") / len(known) >= below:
            return Additions()
    template = ctx.prompt(prompt)
    drawn = {} if temperature is None else {"temperature": temperature}
    tags = tuple(Tag(name=name, value=f"{value:g}") for name, value in drawn.items())
    tasks = {
        new_id(episode, ctx, "", k): ask_attempt(
            episode, ctx, template.render(episode.problem, index=k),
            kind="expert" if source == "teacher" else "sampled", role=role, branch="", k=k, steps=steps,
            source=source, template=template.label, logprobs=logprobs, sampling=drawn, tags=tags,
        )
        for k in range(n)
    }  # fmt: skip
    attempts, drops = await gather(episode, ctx, tasks)
    if not attempts:
        drops = (
            *drops,
            quarantined(episode, ctx, episode.id, drops[0].code if drops else "no_attempt", "every sample failed"),
        )
    return Additions(attempts=tuple(attempts), drops=drops)
