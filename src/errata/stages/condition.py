"""Say of every attempt which named checks it meets, as a note that a row's prompt can show: training on feedback.

A model that is trained on good and bad attempts after the words that tell which they are is asked, later, for one that
meets every check. Source: feedback-aware fine-tuning (FAFT) on TravelPlanner.
"""

from errata.records.types import Additions, Attempt, Drop, Episode, Note, Verdict
from errata.registry import Count, StepName, stage
from errata.stages.base import Context, filtered, new_id

KIND = "checks"
WORDS = {"pass": "met", "fail": "not met", "unknown": "not known"}


def vector(verdict: Verdict) -> str:
    """The checks of a verdict, a line each, by name."""
    return "\n".join(f"{c.name}: {WORDS[c.outcome]}" for c in sorted(verdict.checks, key=lambda c: c.name))


@stage(version=1)
async def condition(
    episode: Episode, ctx: Context, *, of: tuple[StepName, ...] = ("act",), least: Count = 1
) -> Additions:
    """A note `checks` about each attempt by the steps `of`, and a note `all_met` about the problem: every check met.

    An attempt whose verifier names fewer than `least` checks, or does not know one of them, gets none and a drop that
    says so.
    """
    notes: list[Note] = []
    drops: list[Drop] = []
    names: set[str] = set()
    for attempt in (a for a in episode.attempts if a.stage in of):
        verdict = _judged(episode, attempt)
        known = verdict is not None and all(c.outcome != "unknown" for c in verdict.checks)
        if verdict is None or not known or len(verdict.checks) < least or not attempt.complete:
            drops.append(filtered(episode, ctx, attempt.id, "no_checks", "its verifier does not tell which it meets"))
            continue
        names |= {c.name for c in verdict.checks}
        notes.append(_note(episode, ctx, attempt.id, KIND, vector(verdict)))
    if names:
        met = "\n".join(f"{name}: {WORDS['pass']}" for name in sorted(names))
        notes.append(_note(episode, ctx, episode.id, "all_met", met))
    return Additions(notes=tuple(notes), drops=tuple(drops))


def _judged(episode: Episode, attempt: Attempt) -> Verdict | None:
    """What the problem's own verifier says of the attempt."""
    wanted = episode.problem.verifier
    return next((v for v in episode.verdicts if (v.target, v.verifier) == (attempt.id, wanted)), None)


def _note(episode: Episode, ctx: Context, about: str, kind: str, text: str) -> Note:
    return Note(id=new_id(episode, ctx, about, 0), about=about, stage=ctx.stage, index=0, kind=kind, text=text)
