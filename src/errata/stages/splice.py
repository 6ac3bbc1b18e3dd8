"""Join a wrong attempt and its correction into one trajectory that shows the mistake and its mending.

The prefix is the student's own, character for character; the wrong step stays visible and is masked from the loss, so
that the student learns to notice and mend it and not to make it (the mask is an option: reports differ on its worth).

    wait     prefix, wrong step, "Wait, <critique>", corrected rest        (S3c-Math's shape)
    marker   prefix, wrong step, "[BACK]", corrected rest                  (the shape of retry data)
    turn     attempt | feedback | whole second attempt                     (SCoRe's two-turn shape)
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from msgspec.structs import replace

from errata.records.types import Additions, Attempt, Critique, Drop, Episode, Step
from errata.registry import Most, PromptName, StepName, stage
from errata.stages.base import Context, chosen, error_tags, filtered, located, new_id, rng

Mask = Literal["wrong_step", "attempt", "none"]
"""What is kept from the loss: the wrong step (in two turns: the first turn), all of the first attempt, or nothing."""


@stage(version=1)
async def splice(
    episode: Episode,
    ctx: Context,
    *,
    style: Literal["wait", "marker", "turn"] = "wait",
    of: StepName = "sample",
    correction: StepName = "revise",
    related: bool = True,
    transitions: tuple[Literal["wrong_to_right", "right_to_right"], ...] = ("wrong_to_right",),
    locations: tuple[str, ...] = ("gold", "forks", "judge", "teacher", "label"),
    lead: str = "Wait, ",
    marker: str = "[BACK]",
    feedback: PromptName = "try_again",
    mask: Mask = "wrong_step",
    most: Most = 1,
) -> Additions:
    """Splice attempts of the step `of` with passing ones of `correction`; unrelated ones are paired at random."""
    spliced: list[Attempt] = []
    drops: list[Drop] = []
    for transition in transitions:
        made = 0
        for first, second in _pairs(episode, ctx, of, correction, transition, related):
            if most and made >= most:
                break
            id = new_id(episode, ctx, f"{first.id}:{second.id}", 0)
            if style == "turn":
                critique = next((c for c in episode.critiques if c.id == second.critique), None)
                message = ctx.prompt(feedback).render(episode.problem, first, critique)[-1].content
                joined: Joined | str = Joined(_turns(first, second, message, mask), critique)
            else:
                joined = _inline(episode, first, second, locations, lead if style == "wait" else marker, style, mask)
            if isinstance(joined, str):
                drops.append(filtered(episode, ctx, id, joined, f"{first.id} with {second.id}"))
                continue
            made += 1
            # Who cut here knew where the error is, and who is quoted may have known more.
            known = [x.seen for x in (joined.critique, joined.place) if x]
            seen = {*first.seen, *second.seen, *(name for names in known for name in names)}
            spliced.append(
                Attempt(
                    id=id, stage=ctx.stage, index=0, kind="spliced", steps=joined.steps, parent=first.id,
                    other=second.id, fork_step=joined.fork_step, style=style,
                    critique=joined.critique.id if joined.critique else None,
                    seen=tuple(sorted(seen)),
                    tags=() if joined.fork_step is None else error_tags(episode, first, joined.fork_step),
                )
            )  # fmt: skip
    return Additions(attempts=tuple(spliced), drops=tuple(drops))


@dataclass(frozen=True, slots=True)
class Joined:
    """The steps of a splice, the critique that is quoted in it, and the one that tells where the wrong step is."""

    steps: tuple[Step, ...]
    critique: Critique | None
    place: Critique | None = None

    @property
    def fork_step(self) -> int | None:
        """Index of the wrong step; None where the whole attempt is answered by another."""
        return self.place.first_error if self.place else None


def _pairs(
    episode: Episode, ctx: Context, of: str, correction: str, transition: str, related: bool
) -> list[tuple[Attempt, Attempt]]:
    """(first, second) attempts; all have a known verdict, so that nothing unknown is taken for wrong."""
    firsts = chosen(episode, of=of, outcome="fail" if transition == "wrong_to_right" else "pass")
    seconds = chosen(episode, of=correction, outcome="pass")
    if related:
        return [(a, b) for a in firsts for b in seconds if b.parent == a.id]
    draw = rng(episode, ctx, transition)
    mixed = list(seconds)
    draw.shuffle(mixed)
    if transition == "right_to_right":
        return _others(firsts, mixed)
    return list(zip(firsts, mixed, strict=False))


def _others(firsts: Sequence[Attempt], ring: Sequence[Attempt]) -> list[tuple[Attempt, Attempt]]:
    """Each attempt with the next one around the ring, in other words if there are any: never with itself."""
    pairs = []
    places = {b.id: i for i, b in enumerate(ring)}
    for i, a in enumerate(firsts):
        start = places.get(a.id, i - 1) + 1
        after = [b for j in range(len(ring)) if (b := ring[(start + j) % len(ring)]).id != a.id]
        pairs += [(a, b) for b in sorted(after, key=lambda b: b.text == a.text)[:1]]
    return pairs


def _inline(
    episode: Episode, first: Attempt, second: Attempt, locations: tuple[str, ...], lead: str, style: str, mask: Mask
) -> "Joined | str":
    """The one-turn splice, or the reason why there is none."""
    place = located(episode, first, locations)
    if place is None or place.first_error is None:
        return "not_located"
    k = place.first_error
    if k >= len(first.steps):
        return "no_wrong_step"
    if [s.text.strip() for s in first.steps[:k]] != [s.text.strip() for s in second.steps[:k]]:
        return "prefix_differs"
    if len(second.steps) <= k or second.steps[k].text.strip() == first.steps[k].text.strip():
        return "wrong_step_repeated"
    critique = next((c for c in episode.critiques if c.id == second.critique), None)
    if style == "wait" and (critique is None or not critique.text.strip()):
        return "no_critique"
    if style == "wait" and critique and (critique.verdict, critique.first_error) != ("error", k):
        return "critique_elsewhere"
    wrong = first.steps[k]
    said = lead + critique.text.strip() if style == "wait" and critique else lead
    line = f"{said}\n" if wrong.text.endswith("\n") else f"\n{said}\n"
    bridge = (
        Step(text=line, role="reflection", source="teacher")
        if style == "wait"
        else Step(text=line, role="marker", source="template")
    )
    prefix = tuple(replace(s, train=mask != "attempt") for s in first.steps[:k])
    rest = tuple(replace(s, role="answer" if s.role == "answer" else "correction") for s in second.steps[k:])
    steps = (*prefix, replace(wrong, role="reasoning", train=mask == "none"), bridge, *rest)
    return Joined(steps, critique if style == "wait" else None, place)


def _turns(first: Attempt, second: Attempt, feedback: str, mask: Mask) -> tuple[Step, ...]:
    """The two-turn splice: the first attempt is context and is trained only without a mask."""
    return (
        *(replace(s, train=mask == "none", turn=0) for s in first.steps),
        Step(text=feedback, role="feedback", source="template", train=False, turn=1),
        *(replace(s, role="answer" if s.role == "answer" else "correction", turn=2) for s in second.steps),
    )
