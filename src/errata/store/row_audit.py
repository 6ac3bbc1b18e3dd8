"""Do rows say what their episodes say? Every exported row held against the records that it was made from.

It knows nothing of the exports: a row's lineage leads to attempts, critiques and verdicts, and these tell what may be
trained, what must be masked, what was known to whom, and who was right. So a fault of an export, or of a file that was
changed afterwards, is found by other rules than those that made it. Trajectories in a text world are played again.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from errata.environments.replay import row_replay
from errata.records.rows import (
    CriticRow,
    DpoRow,
    JudgeRow,
    KtoRow,
    OfflineRow,
    PrmRow,
    RlRow,
    Row,
    SftRow,
)
from errata.records.trajectory import moves
from errata.records.types import Attempt, Critique, Episode, Message, Note, Pair
from errata.verifiers.leak import leaked

NEVER_TRAINED = ("observation", "feedback")
"""Roles of text that is not the model's own."""
TOLD = ("reflection", "feedback", "critique")
"""Roles of text that its maker may have copied from what it was shown."""


@dataclass(frozen=True, slots=True)
class Allowed:
    """What the recipe says by name, taken from the manifest."""

    privileged: frozenset[str] = frozenset()
    """Configs that may hold privileged text."""
    masks: Mapping[str, str] | None = None
    """By stage that splices: what it keeps from the loss."""

    @classmethod
    def of(cls, recipe: Mapping[str, Any]) -> "Allowed":
        """From the filled-in recipe of a manifest."""
        exports = {e.get("name") or e["use"]: e.get("with", {}) for e in recipe.get("exports", ())}
        masks = {s["name"]: s["with"]["mask"] for s in recipe.get("stages", ()) if "mask" in s.get("with", {})}
        return cls(frozenset(name for name, with_ in exports.items() if with_.get("privileged")), masks)


def row_faults(row: Row, config: str, episode: Episode, allowed: Allowed) -> Iterator[str]:
    """What is wrong with a row, one line for each rule that it breaks."""
    if row.split != episode.problem.split:
        yield f"its split is {row.split!r}, its problem's {episode.problem.split!r}"
    records: tuple[Attempt | Critique | Note | Pair, ...] = (
        *episode.attempts, *episode.critiques, *episode.notes, *episode.pairs,
    )  # fmt: skip
    known = {x.id: x for x in records}
    if missing := [id for id in row.lineage if id not in known]:
        yield f"its lineage names {missing[0]}, which its episode does not have"
        return
    sources = [known[id] for id in row.lineage]
    attempts = [x for x in sources if isinstance(x, Attempt)]
    critiques = [x for x in sources if isinstance(x, Critique)]
    hidden = {name for names in (*(a.seen for a in attempts[:1]), *(c.seen for c in critiques)) for name in names}
    hidden -= set(row.seen)
    if hidden:
        yield f"its makers saw {', '.join(sorted(hidden))}, which `seen` does not say"
    if config not in allowed.privileged:
        yield from _leaks(row, episode, attempts, critiques)
    if isinstance(row, SftRow | OfflineRow):
        yield from _masks(row, attempts, episode, allowed)
    if isinstance(row, SftRow):
        yield from (f"on replay, {fault}" for fault in row_replay(row))
    yield from _of_kind(row, episode)


def _masks(row: SftRow | OfflineRow, attempts: list[Attempt], episode: Episode, allowed: Allowed) -> Iterator[str]:
    trained = [s for s in row.spans if s.train and s.weight > 0 and s.end > s.start]
    if isinstance(row, SftRow) and not trained:
        yield "nothing of it is trained"
    if wrong := next((s for s in row.spans if not (math.isfinite(s.weight) and s.weight >= 0)), None):
        yield f"the span {wrong.start}:{wrong.end} of message {wrong.message} has the weight {wrong.weight}"
    if bad := next((s for s in trained if s.role in NEVER_TRAINED), None):
        yield f"it trains the {bad.role} at {bad.start}:{bad.end} of message {bad.message}"
    if not attempts:
        return
    made = attempts[0]
    texts = [row.messages[s.message].content[s.start : s.end] for s in trained if s.message < len(row.messages)]
    masked = [s.text for s in made.steps if not s.train and s.turn % 2 == 0 and s.text.strip()]
    own = [s.text for s in made.steps if s.train]
    if told := next((t for t in masked if texts.count(t) > own.count(t)), None):
        yield f"it trains {told.strip()[:60]!r}, which its attempt keeps from the loss"
    if made.kind == "spliced" and made.fork_step is not None and made.parent:
        yield from _wrong_step(made, episode.attempt(made.parent), texts, (allowed.masks or {}).get(made.stage, "none"))


def _wrong_step(made: Attempt, parent: Attempt, trained: list[str], mask: str) -> Iterator[str]:
    """The wrong step of a splice, found in its parent, must be masked where the recipe's splice masks it."""
    at = made.fork_step
    if mask == "none" or at is None or at >= len(parent.steps) or not parent.steps[at].text.strip():
        return
    wrong = parent.steps[at].text
    if wrong in trained and sum(s.text == wrong for s in made.steps) == 1:
        yield f"it trains the wrong step {wrong.strip()[:60]!r}"


def _leaks(row: Row, episode: Episode, attempts: list[Attempt], critiques: list[Critique]) -> Iterator[str]:
    """Privileged text in what the model is shown beyond the problem, and in what others told it."""
    shown = (*attempts, *_parents(episode, attempts, critiques))
    own = {line.strip() for x in shown for line in x.text.split("\n")}
    own |= {line.strip() for x in shown for s in x.steps for line in s.text.split("\n")}  # each turn is its own text
    own |= {m.action for x in shown for m in moves(x.steps)}
    own |= {line.strip() for m in episode.problem.messages for line in m.content.split("\n")}
    given = set(episode.problem.messages)
    for message in _prompt(row):
        if message in given:
            continue
        rest = "\n".join(line for line in message.content.split("\n") if not _said(line, own))
        if message.role != "assistant" and (found := leaked(episode.problem, rest)):
            yield f"its prompt gives privileged text away: {found}"
    # A critique may quote the attempt that it is about.
    quoted = [s.text for x in _parents(episode, [], critiques) for s in x.steps] if isinstance(row, CriticRow) else []
    for text in _told(row, attempts, critiques):
        if found := leaked(episode.problem, text, quoted):
            yield f"it gives privileged text away: {found}"


def _said(line: str, own: set[str]) -> bool:
    """Whether a line, perhaps numbered, is one of the problem's or of an attempt's."""
    plain = line.strip()
    return any(p in own for p in (plain, plain.split("] ", 1)[-1], *map(plain.removeprefix, ("[BAD] ", "-> "))))


def _parents(episode: Episode, attempts: list[Attempt], critiques: list[Critique]) -> list[Attempt]:
    """The attempts that a prompt shows: what was revised, and what is criticised."""
    ids = {a.parent for a in attempts} | {c.attempt for c in critiques} | {a.other for a in attempts}
    return [a for a in episode.attempts if a.id in ids]


def _prompt(row: Row) -> tuple[Message, ...]:
    if isinstance(row, SftRow | OfflineRow):
        return tuple(m for m in row.messages if m.role != "assistant")
    return row.prompt


def _told(row: Row, attempts: list[Attempt], critiques: list[Critique]) -> Iterator[str]:
    """Texts of a row that somebody wrote who knew more than the model will."""
    if isinstance(row, SftRow | OfflineRow):
        if row.seen:
            yield "\n".join(
                row.messages[s.message].content[s.start : s.end]
                for s in row.spans
                if s.role in TOLD and s.message < len(row.messages)
            )
    elif isinstance(row, CriticRow):
        yield from (m.content for m in row.completion if row.seen)
    elif isinstance(row, DpoRow):
        if critiques and not attempts:
            yield from (m.content for m in (*row.chosen, *row.rejected) if row.seen)
        for attempt in attempts:
            if attempt.seen:
                yield "\n".join(s.text for s in attempt.steps if s.role in TOLD)


def _of_kind(row: Row, episode: Episode) -> Iterator[str]:
    """Rules of one kind of row."""
    if isinstance(row, DpoRow):
        yield from _preference(row, episode)
    elif isinstance(row, KtoRow) and row.lineage:
        truth = episode.outcome(row.lineage[0])
        if truth != ("pass" if row.label else "fail"):
            yield f"its label is {row.label}, its verdict is {truth}"
    elif isinstance(row, PrmRow):
        yield from _steps(row)
    elif isinstance(row, CriticRow | JudgeRow):
        if not "".join(m.content for m in row.completion).strip():
            yield "its completion is empty"
    elif isinstance(row, RlRow):
        if row.answer != (episode.problem.answer or ""):
            yield "its answer is not its problem's"
    elif isinstance(row, OfflineRow):
        yield from _rollout(row)


def _preference(row: DpoRow, episode: Episode) -> Iterator[str]:
    if row.chosen == row.rejected:
        yield "both replies are the same"
    for side, id, said in (("chosen", 0, row.chosen_outcome), ("rejected", 1, row.rejected_outcome)):
        truth = episode.outcome(row.lineage[id])
        if said != truth:
            yield f"it says that the {side} reply is {said}, its verdict is {truth}"
    if (row.chosen_outcome, row.rejected_outcome) == ("fail", "pass"):
        yield "it prefers a wrong reply to a right one"


def _rollout(row: OfflineRow) -> Iterator[str]:
    if not math.isfinite(row.reward):
        yield f"its reward is {row.reward}"
    if row.group_rate is not None and not 0 <= row.group_rate <= 1:
        yield f"its group rate is {row.group_rate}"


def _steps(row: PrmRow) -> Iterator[str]:
    counts = {len(row.completions), len(row.labels), len(row.values)}
    if len(counts) > 1:
        yield f"{len(row.completions)} steps, {len(row.labels)} labels and {len(row.values)} values"
        return
    first = row.first_error
    if first is not None and first < len(row.labels) and (row.labels[first] is True or False in row.labels[:first]):
        yield f"its first error is step {first}, but its labels say otherwise"
    if bad := next((v for v in row.values if v is not None and not 0 <= v <= 1), None):
        yield f"a step has the value {bad}"
