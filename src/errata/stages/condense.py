"""Condense what labelled episodes of one task showed into a note that later episodes begin with.

The label is hindsight: what the world paid in the end, as TradingGroup labels its log by what came of each decision.
Without a role the note is made by rule, from the log alone: how many episodes were won and lost, which named checks
the lost ones did not meet, and what the world refused. With a role an engine writes it.
"""

from collections import Counter

from msgspec.structs import replace

from errata.records.trajectory import moves
from errata.records.types import Additions, Attempt, Episode, Note, Tag, Verdict
from errata.registry import Most, PromptName, Role, StepName, stage
from errata.stages.base import Context, filtered, new_id, quarantined, request_seed
from errata.verifiers.leak import leaked

VERSION = 1
KIND = "experience"


@stage(version=VERSION)
async def condense(
    episode: Episode,
    ctx: Context,
    *,
    of: tuple[StepName, ...] = ("act",),
    role: Role = "",
    prompt: PromptName = "condense_episodes",
    refusals: Most = 3,
    least: Most = 0,
) -> Additions:
    """A note `experience` about the problem, from its episodes by the steps `of`.

    Only problems with at least `least` lost episodes get one, and an episode that nobody judged does not count; at most
    `refusals` different answers that came twice (0: all) are quoted. A note that gives a gold step away is rejected.
    """
    known = [(a, v) for a in episode.attempts if a.stage in of and a.complete and (v := _judged(episode, a))]
    lost = [(a, v) for a, v in known if v.outcome == "fail"]
    if not known or len(lost) < least:
        return Additions()
    id = new_id(episode, ctx, "", 0)
    note = Note(id=id, about=episode.id, stage=ctx.stage, index=0, kind=KIND, text="")
    if role:
        shown = [replace(a, tags=(Tag(name="result", value=_result(v)),)) for a, v in known]
        template = ctx.prompt(prompt)
        answer = await ctx.ask(
            role, template.render(episode.problem, shown={"attempts": shown}),
            seed=request_seed(episode, ctx, "", 0), template=template.label,
        )  # fmt: skip
        if not answer.complete:
            return Additions(drops=(quarantined(episode, ctx, id, "truncated", answer.text[:200]),))
        seen = {*answer.seen, *(name for a in shown for name in a.seen)}
        note = replace(note, text=answer.text.strip(), call=answer.call, seen=tuple(sorted(seen)))
    else:
        note = replace(note, text=_by_rule(known, lost, refusals))
    # What the task itself says, and what the agent did, is no secret.
    own = [episode.problem.text, *(s.text for a, _ in known for s in a.steps)]
    if found := leaked(episode.problem, note.text, own):
        return Additions(drops=(filtered(episode, ctx, id, "leak", found),))
    return Additions(notes=(note,))


def _judged(episode: Episode, attempt: Attempt) -> Verdict | None:
    """What the world says of an attempt, where it knows."""
    mine = (v for v in episode.verdicts if v.target == attempt.id and v.verifier == episode.problem.verifier)
    return next((v for v in mine if v.outcome != "unknown"), None)


def _result(verdict: Verdict) -> str:
    return "won" if verdict.outcome == "pass" else f"lost with reward {verdict.score or 0.0:.2f}"


def _by_rule(known: list[tuple[Attempt, Verdict]], lost: list[tuple[Attempt, Verdict]], most: int) -> str:
    unmet = Counter(c.name for _, v in lost for c in v.checks if c.outcome == "fail")
    refused = Counter(m.observation for a, _ in lost for m in _without_effect(a))
    lines = [f"{len(known) - len(lost)} of {len(known)} episodes won."]
    lines += [f"Not met in {n} of {len(lost)} lost: {name}." for name, n in sorted(unmet.items())]
    again = sorted(((n, text) for text, n in refused.items() if n > 1), key=lambda x: (-x[0], x[1]))
    lines += [f'Answered {n} times: "{text}"' for n, text in again[: most or None]]
    return "\n".join(lines)


def _without_effect(attempt: Attempt) -> list:  # type: ignore[type-arg]
    """Actions that were answered by the same words as an action before: nothing new came of them."""
    heard: set[str] = set()
    found = []
    for move in moves(attempt.steps):
        if move.observation in heard:
            found.append(move)
        heard.add(move.observation)
    return found
