"""Copies of attempts with another mask: which parts the loss covers, and with what weight.

Reports differ on whether a student should be kept from the loss on its wrong words (S3c-Math, PTR and EIFT mask them,
retry data does not), so that the mask is a step of its own.

    none          the loss covers every word of the assistant's
    wrong_step    the step where a splice's first attempt goes wrong; in turns, all turns but the last
    all_but_last  all of the assistant's turns but the last
    thought, tail, reflection     what has that role (a marker counts as a reflection)
"""

from typing import Literal

from msgspec.structs import replace

from errata.errors import RecipeError
from errata.records.types import Additions, Attempt, Episode, Outcome, Step, Tag
from errata.registry import StepName, stage
from errata.stages.base import Context, chosen, new_id

Policy = Literal["none", "wrong_step", "all_but_last", "thought", "tail", "reflection"]


@stage(version=1)
async def mask(
    episode: Episode,
    ctx: Context,
    *,
    of: StepName = "splice",
    outcome: Outcome | Literal["any"] = "any",
    policies: tuple[Policy, ...] = ("wrong_step",),
    weight: float = 0.0,
) -> Additions:
    """Copy attempts with what any of `policies` names kept from the loss, or trained with `weight` above 0.

    A mask replaces the one before: what no policy names is trained. A copy needs a verdict of its own.
    """
    if not policies or weight < 0:
        raise RecipeError("mask: policies names at least one of none, wrong_step, ..., and weight is not below 0")
    named = "+".join(policies)
    return Additions(
        attempts=tuple(
            replace(
                attempt,
                id=new_id(episode, ctx, attempt.id, 0),
                stage=ctx.stage,
                steps=masked(attempt, policies, weight),
                tags=(*attempt.tags, Tag(name="mask", value=named), Tag(name="copy_of", value=attempt.id)),
            )
            for attempt in chosen(episode, of=of, outcome=outcome)
        )
    )


def masked(attempt: Attempt, policies: tuple[Policy, ...], weight: float = 0.0) -> tuple[Step, ...]:
    """The steps of an attempt under a mask; what other turns than the assistant's say is never trained."""
    last = max((s.turn for s in attempt.steps), default=0)

    def named(i: int, step: Step) -> bool:
        # Only for these is the step that differs from the parent's a wrong one.
        placed = attempt.fork_step is not None and attempt.kind in ("spliced", "injected")
        wrong = i == attempt.fork_step if placed else step.turn < last
        rules = {
            "none": False,
            "wrong_step": wrong,
            "all_but_last": step.turn < last,
            "thought": step.role == "thought",
            "tail": step.role == "tail",
            "reflection": step.role in ("reflection", "marker"),
        }
        return any(rules[policy] for policy in policies)

    return tuple(
        replace(s, train=False)
        if s.turn % 2
        else replace(s, train=weight > 0, weight=weight or 1.0)
        if named(i, s)
        else replace(s, train=True, weight=1.0)
        for i, s in enumerate(attempt.steps)
    )
