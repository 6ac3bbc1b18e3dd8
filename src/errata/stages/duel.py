"""Who wins: the critic that tells a wrong step from a right one, or the sneaky generator whose step it takes for right.

Source: SPC's adversarial game (arXiv:2504.19162): +1 and -1 for the critic, the opposite for the generator, whose steps
are proven wrong before. A critic is also asked about right steps, so that to call everything wrong wins nothing.
"""

from collections.abc import Iterator

from errata.records.types import Additions, Attempt, Critique, Drop, Episode, Estimate, Step, Verdict
from errata.registry import StepName, stage
from errata.stages.base import Context, chosen, filtered, new_id


@stage(version=1)
async def duel(
    episode: Episode, ctx: Context, *, of: StepName = "partial", critics: StepName = "critique"
) -> Additions:
    """Reward critiques by the step `critics` of the partial attempts of the step `of`, and the sneaky replies behind.

    The estimate `reward` of a critique is +1 if it names the last step of an injected side, or nothing of an original
    one, else -1. What was the generator's note becomes an attempt of this step that revises the original side, with 1
    less twice the share of critics who found it. Silence of a critic is no answer: it is dropped.
    """
    estimates: list[Estimate] = []
    drops: list[Drop] = []
    attempts: list[Attempt] = []
    verdicts: list[Verdict] = []
    for side in chosen(episode, of=of, outcome="any"):
        injected = any(t.name == "side" and t.value == "injected" for t in side.tags)
        scores: list[bool] = []
        for c in episode.critiques:
            if c.attempt != side.id or c.stage != critics:
                continue
            if c.verdict == "unknown":
                drops.append(filtered(episode, ctx, c.id, "no_answer", "the critique cannot be read"))
                continue
            scores.append(_right(c, side, injected))
            estimates.append(_reward(ctx, c.id, 1.0 if scores[-1] else -1.0, 1))
        if injected:
            for sneaky, verdict in _generator(episode, ctx, side):
                if not scores:
                    drops.append(filtered(episode, ctx, sneaky.id, "no_critic", "no critic answered"))
                    continue
                attempts.append(sneaky)
                verdicts.append(verdict)
                estimates.append(_reward(ctx, sneaky.id, 1 - 2 * sum(scores) / len(scores), len(scores)))
    return Additions(attempts=tuple(attempts), verdicts=tuple(verdicts), estimates=tuple(estimates), drops=tuple(drops))


def _right(critique: Critique, side: Attempt, injected: bool) -> bool:
    if injected:
        return critique.verdict == "error" and critique.first_error == len(side.steps) - 1
    return critique.verdict == "no_error"


def _reward(ctx: Context, target: str, value: float, n: int) -> Estimate:
    return Estimate(target=target, stage=ctx.stage, name="reward", value=value, n=n)


def _generator(episode: Episode, ctx: Context, side: Attempt) -> Iterator[tuple[Attempt, Verdict]]:
    """The reply of the sneaky engine behind an injected side, on what it was shown: the original side."""
    injected = episode.attempt(str(side.parent))
    original = next(
        a for a in episode.attempts if a.stage == side.stage and a.parent == injected.parent and _same_cut(a, side)
    )
    for note in episode.notes:
        if note.about == injected.id and note.kind == "sneaky":
            made = Attempt(
                id=new_id(episode, ctx, note.id, 0), stage=ctx.stage, index=0, kind="search",
                steps=(Step(text=note.text, source="injector"),), parent=original.id, other=injected.id,
                call=note.call, seen=note.seen, tags=tuple(t for t in side.tags if t.name == "error"),
            )  # fmt: skip
            yield made, Verdict(
                target=made.id, stage=ctx.stage, verifier=episode.problem.verifier,
                version=ctx.verifier_version(episode.problem), outcome="fail", evidence="its step is proven wrong",
            )  # fmt: skip


def _same_cut(a: Attempt, b: Attempt) -> bool:
    return len(a.steps) == len(b.steps)
