"""Have a strong model write one answer from several attempts, and tell how far each attempt agrees with what it writes.

No label of correctness is needed: the estimate `consistency` of an attempt is the share of the strong model's answers
that state the same answer. What states none has no estimate.
"""

from collections import Counter

from errata.records.segment import Rule
from errata.records.types import Additions, Attempt, Episode, Estimate
from errata.registry import Count, Most, PromptName, Role, StepName, stage
from errata.stages.base import Context, ask_attempt, chosen, filtered, gather, new_id
from errata.verifiers.candidates import candidates


@stage(version=1)
async def combine(
    episode: Episode,
    ctx: Context,
    *,
    role: Role = "teacher",
    prompt: PromptName = "combine",
    of: StepName = "sample",
    most: Most = 0,
    n: Count = 1,
    steps: Rule = "lines",
) -> Additions:
    """Ask `role` for n answers, each shown the whole attempts of the step `of` (at most `most`; 0: all) in order."""
    shown = [a for a in chosen(episode, of=of, outcome="any") if a.complete][: most or None]
    if not shown:
        drop = filtered(episode, ctx, new_id(episode, ctx, "", 0), "nothing_to_combine", f"no whole attempt of {of}")
        return Additions(drops=(drop,))
    template = ctx.prompt(prompt)
    seen = tuple(sorted({name for a in shown for name in a.seen}))
    tasks = {
        new_id(episode, ctx, "", k): ask_attempt(
            episode, ctx, template.render(episode.problem, shown[-1], index=k, shown={"attempts": shown}),
            kind="revised", role=role, branch="", k=k, steps=steps, source="teacher", template=template.label,
            parent=shown[-1].id, seen=seen,
        )
        for k in range(n)
    }  # fmt: skip
    made, drops = await gather(episode, ctx, tasks)
    return Additions(attempts=tuple(made), drops=drops, estimates=_consistency(episode, ctx, shown, made))


def _consistency(episode: Episode, ctx: Context, shown: list[Attempt], answers: list[Attempt]) -> tuple[Estimate, ...]:
    stated = {a.id: _answer(episode, a) for a in (*shown, *answers)}
    votes = Counter(v for a in answers if a.complete and (v := stated[a.id]) is not None)
    return tuple(
        Estimate(
            target=id, stage=ctx.stage, name="consistency", value=votes[value] / votes.total(), n=votes.total(),
            engine=answers[0].call.engine if answers[0].call else "",
        )
        for id, value in stated.items()
        if value is not None and votes
    )  # fmt: skip


def _answer(episode: Episode, attempt: Attempt) -> str | None:
    """The last answer that an attempt states."""
    found = candidates(episode.problem, [s.text for s in attempt.steps])
    return found[-1].value if found else None
