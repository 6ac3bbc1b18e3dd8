"""Rollouts with their rewards, for training on what was sampled: every attempt of a group, right or wrong.

A group is what one step made for one problem. Its pass rate and, where asked, each rollout's advantage over the group
are in the rows, so that a trainer needs no other row of the group. Critiques are rollouts too: of whoever criticises.
"""

from collections.abc import Iterator, Mapping, Sequence
from statistics import fmean, stdev
from typing import Any, Literal, NamedTuple

from errata.errors import RecipeError
from errata.exports.base import ExportContext
from errata.exports.rewards import TOLD, RewardTable, reward_table, turns
from errata.exports.rows import (
    context,
    conversation,
    leak,
    leak_in_critique,
    refused,
    rendered,
    shifted,
    transition,
)
from errata.records.ids import digest
from errata.records.rows import Metric, OfflineRow, Span
from errata.records.types import Attempt, Critique, Drop, Episode, Message, Outcome, Tag
from errata.registry import PromptName, StepName, export
from errata.verifiers.leak import leaked

Over = Literal["none", "mean", "mean_and_std"]
CONSTRUCTED = ("spliced", "injected", "truncated", "replayed")
"""Kinds of attempts that were put together and not sampled as they stand."""


class _Rollout(NamedTuple):
    """An attempt or critique, its verdict and its reward."""

    of: Attempt | Critique
    id: str
    """Of the row."""
    outcome: Outcome
    """Whether it passes; for a critique, whether what it says of the attempt is so."""
    reward: float


@export(version=1)
def offline_rl(
    episode: Episode,
    ctx: ExportContext,
    *,
    of: tuple[StepName, ...] = ("sample",),
    rewards: str = "outcome",
    parameters: dict[str, float] = {},
    terms: tuple[dict[str, Any], ...] = (),
    estimate: str = "",
    prompt: PromptName = "",
    group: Literal["step", "problem"] = "step",
    advantage: Over = "none",
    mixed: bool = False,
    privileged: bool = False,
) -> Iterator[OfflineRow | Drop]:
    """A row per attempt or critique that the steps `of` made and that has a known verdict; `privileged` admits leaks.

    Rewards are by the table `rewards` (errata.exports.rewards) with its `parameters`, by `terms` of the recipe's own,
    or the number `estimate` of the rollout. A group is one step's rollouts, or all of the problem's. The advantage is
    the reward less the group's mean, divided by its standard deviation (n - 1) with `mean_and_std`: 0 where all rewards
    are the same. With `mixed`, groups that all pass or all fail are dropped.

    Rows stand on the problem's own messages, or on `prompt`, which sees what the attempt revises and the critique that
    its maker saw. Critiques need a `prompt` that shows the attempt. Log-probabilities stand in a row where the step
    asked for them (`logprobs: true` of `sample`) and all of the reply was sampled after what the row begins with.
    """
    table = reward_table(rewards, parameters, terms)
    if unfit := sorted({t.kind for t in table.terms} - set(TOLD)):
        raise RecipeError(
            f"offline_rl cannot compute the {unfit[0]} term of the reward table {table.name}: "
            f"verdicts tell {', '.join(TOLD)}; give `terms` of these alone, or an `estimate`"
        )
    groups: dict[str, list[_Rollout]] = {}
    for step in of:
        at = digest(problem=episode.id, stage=step if group == "step" else sorted(of))
        for made in _made(episode, step):
            found = _rollout(episode, ctx, made, table, estimate, prompt)
            if isinstance(found, Drop):
                yield found
            else:
                groups.setdefault(at, []).append(found)
    for id, rollouts in groups.items():
        one_sided = _one_sided(rollouts) if mixed else ""
        over = _advantages([r.reward for r in rollouts], advantage)
        for rollout, ahead in zip(rollouts, over, strict=True):
            if one_sided:
                yield refused(episode, ctx.stage, rollout.id, one_sided, f"the group {id} of {len(rollouts)}")
            else:
                yield (None if privileged else _leaking(episode, ctx, rollout, prompt)) or _row(
                    episode, ctx, rollout, id, rollouts, ahead, prompt
                )


def _made(episode: Episode, step: str) -> Iterator[Attempt | Critique]:
    yield from (a for a in episode.attempts if a.stage == step)
    yield from (c for c in episode.critiques if c.stage == step)


def _rollout(
    episode: Episode, ctx: ExportContext, made: Attempt | Critique, table: RewardTable, estimate: str, prompt: str
) -> _Rollout | Drop:
    """The rollout, or why it is none: an unknown verdict is never taken for a wrong one."""
    id = digest(row="offline_rl", stage=ctx.stage, of=made.id)
    if isinstance(made, Critique) and not prompt:
        return refused(episode, ctx.stage, id, "no_prompt", "a critique needs a prompt that shows the attempt")
    if episode.rejects(made.id):
        return refused(episode, ctx.stage, id, "not_accepted", made.id)
    outcome = episode.outcome(made.id) if isinstance(made, Attempt) else _truth(episode, made)
    if outcome == "unknown" or (isinstance(made, Attempt) and not made.complete):
        return refused(episode, ctx.stage, id, "no_verdict", made.id)
    if estimate:
        value = episode.estimate(made.id, estimate)
        if value is None:
            return refused(episode, ctx.stage, id, "no_estimate", f"{made.id} has no {estimate}")
        return _Rollout(made, id, outcome, value)
    known = _known(episode, made, outcome)
    if missing := sorted(table.segments - {segment for segment, _ in known}):
        return refused(episode, ctx.stage, id, "no_turn", f"{table.name} asks for the {missing[0]} turn of {made.id}")
    return _Rollout(made, id, outcome, table.worth(known))


def _truth(episode: Episode, critique: Critique) -> Outcome:
    """Whether the verifier bears out that the attempt holds an error, or none."""
    truth = episode.outcome(critique.attempt)
    if critique.verdict == "unknown" or truth == "unknown":
        return "unknown"
    return "pass" if (critique.verdict == "error") == (truth == "fail") else "fail"


def _known(episode: Episode, made: Attempt | Critique, outcome: Outcome) -> Mapping[tuple[str, str], str]:
    if isinstance(made, Critique):
        return {("verdict", "verdict"): "right" if outcome == "pass" else "wrong"}
    before = episode.outcome(made.parent) if made.parent and made.kind in ("revised", "spliced") else "unknown"
    return turns(outcome) if before == "unknown" else turns(before, outcome)


def _one_sided(rollouts: Sequence[_Rollout]) -> str:
    """`all_right` or `all_wrong` where a group teaches nothing by comparison; empty where it is mixed."""
    outcomes = {r.outcome for r in rollouts}
    return "" if len(outcomes) > 1 else "all_right" if outcomes == {"pass"} else "all_wrong"


def _advantages(rewards: Sequence[float], over: Over) -> list[float | None]:
    if over == "none":
        return [None] * len(rewards)
    mean = fmean(rewards)
    scale = stdev(rewards) if over == "mean_and_std" and len(rewards) > 1 else 1.0
    return [(r - mean) / scale if r != mean and scale > 0 else 0.0 for r in rewards]


def _leaking(episode: Episode, ctx: ExportContext, rollout: _Rollout, prompt: str) -> Drop | None:
    """A drop where the rollout, or the critique that `prompt` shows, gives privileged text away."""
    made = rollout.of
    if isinstance(made, Attempt):
        told = leak_in_critique(episode, ctx.stage, rollout.id, made) if prompt else None
        return leak(episode, ctx.stage, rollout.id, [made]) or told
    quoted = [s.text for s in episode.attempt(made.attempt).steps]
    found = leaked(episode.problem, made.text, quoted) if made.seen else None
    return refused(episode, ctx.stage, rollout.id, "privileged_text", found) if found else None


def _row(
    episode: Episode, ctx: ExportContext, rollout: _Rollout, group: str, rollouts: Sequence[_Rollout],
    advantage: float | None, prompt: str,
) -> OfflineRow:  # fmt: skip
    made, right = rollout.of, sum(r.outcome == "pass" for r in rollouts)
    if isinstance(made, Critique):
        about = episode.attempt(made.attempt)
        asked = ctx.prompt(prompt).render(episode.problem, about)
        turns_made: tuple[Message, ...] = (Message(role="assistant", content=made.text),)
        spans: tuple[Span, ...] = (Span(message=0, start=0, end=len(made.text), role="critique", train=True),)
        lineage: tuple[str, ...] = (made.id, about.id)
        seen, guided = {*made.seen, *about.seen}, bool(made.seen)
        tags = (*made.tags, Tag(name="verdict", value=made.verdict))
        change = transition("unknown", "unknown")
    else:
        asked = rendered(episode, ctx, made, prompt)
        turns_made, spans = conversation(made)
        lineage = tuple(x for x in (made.id, made.parent, made.other, made.critique) if x)
        seen, guided = set(made.seen), _guided(ctx, made, prompt)
        tags = made.tags
        change = transition(episode.outcome(made.parent) if made.parent else "unknown", rollout.outcome)
    return OfflineRow(
        id=rollout.id, episode=episode.id, split=episode.problem.split, messages=(*asked, *turns_made),
        spans=(*context(asked), *shifted(spans, len(asked))), reward=rollout.reward,
        group=group, group_rate=right / len(rollouts), advantage=advantage,
        guided=guided, constructed=isinstance(made, Attempt) and made.kind in CONSTRUCTED,
        logprobs=() if guided or isinstance(made, Critique) or made.kind == "forked" else made.logprobs,
        transition=change, lineage=lineage, seen=tuple(sorted(seen)), tags=tags,
        metrics=(
            Metric(name="passes", value=float(rollout.outcome == "pass")),
            Metric(name="group_size", value=float(len(rollouts))),
            Metric(name="group_right", value=float(right)),
        ),
    )  # fmt: skip


def _guided(ctx: ExportContext, made: Attempt, prompt: str) -> bool:
    """Whether its maker saw more than the row's prompt shows: the reference, a critique, the attempt it revises."""
    shown = ctx.prompt(prompt).names if prompt else frozenset()
    if made.seen or (made.critique and "critique" not in shown):
        return True
    return made.kind == "revised" and "attempt" not in shown
