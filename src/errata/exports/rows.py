"""What all exports share: the words of a row, and the refusal of privileged text."""

from collections.abc import Iterable

from msgspec.structs import replace

from errata.exports.base import ExportContext
from errata.records.rows import Metric, Span
from errata.records.types import Attempt, Critique, Drop, Episode, Message, Outcome, Transition
from errata.verifiers.leak import leaked

ASSISTANT_TURNS = 2
"""Turns alternate: even ones are the assistant's, odd ones the user's."""

NO_REVISIONS = ("search", "truncated", "replayed")
"""Kinds of attempts that begin as their parent does, and change nothing of what its agent says."""


def transition(before: Outcome, after: Outcome) -> Transition:
    """How a second attempt changed the first one's verdict; `none` where either is unknown."""
    words = {"pass": "right", "fail": "wrong"}
    if before not in words or after not in words:
        return "none"
    return f"{words[before]}_to_{words[after]}"  # type: ignore[return-value]


def conversation(attempt: Attempt) -> tuple[tuple[Message, ...], tuple[Span, ...]]:
    """The attempt's turns as messages, and a span for each of its steps on the assistant's turns.

    Message indices count from the first turn of the attempt; add the length of the prompt. What a world answers to the
    last action is no turn of them: nobody replies to it. An attempt that begins with the user's words has no turn 0.
    """
    messages: list[Message] = []
    spans: list[Span] = []
    last = max((s.turn for s in attempt.steps), default=-1)
    if attempt.steps and attempt.steps[-1].role == "observation":
        last -= 1
    first = first_turn(attempt)
    for turn in range(first, last + 1):
        steps = [s for s in attempt.steps if s.turn == turn]
        mine = turn % ASSISTANT_TURNS == 0
        start = 0
        for step in steps:
            end = start + len(step.text)
            if mine and end > start:
                spans.append(
                    Span(
                        message=turn - first, start=start, end=end, role=step.role, train=step.train, weight=step.weight
                    )
                )
            start = end
        messages.append(Message(role="assistant" if mine else "user", content="".join(s.text for s in steps)))
    return tuple(messages), tuple(spans)


def first_turn(attempt: Attempt) -> int:
    """The turn that an attempt begins with: 1 where the world or the user has the first word, else 0."""
    return 1 if attempt.steps and attempt.steps[0].turn == 1 and attempt.steps[0].role == "observation" else 0


def rendered(
    episode: Episode, ctx: ExportContext, attempt: Attempt, prompt: str, before: Attempt | None = None
) -> tuple[Message, ...]:
    """What a row begins with: the problem's own messages, or `prompt` with what the attempt revises and its critique.

    What it revises is its parent, unless `before` says otherwise. The notes about that, or about an attempt that
    revises nothing, are shown by their kinds. A prompt file is shown no privileged context here, nor a note whose
    writer saw some, so that none can reach a row by it.
    """
    if not prompt:
        return episode.problem.messages
    first = _revised(episode, attempt, before)
    critique = next((c for c in episode.critiques if c.id == attempt.critique), None)
    notes = _notes(episode, first or attempt)
    shown = {"notes": notes} if notes else {}
    return ctx.prompt(prompt).render(episode.problem, first, critique, index=attempt.index, shown=shown)


def without_notes(
    episode: Episode, ctx: ExportContext, row: str, attempt: Attempt, prompt: str, before: Attempt | None = None
) -> Drop | None:
    """A drop if `prompt` shows a note that there is none of, for the attempt that `rendered` would show."""
    if not prompt:
        return None
    about = _revised(episode, attempt, before) or attempt
    missing = ctx.prompt(prompt).notes - _notes(episode, about).keys()
    return refused(episode, ctx.stage, row, "no_note", f"{about.id} has no {min(missing)}") if missing else None


def _revised(episode: Episode, attempt: Attempt, before: Attempt | None) -> Attempt | None:
    return before or (episode.attempt(attempt.parent) if attempt.parent else None)


def _notes(episode: Episode, about: Attempt) -> dict[str, str]:
    """By kind; where the problem and the attempt have one of a kind, the attempt's."""
    known = [n for n in episode.notes if not n.seen]
    return {n.kind: n.text for id in (episode.id, about.id) for n in known if n.about == id}


def shifted(spans: Iterable[Span], by: int) -> tuple[Span, ...]:
    """Spans whose messages follow `by` others."""
    return tuple(replace(s, message=s.message + by) for s in spans)


def context(messages: Iterable[Message]) -> tuple[Span, ...]:
    """Spans of the assistant's turns in a prompt: what the model is shown as its own, and is not trained on."""
    return tuple(
        Span(message=i, start=0, end=len(m.content), role="reasoning", train=False)
        for i, m in enumerate(messages)
        if m.role == "assistant" and m.content
    )


def trained_share(spans: Iterable[Span]) -> Metric:
    """Share of the assistant's characters that the loss covers."""
    lengths = [(s.end - s.start, s.train) for s in spans]
    total = sum(n for n, _ in lengths)
    return Metric(name="trained_share", value=sum(n for n, train in lengths if train) / total if total else 0.0)


def shown(attempt: Attempt) -> str:
    """The words of an attempt that its maker may have copied from what it was shown, and did not derive."""
    return "\n".join(s.text for s in attempt.steps if s.role in ("reflection", "feedback", "critique"))


def leak(episode: Episode, stage: str, row: str, attempts: Iterable[Attempt]) -> Drop | None:
    """A drop if a row made from these attempts gives privileged text away."""
    for attempt in attempts:
        found = leaked(episode.problem, shown(attempt)) if attempt.seen else None
        if found:
            return refused(episode, stage, row, "privileged_text", found)
    return None


def leak_in_critique(episode: Episode, stage: str, row: str, attempt: Attempt) -> Drop | None:
    """A drop if the critique that the attempt's maker saw, and a prompt is to show, gives privileged text away."""
    critique = next((c for c in episode.critiques if c.id == attempt.critique), None)
    return leak_of(episode, stage, row, critique) if critique else None


def leak_of(episode: Episode, stage: str, row: str, critique: Critique) -> Drop | None:
    """A drop if the words of a critique give privileged text away; what the attempt itself says is no secret."""
    quoted = [s.text for s in episode.attempt(critique.attempt).steps]
    found = leaked(episode.problem, critique.text, quoted) if critique.seen else None
    return refused(episode, stage, row, "privileged_text", found) if found else None


def refused(episode: Episode, stage: str, row: str, code: str, detail: str = "") -> Drop:
    """A row that an export does not give, and the rule against it."""
    return Drop(episode=episode.id, stage=stage, code=code, kind="filtered", target=row, detail=detail)
