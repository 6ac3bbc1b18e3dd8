"""`errata plan`: the stages as a graph, and how many requests and tokens to expect, before anything is paid for."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from errata.recipe.graph import order, predecessors
from errata.recipe.spec import Recipe
from errata.reports.show import columns

CHARACTERS_PER_TOKEN = 4
"""A rule of thumb for English under today's tokenizers; no tokenizer is loaded to plan."""
HALF = 0.5


class Asks(NamedTuple):
    """What a step asks for one episode."""

    step: str
    stage: str
    role: str
    requests: float
    prompt_tokens: float
    limit: int
    """Tokens of a reply at most; 0 where no engine of the recipe is asked."""


class Expected(NamedTuple):
    """What a stage asks per episode, if half of all attempts pass."""

    requests: float
    attempts: float
    """Attempts that exist after the stage, of the kind that it makes."""


def asks(recipe: Recipe, characters: float) -> Iterator[Asks]:
    """What every step asks, in order; `characters` is the mean length of a problem."""
    made: dict[str, Expected] = {}
    by_name = {s.name: s for s in recipe.stages}
    for name in order(recipe)[0]:
        step = by_name[name]
        expected = made[name] = _expect(step.use, step.with_, made)
        role = str(step.with_.get("role", "")) if expected.requests else ""
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


def _expect(stage: str, with_: Mapping[str, Any], made: Mapping[str, Expected]) -> Expected:
    """Requests and attempts of one stage; a stage of the user's own is taken to ask nothing."""
    if stage == "sample":
        return Expected(with_["n"], with_["n"])
    source = made.get(str(with_.get("of", "")), Expected(0, 1)).attempts
    most = with_.get("most") or source
    share = HALF if with_.get("outcome") in ("fail", "pass") else 1.0
    chosen = min(most, source * share)
    if stage == "critique":
        return Expected(chosen * with_["n"], chosen * with_["n"])
    if stage == "revise":
        of = made.get(str(with_.get("critique", "")), Expected(0, chosen)).attempts if with_.get("critique") else chosen
        return Expected(of * with_["n"], of * with_["n"])
    if stage == "close_loop":
        tried = sum(made[c].attempts for c in with_["critiques"] if c in made)
        arms = 1 + bool(with_["placebo"]) + bool(with_["wrong"])
        return Expected(tried * with_["k"] * arms, tried * with_["k"] * arms)
    if stage == "scrub":
        tried = sum(made[c].attempts for c in with_["of"] if c in made)
        return Expected(tried * with_["n"] if with_["role"] else 0, tried)
    if stage == "inject":
        return Expected(min(with_["n"], source * HALF), min(with_["n"], source * HALF))
    if stage == "locate" and with_["method"] == "judge":
        return Expected(chosen, chosen)
    if stage == "locate" and with_["method"] == "forks":
        # The whole, and about log2 of ten steps.
        return Expected(chosen * with_["forks"] * 4, chosen)
    return Expected(0, source)
