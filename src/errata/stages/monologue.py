"""Have the policy say why the expert's action is better than others, from what came of them all: self-reflection data.

Early experience (arXiv:2510.08558): the writer sees the state, the expert's action and other ones, each with what the
world answered. What is learnt from it is the monologue and the expert's action given the state alone. Without
outcomes, the same stage makes the control: rationales that were never held against the world.
"""

import re
from typing import Literal, NamedTuple

from msgspec.structs import replace

from errata.records.trajectory import Move, action_at, action_of, moves
from errata.records.types import Additions, Attempt, Check, Episode, Step, Tag, Verdict
from errata.registry import Count, Most, PromptName, Role, StepName, stage
from errata.stages.base import Answer, Context, chosen, filtered, gather, new_id, request_seed, rng
from errata.verifiers.grounding import ungrounded
from errata.verifiers.leak import leaked

VERSION = 1
_QUOTED = 12
"""Characters of an answer of the world's above which it is told from words that anyone says."""
_META = re.compile(
    r"\b(?:expert|teacher|demonstrat\w+|gold(?:en)? (?:action|step|trajectory)|alternative actions?"
    r"|(?:was|were|are|is|been) (?:shown|given|provided|listed|numbered|tried|executed)|the (?:options|results) above"
    r"|as (?:shown|listed) above|the correct action|(?:last|numbered) action is)\b",
    re.IGNORECASE,
)
"""Words by which a text shows that its writer was told the action, or what came of it."""


class _State(NamedTuple):
    """A state of an expert's trajectory: its move there, and attempts that did something else."""

    expert: Attempt
    move: Move
    others: tuple[Attempt, ...]


@stage(version=VERSION)
async def monologue(
    episode: Episode,
    ctx: Context,
    *,
    role: Role = "student",
    of: StepName = "act",
    branches: StepName = "branch",
    outcomes: bool = True,
    n: Count = 1,
    states: Most = 0,
    words: tuple[int, int] = (15, 400),
    grounded: Literal["shown", "state"] = "shown",
    prompt: PromptName = "monologue",
) -> Additions:
    """Ask for n monologues at each state of the passing trajectories of the step `of` (at most `states` of each).

    The writer is shown the actions by the step `branches` at the state, and what came of each; states without any are
    passed over. Without `outcomes` it sees neither these nor the world's answer to the expert's action.

    A monologue must end in the expert's action, have from `words[0]` to `words[1]` words, name only what was shown
    (or, where `grounded` is state, only what the agent itself has seen by then), quote no answer of the world's that
    is yet to come, give nothing away, and not speak of having been told. The rest is dropped: truncated,
    other_conclusion, too_short, too_long, meta_talk, quotes_outcome, ungrounded, leak. What is kept is an attempt of
    the kind `hinted`: the expert's trajectory up to there, then the monologue and the action, which alone are trained.
    """
    template = ctx.prompt(prompt)

    async def one(state: _State, k: int) -> tuple[Attempt, Verdict]:
        expert, move, others = state
        turn = move.turn + (1 if outcomes else 0)
        shown = replace(expert, steps=tuple(s for s in expert.steps if s.turn <= turn))
        answer = await ctx.ask(
            role, template.render(episode.problem, shown, index=k, shown={"attempts": list(others)}),
            seed=request_seed(episode, ctx, f"{expert.id}:{move.step}", k), template=template.label,
        )  # fmt: skip
        made = _attempt(episode, ctx, state, answer, k, outcomes)
        code, detail = _fault(episode, state, answer, words, outcomes and grounded == "shown") or ("", "")
        check = Check(name=code or "monologue", outcome="fail" if code else "pass", detail=detail)
        return made, Verdict(
            target=made.id, stage=ctx.stage, verifier="filter", version=VERSION, outcome=check.outcome, checks=(check,)
        )

    picked = [s for a in chosen(episode, of=of, outcome="pass") for s in _states(episode, ctx, a, branches, states)]
    if not outcomes:
        picked = [s._replace(others=()) for s in picked]
    tasks = {new_id(episode, ctx, f"{s.expert.id}:{s.move.step}", k): one(s, k) for s in picked for k in range(n)}
    made, failed = await gather(episode, ctx, tasks)
    refused = tuple(
        filtered(episode, ctx, v.target, v.checks[0].name, v.checks[0].detail) for _, v in made if v.outcome == "fail"
    )
    return Additions(attempts=tuple(a for a, _ in made), verdicts=tuple(v for _, v in made), drops=(*refused, *failed))


def _states(episode: Episode, ctx: Context, expert: Attempt, branches: str, most: int) -> list[_State]:
    """The states of a trajectory at which something else was done too, in order."""
    found: dict[int, list[Attempt]] = {}
    for a in episode.attempts:
        if a.stage == branches and a.parent == expert.id and a.fork_step is not None:
            found.setdefault(a.fork_step, []).append(a)
    made = [_State(expert, m, tuple(found[m.step])) for m in moves(expert.steps) if m.step in found]
    if not most or len(made) <= most:
        return made
    at = rng(episode, ctx, f"{expert.id}:states").sample(range(len(made)), most)
    return [made[i] for i in sorted(at)]


def _attempt(episode: Episode, ctx: Context, state: _State, answer: Answer, k: int, outcomes: bool) -> Attempt:
    """The state, not to be trained, then the monologue and the expert's action as the expert said it."""
    expert, move, others = state
    before = tuple(replace(s, train=False) for s in expert.steps if s.turn < move.turn)
    thought = Step(text=f"{answer.text[: action_at(answer.text)].strip()}\n", role="reasoning", turn=move.turn)
    seen = {*expert.seen, *answer.seen, "expert_action", *(["outcomes"] if outcomes else [])}
    return Attempt(
        id=new_id(episode, ctx, f"{expert.id}:{move.step}", k), stage=ctx.stage, index=k, kind="hinted",
        parent=expert.id, fork_step=move.step, steps=(*before, thought, replace(expert.steps[move.step], train=True)),
        complete=answer.complete, call=answer.call, seen=tuple(sorted(seen)),
        tags=(Tag(name="others", value=str(len(others))),),
    )  # fmt: skip


def _fault(
    episode: Episode, state: _State, answer: Answer, words: tuple[int, int], foreseen: bool
) -> tuple[str, str] | None:
    """Why a monologue is not to be learnt from, as code and detail."""
    expert, move, others = state
    said, concluded = answer.text[: action_at(answer.text)].strip(), action_of(answer.text)
    before = [s.text for s in expert.steps if s.turn < move.turn]
    ends = [move, *(m for a in others for m in moves(a.steps)[-1:])]
    length = len(said.split())
    quiet = " ".join([episode.problem.text, *before])
    quote = next((m.observation for m in ends if _quotes(said, m.observation, quiet)), "")
    doable = [m.action for m in ends]
    if not answer.complete:
        return "truncated", answer.text[-200:]
    played = action_of(f"{said}\n{expert.steps[move.step].text}")
    if concluded.lower().rstrip(".") != move.action.lower().rstrip(".") or played != move.action:
        return "other_conclusion", f"{concluded!r}, and the expert did {move.action!r}"
    if not words[0] <= length <= words[1]:
        return "too_short" if length < words[0] else "too_long", f"{length} words"
    if meta := _META.search(said):
        return "meta_talk", meta[0]
    if quote:
        return "quotes_outcome", quote
    if name := ungrounded(episode.problem, said, [*before, *doable, *(m.observation for m in ends if foreseen)]):
        return "ungrounded", name
    if found := leaked(episode.problem, said, [*before, *doable]):
        return "leak", found
    return None


def _quotes(said: str, observation: str, known: str) -> bool:
    """Whether a text holds an answer of the world's that is not known yet."""
    plain = " ".join(observation.split())
    return len(plain) > _QUOTED and plain in " ".join(said.split()) and plain not in " ".join(known.split())
