"""Rows for preference training: what a `pair` stage has set against each other, on one prompt."""

from collections.abc import Iterator, Sequence
from itertools import takewhile

from msgspec.structs import replace
from rapidfuzz.distance import Prefix

from errata.exports.base import ExportContext
from errata.exports.rows import (
    ASSISTANT_TURNS,
    NO_REVISIONS,
    conversation,
    first_turn,
    leak,
    leak_of,
    refused,
    rendered,
    without_notes,
)
from errata.records.ids import digest
from errata.records.rows import DpoRow, Metric
from errata.records.trajectory import is_trajectory
from errata.records.types import Attempt, Critique, Drop, Episode, Message, Outcome, Pair, Transition
from errata.registry import PromptName, StepName, export


@export(version=1)
def dpo(
    episode: Episode,
    ctx: ExportContext,
    *,
    of: tuple[StepName, ...] = ("pair",),
    prompt: PromptName = "",
    privileged: bool = False,
    distinct: bool = False,
    only_step: bool = False,
) -> Iterator[DpoRow | Drop]:
    """A preference per pair of the steps `of`, of attempts or of critiques of one attempt; `privileged` admits leaks.

    Attempts stand on the problem's own messages, without feedback, or on `prompt`, which sees what the chosen one
    revises; a pair from a step on stands on the first steps too. Critiques need a `prompt` that shows the attempt.
    `distinct` takes the same two replies to the same prompt once. With `only_step` the replies of such a pair are that
    one step (of a world, that turn), `diverges` says from where they have a loss, and `open` that they are steps within
    a turn. Numbers about a pair are metrics of its row.
    """
    taken: set[tuple[tuple[Message, ...], ...]] = set()
    for pair in episode.pairs:
        if pair.stage not in of:
            continue
        id = digest(row="dpo", stage=ctx.stage, pair=pair.id)
        critiques = {c.id: c for c in episode.critiques}
        if pair.chosen in critiques:
            made = _of_critiques(episode, ctx, pair, id, critiques, prompt, privileged)
        else:
            both = (episode.attempt(pair.chosen), episode.attempt(pair.rejected))
            found = None if privileged else leak(episode, ctx.stage, id, both)
            found = found or without_notes(episode, ctx, id, both[0], prompt)
            made = found or _of_attempts(episode, ctx, pair, id, both, prompt, only_step)
        if distinct and isinstance(made, DpoRow):
            words = (made.prompt, made.chosen, made.rejected)
            made = refused(episode, ctx.stage, id, "same_text", pair.id) if words in taken else made
            taken.add(words)
        yield made


def _of_attempts(
    episode: Episode, ctx: ExportContext, pair: Pair, id: str, both: tuple[Attempt, Attempt], prompt: str,
    only_step: bool,
) -> DpoRow:  # fmt: skip
    chosen, rejected = both
    asked = rendered(episode, ctx, chosen, prompt)
    said: tuple[tuple[Message, ...], tuple[Message, ...]]
    if is_trajectory((*chosen.steps, *rejected.steps)):
        turns, others = conversation(chosen)[0], conversation(rejected)[0]
        first = first_turn(chosen)
        at = _parting(turns, others, first, chosen.steps[pair.step].turn - first) if pair.step else 0
        end = at + 1 if only_step else None
        asked, said = (*asked, *turns[:at]), (turns[at:end], others[at:end])
    elif pair.step is not None and (pair.step or only_step):
        # Both go on from the same words: the assistant's own, character for character.
        begun = "".join(s.text for s in chosen.steps[: pair.step])
        asked = (*asked, Message(role="assistant", content=begun)) if begun else asked
        end = pair.step + 1 if only_step else None
        a, b = ("".join(s.text for s in x.steps[pair.step : end]) for x in (chosen, rejected))
        said = (_reply(a), _reply(b))
    else:
        said = (_reply(chosen.final_text), _reply(rejected.final_text))
    change: Transition = (
        "right_to_wrong"
        if rejected.parent == chosen.id and rejected.kind not in NO_REVISIONS
        else "wrong_to_right"
        if chosen.parent == rejected.id and chosen.kind not in NO_REVISIONS
        else "none"
    )
    outcomes = (episode.outcome(chosen.id), episode.outcome(rejected.id))
    tags = tuple(dict.fromkeys((*pair.tags, *chosen.tags)))
    seen = tuple(sorted({*chosen.seen, *rejected.seen}))
    row = _row(episode, pair, id, asked, said, outcomes, change, seen, tags)
    if not only_step:
        return row
    inside = not is_trajectory(chosen.steps)
    return replace(row, diverges=_shared(said[0][0].content, said[1][0].content), open=inside)


def _parting(turns: Sequence[Message], others: Sequence[Message], first: int, most: int) -> int:
    """How many turns of two episodes of a world are their prompt: those that both begin with, at most `most`.

    They part at a turn of the agent's, never within one, and at least one turn of each is left. `first` is the number
    of the turn that both begin with.
    """
    shared = sum(1 for _ in takewhile(lambda both: both[0] == both[1], zip(turns, others, strict=False)))
    at = min(shared, most, len(turns) - 1, len(others) - 1)
    return max(0, at - (at + first) % ASSISTANT_TURNS)


def _reply(text: str) -> tuple[Message, ...]:
    return (Message(role="assistant", content=text),)


def _of_critiques(
    episode: Episode, ctx: ExportContext, pair: Pair, id: str, critiques: dict[str, Critique], prompt: str,
    privileged: bool,
) -> DpoRow | Drop:  # fmt: skip
    chosen, rejected = critiques[pair.chosen], critiques[pair.rejected]
    if not prompt:
        return refused(episode, ctx.stage, id, "no_prompt", "a pair of critiques needs a prompt that shows the attempt")
    if any(episode.rejects(c.id) for c in (chosen, rejected)):
        return refused(episode, ctx.stage, id, "not_accepted", "a critique of the pair was turned away")
    for c in () if privileged else (chosen, rejected):
        if found := leak_of(episode, ctx.stage, id, c):
            return found
    asked = ctx.prompt(prompt).render(episode.problem, episode.attempt(chosen.attempt))
    seen = tuple(sorted({*chosen.seen, *rejected.seen}))
    tags = tuple(dict.fromkeys((*pair.tags, *chosen.tags)))
    said = (_reply(chosen.text), _reply(rejected.text))
    return _row(episode, pair, id, asked, said, ("unknown", "unknown"), "none", seen, tags)


def _row(
    episode: Episode, pair: Pair, id: str, asked: tuple[Message, ...],
    said: tuple[tuple[Message, ...], tuple[Message, ...]],
    outcomes: tuple[Outcome, Outcome], change: Transition, seen: tuple[str, ...], tags: tuple,  # type: ignore[type-arg]
) -> DpoRow:  # fmt: skip
    a, b = ("".join(m.content for m in messages) for messages in said)
    margin = () if pair.margin is None else (Metric(name="margin", value=pair.margin),)
    return DpoRow(
        id=id, episode=episode.id, split=episode.problem.split, prompt=asked,
        chosen=said[0], rejected=said[1],
        transition=change, rule=pair.rule, lineage=(pair.chosen, pair.rejected, pair.id),
        chosen_outcome=outcomes[0], rejected_outcome=outcomes[1], seen=seen, tags=tags,
        metrics=(
            Metric(name="shared_prefix", value=float(_shared(a, b))),
            Metric(name="length_gap", value=float(len(a) - len(b))), *margin,
            *(Metric(name=e.name, value=e.value) for e in episode.estimates if e.target == pair.id),
        ),
    )  # fmt: skip


def _shared(a: str, b: str) -> int:
    """Characters that both texts begin with."""
    return int(Prefix.similarity(a, b))
