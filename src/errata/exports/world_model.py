"""Rows that teach a model what its world does: a state and an action, then the observation to predict.

Implicit world modelling of early experience (arXiv:2510.08558): the loss is on the next observation alone. The prompt
has a system turn and words of its own, so that predicting does not mix with acting.
"""

from collections.abc import Iterator

from msgspec.structs import replace

from errata.exports.base import ExportContext
from errata.exports.rows import context, refused
from errata.records.ids import digest
from errata.records.rows import Metric, SftRow, Span
from errata.records.trajectory import Move, moves
from errata.records.types import Attempt, Drop, Episode, Message, Tag
from errata.registry import Most, PromptName, StepName, export


@export(version=1)
def world_model(
    episode: Episode,
    ctx: ExportContext,
    *,
    of: tuple[StepName, ...] = ("branch",),
    prompt: PromptName = "next_observation",
    invalid: bool = True,
    most: Most = 0,
    longest: Most = 0,
) -> Iterator[SftRow | Drop]:
    """A row for each transition of the attempts of the steps `of`: of one that is forked the last alone, else all.

    `prompt` shows the problem and the moves so far, the last without what the world answers. The same history and
    action give one row. Without `invalid` what the world did not allow is left out; observations of more than `longest`
    characters are (0: none is), and after `most` rows all others (0: none).
    """
    template = ctx.prompt(prompt)
    taken: set[tuple[Message, ...]] = set()
    for attempt in episode.attempts:
        if attempt.stage not in of or episode.rejects(attempt.id):
            continue
        allowed = invalid or all((t.name, t.value) != ("valid", "false") for t in attempt.tags)
        all_moves = moves(attempt.steps)
        for move in all_moves[-1:] if attempt.kind == "forked" else all_moves:
            id = digest(row="world_model", stage=ctx.stage, attempt=attempt.id, step=move.step)
            state = replace(attempt, steps=tuple(s for s in attempt.steps if s.turn <= move.turn))
            asked = template.render(episode.problem, state)
            reason = (
                ("invalid", move.action) if not allowed else ("no_observation", move.action) if not move.observation
                else ("too_long", move.action) if longest and len(move.observation) > longest
                else ("same_transition", move.action) if asked in taken
                else ("enough", f"{most} rows a problem") if most and len(taken) >= most else None
            )  # fmt: skip
            if reason:
                yield refused(episode, ctx.stage, id, *reason)
                continue
            taken.add(asked)
            yield _row(episode, attempt, move, id, asked)


def _row(episode: Episode, attempt: Attempt, move: Move, id: str, asked: tuple[Message, ...]) -> SftRow:
    told = Message(role="assistant", content=move.observation)
    # In this row the observation is the model's own answer: that is what it is trained for.
    span = Span(message=len(asked), start=0, end=len(told.content), role="answer", train=True)
    return SftRow(
        id=id, episode=episode.id, split=episode.problem.split, messages=(*asked, told), spans=(*context(asked), span),
        transition="none", style="world_model", lineage=tuple(x for x in (attempt.id, attempt.parent) if x),
        seen=attempt.seen,
        tags=(*attempt.tags, Tag(name="by", value="other" if attempt.kind == "forked" else "expert")),
        metrics=(Metric(name="observation_length", value=float(len(told.content))),),
    )  # fmt: skip
