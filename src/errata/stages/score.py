"""How likely a model finds attempts, whoever made them: the mean log-probability per token, of the whole and each step.

Near to 0 for a text that the model would have written itself, far below for one that is foreign to it (on-policy-ness).
"""

from typing import Literal

from errata.records.types import Additions, Attempt, Episode, Estimate, Message, Outcome
from errata.registry import Most, PromptName, Role, StepName, stage
from errata.stages.base import Context, Part, chosen, gather


@stage(version=1)
async def score(
    episode: Episode,
    ctx: Context,
    *,
    role: Role = "student",
    of: StepName = "sample",
    outcome: Outcome | Literal["any"] = "any",
    most: Most = 0,
    prompt: PromptName = "solve",
    given: Literal["none", "own", "reference"] = "none",
    says: str = "The answer is {answer}",
) -> Additions:
    """Estimates `logprob` of attempts under `role`, which is shown `prompt`: a mean per token, of the whole and a step.

    Natural logarithms at temperature 1, without end-of-turn tokens; `n` is the number of tokens, so that `value * n` is
    the log-probability. A step that holds no token of its own has no estimate. Of several turns each is scored after
    those before it, and what the user says is not.

    `given` adds the Estimate `answer_logprob` of whole attempts of one turn, log p(answer | problem, the steps before
    it) per token: of their `own` last step, or of the `reference` answer in its place - the gold solution's last step,
    or `says` around the answer. It tells what an explanation does for the answer (ExPO, arXiv:2507.02834).
    """
    attempts = chosen(episode, of=of, outcome=outcome, most=most)
    tasks = {a.id: _scored(episode, ctx, a, role, prompt) for a in attempts}
    scored, drops = await gather(episode, ctx, tasks)
    estimates = [e for found in scored for e in found]
    if given == "own":
        own = {(e.target, e.step): e for e in estimates}
        answers = [own.get((a.id, len(a.steps) - 1)) for a in attempts if _answers(a)]
        estimates += [
            _estimate(ctx, e.target, role, Part(e.value * e.n, e.n), name="answer_logprob") for e in answers if e
        ]
    if given == "reference" and (reference := _reference(episode, says)):
        asked = {a.id: _after(episode, ctx, a, role, prompt, reference) for a in attempts if _answers(a)}
        given_rest, more = await gather(episode, ctx, asked)
        estimates += given_rest
        drops = (*drops, *(d for d in more if d not in drops))
    return Additions(estimates=tuple(estimates), drops=drops)


async def _scored(episode: Episode, ctx: Context, attempt: Attempt, role: str, prompt: str) -> list[Estimate]:
    """The whole and each step that has tokens."""
    messages = list(ctx.prompt(prompt).render(episode.problem, index=attempt.index))
    parts: dict[int, Part] = {}
    for turn in sorted({s.turn for s in attempt.steps}):
        places = [i for i, s in enumerate(attempt.steps) if s.turn == turn]
        texts = [attempt.steps[i].text for i in places]
        mine = turn % 2 == 0
        messages.append(Message(role="assistant" if mine else "user", content="".join(texts)))
        if mine and messages[-1].content.strip():
            found = await ctx.score(role, messages)
            parts |= {i: part for i, part in zip(places, found.parts(texts), strict=True) if part.tokens}
    if not parts:
        return []
    whole = Part(sum(p.total for p in parts.values()), sum(p.tokens for p in parts.values()))
    steps = [_estimate(ctx, attempt.id, role, part, step=i) for i, part in parts.items()]
    return [_estimate(ctx, attempt.id, role, whole), *steps]


async def _after(episode: Episode, ctx: Context, attempt: Attempt, role: str, prompt: str, answer: str) -> Estimate:
    """The answer after the attempt's steps, instead of its own."""
    before = "".join(s.text for s in attempt.steps[:-1])
    messages = ctx.prompt(prompt).render(episode.problem, index=attempt.index)
    found = await ctx.score(role, (*messages, Message(role="assistant", content=before + answer)))
    return _estimate(ctx, attempt.id, role, found.parts((before, answer))[1], name="answer_logprob")


def _answers(attempt: Attempt) -> bool:
    """Whether it is one turn that ends with its answer."""
    return attempt.complete and {s.turn for s in attempt.steps} == {0} and attempt.steps[-1].role == "answer"


def _reference(episode: Episode, says: str) -> str:
    """The reference answer in the words of a last step; empty where there is none."""
    problem = episode.problem
    if problem.solution:
        return problem.solution[-1]
    return says.replace("{answer}", problem.answer) if problem.answer else ""


def _estimate(
    ctx: Context, target: str, role: str, part: Part, *, step: int | None = None, name: str = "logprob"
) -> Estimate:
    mean = round(part.total / part.tokens, 6) + 0.0
    return Estimate(target=target, stage=ctx.stage, name=name, value=mean, n=part.tokens, step=step, engine=role)
