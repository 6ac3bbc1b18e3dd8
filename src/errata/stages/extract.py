"""Read the answers that attempts state on their way, and judge each one.

What is found is a verdict of the verifier `candidates` with one check an answer, from which `metrics.json` counts the
reflections between them by kind, and the overthinking estimates of Self-Braking.
"""

from typing import Any, Literal

from errata.records.types import Additions, Check, Episode, Estimate, Outcome, Verdict
from errata.registry import StepName, stage
from errata.stages.base import Context, chosen
from errata.verifiers.candidates import candidates, thinking
from errata.verifiers.overthinking import BETA, MARKERS, marker_share, overthinking

VERSION = 1


@stage(version=VERSION)
async def extract(
    episode: Episode,
    ctx: Context,
    *,
    of: StepName = "sample",
    outcome: Outcome | Literal["any"] = "any",
    close: str = "",
    markers: tuple[str, ...] = MARKERS,
    beta: float = BETA,
    options: dict[str, Any] = {},
) -> Additions:
    """Judge every answer on the way of attempts, and measure how much comes after the first right one.

    Only what stands before the tag `close` (such as </think>) is read, if one is named; `options` are the verifier's.
    Estimates: `candidates` (their number), `marker_share`, and, where one is right, `reasoning_efficiency` (steps to
    the end of the first right solution over all steps) and `overthinking` (errata.verifiers.overthinking).
    """
    verdicts: list[Verdict] = []
    estimates: list[Estimate] = []
    for attempt in chosen(episode, of=of, outcome=outcome):
        parts = thinking(attempt.steps, close)
        if parts is None or not attempt.complete:
            continue
        texts = [s.text for s in parts[0]]
        found = candidates(episode.problem, texts)
        checks = []
        for i, candidate in enumerate(found):
            judged = await ctx.judge(episode.problem, candidate.statement, "", options)
            checks.append(Check(name=f"candidate_{i}", outcome=judged.outcome, detail=candidate.value))
        verdicts.append(
            Verdict(
                target=attempt.id, stage=ctx.stage, verifier="candidates", version=VERSION, checks=tuple(checks),
                outcome=checks[-1].outcome if checks else "unknown", evidence=f"{len(checks)} answers on the way",
            )
        )  # fmt: skip
        measured = {"candidates": float(len(found)), "marker_share": marker_share("".join(texts), markers)}
        right = next((c for c, check in zip(found, checks, strict=True) if check.outcome == "pass"), None)
        if right is not None:
            measured["reasoning_efficiency"] = (right.last + 1) / len(texts)
            measured["overthinking"] = overthinking(right.last + 1, texts, markers, beta)
        estimates += [
            Estimate(target=attempt.id, stage=ctx.stage, name=name, value=value, n=1)
            for name, value in measured.items()
        ]
    return Additions(verdicts=tuple(verdicts), estimates=tuple(estimates))
