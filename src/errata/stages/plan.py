"""Have an engine write a note on a problem, such as a plan, and further notes that build on it.

Notes of one index belong together: modules 0, adapted 0, structure 0. What is planned is not solved: a note that gives
the answer or a gold step away, its writer having been shown them or not, is rejected, and what builds on notes passes
it over.
"""

from typing import Literal

from errata.records.types import Additions, Episode, Note, Verdict
from errata.registry import Count, PromptName, Role, StepName, stage
from errata.stages.base import (
    Context,
    filtered,
    gather,
    new_id,
    planned,
    privileged,
    quarantined,
    request_seed,
    solved,
)  # fmt: skip
from errata.verifiers.leak import leaked

VERSION = 1


@stage(version=VERSION)
async def plan(
    episode: Episode,
    ctx: Context,
    *,
    kind: str,
    prompt: PromptName,
    role: Role = "teacher",
    notes: tuple[StepName, ...] = (),
    n: Count = 1,
    see: tuple[Literal["reference", "gold_steps"], ...] = (),
    unless: tuple[StepName, ...] = (),
    leaks: bool = True,
) -> Additions:
    """Ask for n notes of a kind, or for one on top of each set of earlier notes by the steps `notes`.

    The prompt sees `notes` by their kinds. Nothing is asked where an attempt by a step of `unless` is accepted.
    `leaks` rejects notes that give the answer away.
    """
    if unless and solved(episode, unless):
        return Additions()
    template = ctx.prompt(prompt)
    shown = privileged(episode, see)

    async def one(k: int, earlier: list[Note]) -> Note:
        texts = {"notes": {note.kind: note.text for note in earlier}}
        answer = await ctx.ask(
            role, template.render(episode.problem, index=k, shown=shown | texts),
            seed=request_seed(episode, ctx, "", k), template=template.label, schema=template.schema,
        )  # fmt: skip
        known = {*see, *answer.seen, *(name for note in earlier for name in note.seen)}
        return Note(
            id=new_id(episode, ctx, "", k), about=episode.id, stage=ctx.stage, index=k, kind=kind,
            text=answer.text.strip(), call=answer.call, seen=tuple(sorted(known)),
        )  # fmt: skip

    sets = planned(episode, notes) if notes else {k: [] for k in range(n)}
    made, drops = await gather(episode, ctx, {new_id(episode, ctx, "", k): one(k, e) for k, e in sets.items()})
    whole = [note for note in made if note.text and note.call.finish == "stop"]
    cut = [quarantined(episode, ctx, note.id, "truncated", note.text[:200]) for note in made if note not in whole]
    told = {note.id: found for note in whole if leaks and (found := leaked(episode.problem, note.text))}
    verdicts = [
        Verdict(target=id, stage=ctx.stage, verifier="filter", version=VERSION, outcome="fail", evidence=found)
        for id, found in told.items()
    ]
    away = [filtered(episode, ctx, id, "leak", found) for id, found in told.items()]
    return Additions(notes=tuple(whole), verdicts=tuple(verdicts), drops=(*drops, *cut, *away))
