"""Keep the problems of whose first action a model is not sure: the ones that are worth more training data.

What it could do next is compared by how likely the model finds it: the margin is how far the likeliest of the candidate
actions is ahead of the second, as shares of all of them. No label and no verdict is asked. It is the trigger of
test-time self-improvement (TT-SI, arXiv:2510.07841); the source `similar` makes problems like those that are kept.
"""

from collections.abc import Coroutine, Mapping, Sequence
from math import exp
from typing import Annotated, Any, Literal, NamedTuple

from msgspec import Meta

from errata.records.trajectory import action_of
from errata.records.types import Additions, Drop, Episode, Estimate, Message
from errata.registry import Count, PromptName, Role, Temperature, stage
from errata.stages.base import Context, filtered, gather, new_id, quarantined, request_seed

Share = Annotated[float, Meta(ge=0, le=1)]


class _Candidate(NamedTuple):
    action: str
    text: str
    """What is said to take the action."""
    logprob: float
    """Natural logarithm of the text's probability, the sum over its tokens."""


@stage(version=1)
async def uncertain(
    episode: Episode,
    ctx: Context,
    *,
    tau: Share,
    role: Role = "student",
    prompt: PromptName = "solve",
    candidates: Literal["valid", "sampled"] = "valid",
    n: Count = 8,
    says: str = "{action}",
    temperature: Temperature | None = None,
) -> Additions:
    """Keep the problems of which the model is not sure: the `margin` between its two best actions is less than `tau`.

    The margin, from 0 to 1, is an Estimate of the problem; the episode of one at or above `tau` ends here, filtered.

    Candidates are all `valid` actions of the problem's world at its beginning, each scored in the words `says`, or n
    replies `sampled` with their log-probabilities: of equal ones one, and those of one action together. One candidate
    alone has the margin 1. A problem with a valid action that cannot be scored, or without any candidate, is
    quarantined. The paper does not fix `tau`.
    """
    template = ctx.prompt(prompt)
    asked = template.render(episode.problem)
    tasks: dict[str, Coroutine[Any, Any, _Candidate | Drop]]
    if candidates == "valid":
        actions = await (await ctx.world(episode.problem)).valid_actions()
        tasks = {new_id(episode, ctx, a, 0): _scored(ctx, role, asked, a, says.replace("{action}", a)) for a in actions}
    else:
        drawn = {} if temperature is None else {"temperature": temperature}
        tasks = {
            new_id(episode, ctx, "", k): _sampled(episode, ctx, role, asked, k, template.label, drawn) for k in range(n)
        }
    made, lost = await gather(episode, ctx, tasks)
    found = [c for c in made if isinstance(c, _Candidate)]
    drops = (*lost, *(c for c in made if isinstance(c, Drop)))
    if not found or (drops and candidates == "valid"):
        code = drops[0].code if drops else "no_candidates"
        return Additions(drops=(*drops, quarantined(episode, ctx, episode.id, code, "its candidates are not known")))
    margin, count = _margin(found)
    if margin >= tau:
        drops += (filtered(episode, ctx, episode.id, "certain", f"margin {margin:g} of {count}, below {tau:g} asked"),)
    known = Estimate(target=episode.id, stage=ctx.stage, name="margin", value=margin, n=count, engine=role)
    return Additions(estimates=(known,), drops=drops)


async def _scored(ctx: Context, role: str, asked: Sequence[Message], action: str, text: str) -> _Candidate | Drop:
    found = await ctx.score(role, (*asked, Message(role="assistant", content=text)))
    return _Candidate(action, text, sum(found.logprobs))


async def _sampled(
    episode: Episode, ctx: Context, role: str, asked: Sequence[Message], k: int, template: str,
    drawn: Mapping[str, float],
) -> _Candidate | Drop:  # fmt: skip
    said = await ctx.ask(
        role, asked, seed=request_seed(episode, ctx, "", k), template=template, sampling=drawn, logprobs=True
    )
    if not (said.complete and said.text.strip()):
        why = "it was cut by its length limit, or is empty"
        return quarantined(episode, ctx, new_id(episode, ctx, "", k), "truncated", why)
    action = action_of(said.text) if episode.problem.task else said.text.strip()
    return _Candidate(action, said.text, sum(said.logprobs))


def _margin(found: Sequence[_Candidate]) -> tuple[float, int]:
    """By how much the likeliest action's share exceeds the second's, and how many actions there are."""
    logprobs = {(c.action, c.text): c.logprob for c in found}
    most = max(logprobs.values())
    shares: dict[str, float] = {}
    for (action, _), value in logprobs.items():
        shares[action] = shares.get(action, 0.0) + exp(value - most)
    first, second = sorted((*shares.values(), 0.0), reverse=True)[:2]
    return round((first - second) / sum(shares.values()), 6), len(shares)
