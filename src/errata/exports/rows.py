"""What all exports share: which attempts may leave, the words of a row, and the refusal of privileged text."""

from collections.abc import Iterable

from errata.records.types import Attempt, Drop, Episode, Message, Outcome, Span, Transition
from errata.verifiers.leak import leaked

ASSISTANT_TURNS = 2
"""Turns alternate: even ones are the assistant's, odd ones the user's."""


def accepted(episode: Episode, attempt: Attempt) -> bool:
    """Whether the attempt passes its verifier and no filter rejects it."""
    rejected = any(v.target == attempt.id and v.verifier == "filter" and v.outcome != "pass" for v in episode.verdicts)
    return attempt.complete and episode.outcome(attempt.id) == "pass" and not rejected


def transition(before: Outcome, after: Outcome) -> Transition:
    """How a second attempt changed the first one's verdict; `none` where either is unknown."""
    words = {"pass": "right", "fail": "wrong"}
    if before not in words or after not in words:
        return "none"
    return f"{words[before]}_to_{words[after]}"  # type: ignore[return-value]


def conversation(attempt: Attempt) -> tuple[tuple[Message, ...], tuple[Span, ...]]:
    """The attempt's turns as messages, and a span for each of its steps on the assistant's turns.

    Message indices count from the first turn of the attempt; add the length of the prompt.
    """
    messages: list[Message] = []
    spans: list[Span] = []
    for turn in range(max((s.turn for s in attempt.steps), default=-1) + 1):
        steps = [s for s in attempt.steps if s.turn == turn]
        mine = turn % ASSISTANT_TURNS == 0
        start = 0
        for step in steps:
            end = start + len(step.text)
            if mine and end > start:
                spans.append(
                    Span(message=turn, start=start, end=end, role=step.role, train=step.train, weight=step.weight)
                )
            start = end
        messages.append(Message(role="assistant" if mine else "user", content="".join(s.text for s in steps)))
    return tuple(messages), tuple(spans)


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


def refused(episode: Episode, stage: str, row: str, code: str, detail: str = "") -> Drop:
    """A row that an export does not give, and the rule against it."""
    return Drop(episode=episode.id, stage=stage, code=code, kind="filtered", target=row, detail=detail)
