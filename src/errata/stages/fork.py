"""Leave an attempt at a step and go on otherwise: continuations of its first steps, character for character.

Whole continuations tell what a prefix is worth; single steps are what the student might have said here instead, and so
where its own mistakes on a right path come from (S3c-Math's step-level sampling, arXiv:2409.01524).
"""

from collections.abc import Sequence
from functools import partial
from typing import Literal

from msgspec.structs import replace

from errata.records.segment import Rule
from errata.records.types import Additions, Attempt, Critique, Episode, Outcome, Step
from errata.registry import Count, Most, PromptName, Role, StepName, stage
from errata.stages.base import Context, ask_attempt, chosen, filtered, gather, located, new_id, rng, sibling

At = Literal["all", "random", "given", "error", "end"]
"""Where attempts are left: before every step, before some drawn at random, before those given by index, before the
first wrong step, or after the last step."""
_BREAKS = {"lines": "\n", "chain": "\n", "paragraphs": "\n\n"}
"""Where a single step ends, so that no more of the reply is paid for; sentences are cut off afterwards."""


@stage(version=1)
async def fork(
    episode: Episode,
    ctx: Context,
    *,
    role: Role = "student",
    of: StepName = "sample",
    outcome: Outcome | Literal["any"] = "pass",
    most: Most = 0,
    at: At = "all",
    places: tuple[int, ...] = (),
    draws: Count = 1,
    n: Count = 4,
    only: bool = False,
    critique: StepName = "",
    beside: StepName = "",
    prompt: PromptName = "solve",
    locations: tuple[str, ...] = ("gold", "forks", "judge", "comparison", "teacher", "label"),
    steps: Rule = "lines",
) -> Additions:
    """Have `role` go on n times from the first steps of attempts, to the end, or by one step alone (`only`).

    `places` are the indices of the steps for `at: given`, negative ones counted from the end; `draws` is how many steps
    are drawn for `at: random`; `locations` are whose word on the first wrong step counts for `at: error`. A fork holds
    the attempt's steps s_<k and what came instead of the rest; k is its `fork_step`.

    The prompt may show more than the problem: the attempt that is left, what the step `critique` says of its step k
    (only attempts that it criticises are forked), and as `other` the sibling of the step `beside`.
    """
    template = ctx.prompt(prompt)
    drops = []
    tasks = {}
    stop = {"stop": (_BREAKS[steps],)} if only and steps in _BREAKS else {}
    criticised = {c.attempt for c in episode.critiques if c.stage == critique and c.verdict == "error"}
    parents = [a for a in chosen(episode, of=of, outcome=outcome) if not critique or a.id in criticised]
    for parent in parents[: most or None]:
        indices = _places(episode, ctx, parent, at, places, draws, locations)
        if not indices:
            drops.append(filtered(episode, ctx, parent.id, "nowhere_to_fork", f"{at}: {len(parent.steps)} steps"))
        other = sibling(episode, parent, beside) if beside else None
        for i in indices:
            said = _said(episode, parent, i, critique)
            if (critique and said is None) or (beside and other is None):
                drops.append(filtered(episode, ctx, parent.id, "nothing_to_show", f"step {i}"))
                continue
            known = {*parent.seen, *(said.seen if said else ()), *((*other.seen, "right_step") if other else ())}
            messages = partial(template.render, episode.problem, parent, said, shown={"other": other})
            branch = f"{parent.id}:{i}"
            for k in range(i * n, (i + 1) * n):
                tasks[new_id(episode, ctx, branch, k)] = ask_attempt(
                    episode, ctx, messages(index=k), kind="forked", role=role, branch=branch,
                    k=k, steps=steps, template=template.label, prefix=parent.steps[:i], sampling=stop,
                    parent=parent.id, fork_step=i, critique=said.id if said else None, seen=tuple(sorted(known)),
                )  # fmt: skip
    made, failed = await gather(episode, ctx, tasks)
    kept = [a for a in made if at == "end" or len(a.steps) > (a.fork_step or 0)]
    drops += [filtered(episode, ctx, a.id, "no_step", "the reply is empty") for a in made if a not in kept]
    cut = tuple(_single(a, episode.attempt(str(a.parent))) if only else a for a in kept)
    return Additions(attempts=cut, drops=(*drops, *failed))


def _said(episode: Episode, attempt: Attempt, at: int, step: str) -> Critique | None:
    """The first critique of a step of the recipe that finds the error of the attempt here."""
    return next(
        (
            c
            for c in episode.critiques
            if c.stage == step and c.attempt == attempt.id and (c.verdict, c.first_error) == ("error", at)
        ),
        None,
    )


def _places(
    episode: Episode, ctx: Context, parent: Attempt, at: At, places: Sequence[int], draws: int, sources: Sequence[str]
) -> list[int]:
    """Indices of the steps before which to leave, in order; those that the attempt has not are left out."""
    count = len(parent.steps)
    if at == "end":
        return [count]
    if at == "random":
        return sorted(rng(episode, ctx, parent.id).sample(range(count), min(draws, count)))
    if at == "given":
        return sorted({i % count for i in places if -count <= i < count}) if count else []
    if at == "error":
        found = located(episode, parent, sources)
        return [found.first_error] if found and found.first_error is not None and found.first_error <= count else []
    return list(range(count))


def _single(fork: Attempt, parent: Attempt) -> Attempt:
    """The fork with its first own step alone, which ends as the parent's step in its place does."""
    k = fork.fork_step or 0
    mine = fork.steps[k]
    known = parent.steps[k].text if k < len(parent.steps) else ""
    tail = known[len(known.rstrip()) :]
    cut = len(fork.steps) > k + 1
    step = Step(text=mine.text.rstrip() + tail, role=mine.role if not tail else "reasoning", source=mine.source)
    return replace(fork, steps=(*fork.steps[:k], step), complete=fork.complete or cut)
