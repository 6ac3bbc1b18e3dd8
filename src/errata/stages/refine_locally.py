"""Drafts with a marker before their first wrong step, and what a continuation of the good prefix makes of them.

Source: GLoRe's local refinement (arXiv:2402.10963): problem and draft with [BAD] before its first negative step, then a
right solution that begins with the same good steps. Its global refinement, without a marker, is a `turn` of `splice`.
"""

from msgspec.structs import replace

from errata.records.types import Additions, Attempt, Drop, Episode, Step
from errata.registry import Most, PromptName, StepName, stage
from errata.stages.base import Context, chosen, filtered, located, new_id, rng


@stage(version=1)
async def refine_locally(
    episode: Episode,
    ctx: Context,
    *,
    of: StepName = "sample",
    targets: StepName = "locate",
    locations: tuple[str, ...] = ("forks",),
    marker: str = "[BAD] ",
    feedback: PromptName = "try_again",
    most: Most = 0,
) -> Additions:
    """Join each wrong, located draft, marked, with a passing continuation of its good prefix by the step `targets`.

    The draft and `feedback` are context and are not trained; the whole second solution is, as it is written anew. Of
    several continuations one is drawn; it must part from the draft at the marked step, and not before.
    """
    made: list[Attempt] = []
    drops: list[Drop] = []
    for draft in chosen(episode, of=of, outcome="fail", most=most):
        id = new_id(episode, ctx, draft.id, 0)
        place = located(episode, draft, locations)
        k = place.first_error if place else None
        if place is None or k is None or k >= len(draft.steps):
            drops.append(filtered(episode, ctx, id, "not_located", draft.id))
            continue
        good = [a for a in chosen(episode, of=targets, outcome="pass") if _mends(episode, a, draft, k)]
        if not good:
            drops.append(filtered(episode, ctx, id, "no_refinement", f"no right solution shares the first {k} steps"))
            continue
        second = rng(episode, ctx, draft.id).choice(good)
        asked = ctx.prompt(feedback).render(episode.problem, draft)[-1].content
        marked = (*draft.steps[:k], Step(text=marker, role="marker", source="template"), *draft.steps[k:])
        steps = (
            *(replace(s, train=False, turn=0) for s in marked),
            Step(text=asked, role="feedback", source="template", train=False, turn=1),
            *(replace(s, role="answer" if s.role == "answer" else "correction", turn=2) for s in second.steps),
        )
        made.append(
            Attempt(
                id=id, stage=ctx.stage, index=0, kind="spliced", steps=steps, parent=draft.id, other=second.id,
                fork_step=k, style="local", seen=tuple(sorted({*draft.seen, *second.seen, *place.seen})),
            )
        )  # fmt: skip
    return Additions(attempts=tuple(made), drops=tuple(drops))


def _mends(episode: Episode, second: Attempt, draft: Attempt, k: int) -> bool:
    same = [s.text for s in second.steps[:k]] == [s.text for s in draft.steps[:k]]
    parts = len(second.steps) > k and second.steps[k].text.strip() != draft.steps[k].text.strip()
    return second.parent == draft.id and episode.accepts(second) and same and parts
