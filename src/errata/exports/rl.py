"""Prompts for reinforcement learning, with how replies are rewarded: a trainer samples the replies itself."""

from collections.abc import Iterator
from typing import Any

from jinja2 import TemplateError

from errata.errors import RecipeError
from errata.exports.base import ExportContext
from errata.exports.rewards import RewardTable, reward_table
from errata.exports.rows import refused
from errata.records.ids import digest
from errata.records.rows import Metric, RlRow
from errata.records.types import Attempt, Drop, Episode, Message, Tag
from errata.registry import Count, PromptName, StepName, export


@export(version=1)
def rl(
    episode: Episode,
    ctx: ExportContext,
    *,
    rewards: str = "outcome",
    parameters: dict[str, float] = {},
    terms: tuple[dict[str, Any], ...] = (),
    of: tuple[StepName, ...] = (),
    prompt: PromptName = "",
    group_size: Count = 8,
    turns: Count = 1,
    feedback: PromptName = "",
) -> Iterator[RlRow | Drop]:
    """A row per problem, or per attempt of the steps `of`, which `prompt` shows: a reply to it judges or mends it.

    Rewards are the table `rewards` (errata.exports.rewards) with its `parameters`, or `terms` of the recipe's own. The
    prompt is the problem's own messages, or the file `prompt`. Between two turns the user says the last message of the
    prompt file `feedback`: it may name the problem alone, so that it is the same for right and wrong first attempts.
    """
    table = reward_table(rewards, parameters, terms)
    if (turns > 1) != bool(feedback):
        raise RecipeError(
            f"turns: {turns} with feedback {feedback!r}: several turns need a prompt file as feedback, one has none"
        )
    if of and not prompt:
        raise RecipeError(f"rows of attempts (of: {', '.join(of)}) need a `prompt` that shows them")
    again = _feedback(ctx, episode, feedback) if feedback else ""

    def row(id: str, asked: tuple[Message, ...], about: Attempt | None) -> RlRow:
        truth = () if about is None else (Tag(name="outcome", value=episode.outcome(about.id)), *about.tags)
        return RlRow(
            id=id, episode=episode.id, split=episode.problem.split, prompt=asked, answer=episode.problem.answer or "",
            verifier=episode.problem.verifier, rewards=table.terms, group_size=group_size, turns=turns, feedback=again,
            lineage=(about.id,) if about else (), seen=about.seen if about else (),
            tags=(Tag(name="rewards", value=table.name), *_held(table), *truth), metrics=_rates(episode),
        )  # fmt: skip

    if not of:
        asked = ctx.prompt(prompt).render(episode.problem) if prompt else episode.problem.messages
        yield row(digest(row="rl", stage=ctx.stage, problem=episode.id), asked, None)
    for attempt in episode.attempts:
        if attempt.stage not in of:
            continue
        id = digest(row="rl", stage=ctx.stage, attempt=attempt.id)
        if not attempt.complete or episode.outcome(attempt.id) == "unknown":
            yield refused(episode, ctx.stage, id, "no_verdict", attempt.id)
        elif episode.rejects(attempt.id):
            yield refused(episode, ctx.stage, id, "not_accepted", attempt.id)
        else:
            yield row(id, ctx.prompt(prompt).render(episode.problem, attempt), attempt)


def _feedback(ctx: ExportContext, episode: Episode, name: str) -> str:
    """The last message of the prompt file, rendered with the problem and nothing else."""
    role, template = ctx.prompt(name).parts[-1]
    if template is None or role != "user":
        raise RecipeError(f"the prompt {name} is no feedback between turns: its last message is not a user's own")
    try:
        return template.render({"problem": {"text": episode.problem.text, "domain": episode.problem.domain}})
    except TemplateError as error:
        raise RecipeError(
            f"the prompt {name} is no feedback between turns, which must be the same for right and wrong attempts: "
            f"its last message names more than the problem ({error})"
        ) from error


def _held(table: RewardTable) -> tuple[Tag, ...]:
    """`kl`: the turns that the table holds to the reference policy more than the rest."""
    held = [t.segment for t in table.terms if t.kind == "kl" and t.segment != "all"]
    return (Tag(name="kl", value=",".join(held)),) if held else ()


def _rates(episode: Episode) -> tuple[Metric, ...]:
    """`rate_STEP`: share of what a step sampled or revised that passes; nothing where no verdict is known."""
    by_step: dict[str, list[bool]] = {}
    for a in episode.attempts:
        if a.kind in ("sampled", "revised", "rollout") and episode.outcome(a.id) != "unknown":
            by_step.setdefault(a.stage, []).append(episode.outcome(a.id) == "pass")
    return tuple(Metric(name=f"rate_{step}", value=sum(x) / len(x)) for step, x in sorted(by_step.items()))
