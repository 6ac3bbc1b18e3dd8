"""Rows that train a critic: problem and attempt, then the critique to imitate."""

from collections.abc import Iterator
from typing import Literal

from errata.exports.base import ExportContext
from errata.exports.rows import refused
from errata.records.ids import digest
from errata.records.rows import CriticRow, Metric
from errata.records.types import WORDED, Attempt, Critique, Drop, Episode, Message, Tag
from errata.registry import Most, PromptName, StepName, export
from errata.verifiers.leak import leaked

TRUE_SOURCES = ("gold", "label")
_MEASURES = ("closed_loop_rate", "placebo_rate", "wrong_critique_rate", "closed_loop_gain", "answerability")


@export(version=1)
def critic(
    episode: Episode,
    ctx: ExportContext,
    *,
    of: tuple[StepName, ...] = ("critique",),
    prompt: PromptName = "critique",
    agree: Literal["none", "verdict", "place"] = "verdict",
    need: tuple[Literal["scrub", "close_loop", "label"], ...] = (),
    most: Most = 0,
    privileged: bool = False,
) -> Iterator[CriticRow | Drop]:
    """A row per critique of the steps `of` that no stage has turned away, at most `most` per problem.

    `prompt` shows the problem and the attempt and, whatever the critique's maker saw, nothing privileged. A critique
    must agree with the truth where that is known: on whether there is an error (`verdict`) and also on where (`place`).
    The truth is what gold steps or a label say, else the attempt's verdict. `need` names what must have passed it;
    `privileged` admits leaks. Rows are tagged, to be balanced over, with their verdict, the attempt's
    outcome and how the attempt was made (`made_by`: sampled, forked, injected, ...).
    """
    template = ctx.prompt(prompt)
    made = 0
    for critique in episode.critiques:
        if critique.stage not in of or critique.source not in WORDED:
            continue
        id = digest(row="critic", stage=ctx.stage, critique=critique.id)
        attempt = episode.attempt(critique.attempt)
        reason = _unfit(episode, attempt, critique, agree, need)
        if reason is None and most and made >= most:
            reason = "enough", f"{most} rows a problem"
        if reason is None and not privileged and critique.seen:
            found = leaked(episode.problem, critique.text, [s.text for s in attempt.steps])
            reason = ("privileged_text", found) if found else None
        if reason is not None:
            yield refused(episode, ctx.stage, id, *reason)
            continue
        made += 1
        yield _row(episode, attempt, critique, id, template.render(episode.problem, attempt))


def _unfit(
    episode: Episode, attempt: Attempt, critique: Critique, agree: str, need: tuple[str, ...]
) -> tuple[str, str] | None:
    """Why a critique is not to be imitated, as code and detail."""
    if critique.verdict == "unknown" or not critique.text.strip():
        return "unread", critique.id
    if episode.rejects(critique.id):
        return "not_accepted", f"{critique.id} was turned away"
    missing = [name for name in need if episode.outcome(critique.id, name) != "pass"]
    if missing:
        return "not_proven", f"{critique.id} has not passed {', '.join(missing)}"
    true, at = truth(episode, attempt)
    if agree != "none" and true not in ("unknown", critique.verdict):
        return "wrong_verdict", f"it says {critique.verdict}, and the attempt has {true}"
    if agree == "place" and true == "error" and at is not None and critique.first_error != at:
        return "wrong_place", f"it says step {critique.first_error}, and the first wrong step is {at}"
    return None


def truth(episode: Episode, attempt: Attempt) -> tuple[str, int | None]:
    """(error, no_error or unknown; the first error, None where there is none or it is not known) of an attempt."""
    for source in TRUE_SOURCES:
        for c in episode.critiques:
            if c.attempt == attempt.id and c.source == source and c.verdict != "unknown":
                return c.verdict, c.first_error
    return {"fail": "error", "pass": "no_error", "unknown": "unknown"}[episode.outcome(attempt.id)], None


def _row(episode: Episode, attempt: Attempt, critique: Critique, id: str, asked: tuple[Message, ...]) -> CriticRow:
    measured = {name: episode.estimate(critique.id, name) for name in _MEASURES}
    outcome = episode.outcome(attempt.id)
    named = [
        Tag(name=name, value=value)
        for name, value in (("verdict", critique.verdict), ("outcome", outcome), ("made_by", attempt.kind))
    ]
    return CriticRow(
        id=id, episode=episode.id, split=episode.problem.split, prompt=asked,
        completion=(Message(role="assistant", content=critique.text),), verdict=critique.verdict,
        first_error=critique.first_error, steps=critique.steps, outcome=outcome,
        gain=measured["closed_loop_gain"], lineage=(critique.id, attempt.id, *critique.of),
        seen=tuple(sorted({*attempt.seen, *critique.seen})),
        tags=tuple(dict.fromkeys((*attempt.tags, *critique.tags, *named))),
        metrics=tuple(Metric(name=name, value=value) for name, value in measured.items() if value is not None),
    )  # fmt: skip
