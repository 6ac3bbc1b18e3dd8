"""Say of every attempt which named checks it meets, as a note that a row's prompt can show: training on feedback.

A model that is trained on good and bad attempts after the words that tell which they are is asked, later, for one that
meets every check. Source: feedback-aware fine-tuning on TravelPlanner (FAFT, arXiv:2408.06318).
"""

from errata.records.types import Additions, Drop, Episode, Note, Verdict
from errata.registry import Count, StepName, stage
from errata.stages.base import Context, filtered, new_id

KIND = "checks"
SOLVED = "solved"
"""Name of the last line, the verdict itself: an attempt may meet every part and yet not be done."""
WORDS = {"pass": "met", "fail": "not met", "unknown": "not known"}


def vector(verdict: Verdict) -> str:
    """The checks of a verdict, a line each, by name, and the verdict."""
    found = sorted((c.name, c.outcome) for c in verdict.checks)
    return "\n".join(f"{name}: {WORDS[outcome]}" for name, outcome in (*found, (SOLVED, verdict.outcome)))


@stage(version=1)
async def condition(
    episode: Episode, ctx: Context, *, of: tuple[StepName, ...] = ("act",), least: Count = 1
) -> Additions:
    """A note `checks` about each attempt by the steps `of`, and a note `all_met` about the problem: every check met.

    An attempt whose verifier names fewer than `least` checks, or does not know one of them or the whole, gets none: the
    note's drop says so, and a row whose prompt would show it is refused.
    """
    notes: list[Note] = []
    drops: list[Drop] = []
    names: set[str] = set()
    for attempt in (a for a in episode.attempts if a.stage in of):
        verdict = episode.verdict(attempt.id)
        known = verdict and "unknown" not in (verdict.outcome, *(c.outcome for c in verdict.checks))
        if verdict is None or not known or len(verdict.checks) < least or not attempt.complete:
            note, why = new_id(episode, ctx, attempt.id, 0), f"{attempt.id}: its verifier does not tell which it meets"
            drops.append(filtered(episode, ctx, note, "no_checks", why))
            continue
        names |= {c.name for c in verdict.checks}
        notes.append(_note(episode, ctx, attempt.id, KIND, vector(verdict)))
    if names:
        met = "\n".join(f"{name}: {WORDS['pass']}" for name in (*sorted(names), SOLVED))
        notes.append(_note(episode, ctx, episode.id, "all_met", met))
    return Additions(notes=tuple(notes), drops=tuple(drops))


def _note(episode: Episode, ctx: Context, about: str, kind: str, text: str) -> Note:
    return Note(id=new_id(episode, ctx, about, 0), about=about, stage=ctx.stage, index=0, kind=kind, text=text)
