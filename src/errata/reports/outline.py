"""`errata plan`: the stages as a graph, and how many requests and tokens to expect, before anything is paid for."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from errata.recipe.graph import order, predecessors
from errata.recipe.spec import Recipe
from errata.reports.expected import HALF, Expected, expect
from errata.reports.show import columns

CHARACTERS_PER_TOKEN = 4
"""A rule of thumb for English under today's tokenizers; no tokenizer is loaded to plan."""


class Asks(NamedTuple):
    """What a step asks for one episode."""

    step: str
    stage: str
    role: str
    requests: float
    prompt_tokens: float
    limit: int
    """Tokens of a reply at most; 0 where no engine of the recipe is asked."""


def asks(recipe: Recipe, characters: float) -> Iterator[Asks]:
    """What every step asks, in order; `characters` is the mean length of a problem."""
    made: dict[str, Expected] = {}
    by_name = {s.name: s for s in recipe.stages}
    for name in order(recipe)[0]:
        step = by_name[name]
        expected = made[name] = expect(step.use, step.with_, made)
        played = step.with_.get("role") or step.with_.get("maker") or next(iter(step.with_.get("roles", ())), "")
        role = str(played) if expected.requests else ""
        limit = recipe.engines[role].sampling.max_tokens if role in recipe.engines else 0
        # A prompt holds the problem and, from the second stage on, an attempt of up to half the limit.
        prompt = characters / CHARACTERS_PER_TOKEN + (0 if step.use == "sample" else limit * HALF)
        yield Asks(name, step.use, role, expected.requests, prompt, limit)


def outline(recipe: Recipe, problems: int | None, characters: float) -> str:
    """The plan of a recipe as text; `characters` is the mean length of a sampled problem."""
    before = predecessors(recipe)
    rows: list[Sequence[str]] = [("step", "stage", "after", "requests an episode", "asks")]
    total: dict[str, tuple[float, float]] = {}
    for a in asks(recipe, characters):
        if a.limit:
            requests, tokens = total.get(a.role, (0.0, 0.0))
            total[a.role] = (requests + a.requests, tokens + a.requests * (a.prompt_tokens + a.limit * HALF))
        asked = f"{a.requests:g}" if a.requests else "-"
        rows.append((a.step, a.stage, ", ".join(before[a.step]) or "source", asked, a.role or "-"))
    lines = [
        f"{recipe.name} {recipe.version}: {recipe.source.use}, {problems or 'an unknown number of'} problems",
        "",
    ]
    lines += [columns(rows, right=[3]), "", "corpus: " + (", ".join(c.use for c in recipe.corpus) or "-")]
    lines += [
        "exports: " + ", ".join(e.name for e in recipe.exports),
        "",
        "expected, if half of all attempts pass and a reply takes half its limit:",
    ]
    count = problems or 1
    per = "" if problems else " a problem"
    lines += [
        f"  {role} ({recipe.engines[role].use}): {round(r * count):,} requests{per}, {round(t * count):,} tokens{per}"
        for role, (r, t) in total.items()
    ] or ["  no engine is asked"]
    return "\n".join(lines)
