"""What a verifier says of an attempt, as a critique: the words that a reviser is shown, and where the fault is."""

from errata.records.types import Attempt, Critique, Episode, Verdict
from errata.stages.base import Context, new_id
from errata.verifiers.world import failed_at

_VERDICTS = {"pass": "no_error", "fail": "error", "unknown": "unknown"}


def evidence_of(episode: Episode, ctx: Context, attempt: Attempt, verdict: Verdict) -> Critique:
    """The verdict's evidence as a critique of the attempt.

    The first error is the step of the action that a plan fails at, for attempts that are cut into their actions
    (errata.records.segment, `actions`); None where the evidence names none.
    """
    at = failed_at(verdict.evidence) if verdict.outcome == "fail" else None
    return Critique(
        id=new_id(episode, ctx, f"{attempt.id}:evidence", 0), attempt=attempt.id, stage=ctx.stage, index=0,
        source="verifier", verdict=_VERDICTS[verdict.outcome],  # type: ignore[arg-type]
        first_error=at if at is not None and at <= len(attempt.steps) else None, text=verdict.evidence,
    )  # fmt: skip
