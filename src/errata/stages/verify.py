"""Let a verifier judge attempts."""

from typing import Any

from errata.records.types import Additions, Episode
from errata.registry import StepName, stage
from errata.stages.base import Context, verdict_of


@stage(version=1)
async def verify(
    episode: Episode, ctx: Context, *, verifier: str = "", options: dict[str, Any] = {}, of: StepName = ""
) -> Additions:
    """Judge the attempts (of the step `of`) that this verifier, the problem's own by default, has not judged yet."""
    name = verifier or episode.problem.verifier
    judged = {v.target for v in episode.verdicts if v.verifier == name}
    todo = [a for a in episode.attempts if a.id not in judged and (not of or a.stage == of)]
    # One after the other: other episodes keep the verifiers busy, and a task for each costs more than a cheap verdict.
    return Additions(verdicts=tuple([await verdict_of(episode, ctx, a, verifier, options) for a in todo]))
