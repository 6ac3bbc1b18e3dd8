"""Write a correction out as a conversation: an attempt, feedback on it and the refined attempt, each its own turn.

    problem | attempt | "give feedback" | the feedback | "refine" | the refined attempt

The first attempt is context; feedback and refinement are trained. So a model learns both skills from one row: to say
what is wrong, and to use what was said (SELF's meta-skills, arXiv:2310.00533).
"""

from msgspec.structs import replace

from errata.records.types import Additions, Attempt, Drop, Episode, Step
from errata.registry import Most, PromptName, StepName, stage
from errata.stages.base import Context, chosen, filtered, new_id


@stage(version=1)
async def dialogue(
    episode: Episode,
    ctx: Context,
    *,
    of: StepName = "revise",
    feedback: PromptName = "critique",
    refine: PromptName = "refine",
    mask: bool = True,
    most: Most = 0,
) -> Additions:
    """Join accepted revisions by `of`, made with a critique, to a conversation of three assistant turns.

    The user asks with the last turns of the prompts `feedback` and `refine`. `mask` keeps the first attempt from the
    loss; feedback that names an error in an attempt that passes, or finds none in one that fails, is dropped.
    """
    made: list[Attempt] = []
    drops: list[Drop] = []
    for second in chosen(episode, of=of, outcome="pass"):
        if second.parent is None or second.critique is None or not episode.accepts(second):
            continue
        first, said = episode.attempt(second.parent), episode.critique(second.critique)
        id = new_id(episode, ctx, second.id, 0)
        truth = {"pass": "no_error", "fail": "error"}.get(episode.outcome(first.id))
        if not first.complete or said.verdict != truth:
            why = f"the verdict is {episode.outcome(first.id)}, the feedback says {said.verdict}"
            drops.append(filtered(episode, ctx, id, "feedback_wrong", why))
            continue
        if most and len(made) >= most:
            drops.append(filtered(episode, ctx, id, "enough", f"{most} a problem"))
            continue
        asks = [ctx.prompt(p).render(episode.problem, first, said)[-1].content for p in (feedback, refine)]
        steps = (
            *(replace(s, turn=0, train=s.train and not mask) for s in first.steps),
            Step(text=asks[0], role="feedback", source="template", train=False, turn=1),
            Step(text=said.text.strip(), role="critique", source="teacher", turn=2),
            Step(text=asks[1], role="feedback", source="template", train=False, turn=3),
            *(replace(s, turn=4, role="answer" if s.role == "answer" else "correction") for s in second.steps),
        )
        made.append(
            Attempt(
                id=id, stage=ctx.stage, index=0, kind="spliced", steps=steps, parent=first.id, other=second.id,
                critique=said.id, style="dialogue", seen=tuple(sorted({*first.seen, *second.seen, *said.seen})),
            )
        )  # fmt: skip
    return Additions(attempts=tuple(made), drops=tuple(drops))
