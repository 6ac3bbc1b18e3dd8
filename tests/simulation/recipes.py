"""Recipes of a few stages and problems, each prepared once: what differs from seed to seed is what changes no row."""

import asyncio
import functools
import random
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

from msgspec import structs

from errata import registry
from errata.records.types import Problem
from errata.runners import job
from errata.runners.options import Options
from errata.runners.plan import Plan
from errata.verifiers.base import Judgement
from tests.runners.support import Recipe
from tests.simulation.network import PORTS

STRICT = '''
from errata.records.types import Check, Problem
from errata.registry import verifier
from errata.verifiers.base import Judgement
from errata.verifiers.chain import procedural


@verifier(version=1, inline=False)
def strict(problem: Problem, text: str) -> Judgement:
    """Every step; runs in the pool."""
    return procedural(problem, text, strict=True)
'''
SAMPLE = {"use": "sample", "with": {"n": 2, "steps": "chain"}}
CRITIQUE = {"use": "critique", "with": {"prompt": "chains_critique", "most": 1}}
REVISE = {"use": "revise", "with": {"prompt": "chains_revise", "n": 1, "steps": "chain"}}
SHAPES: Mapping[str, list[dict[str, Any]]] = {
    "short": [SAMPLE, {"use": "verify"}],
    "chain": [
        SAMPLE,
        {"use": "verify"},
        CRITIQUE,
        REVISE,
        {"name": "verify_revisions", "use": "verify", "with": {"of": "revise"}},
        {"use": "splice", "with": {"lead": "Wait : ", "locations": ["teacher"]}},
        {"name": "verify_splices", "use": "verify", "with": {"of": "splice"}},
        {"use": "filter"},
        {"use": "pair"},
    ],
    "branches": [
        SAMPLE,
        {"name": "pooled", "use": "verify", "with": {"verifier": "strict.py:strict"}, "after": ["sample"]},
        {"use": "verify", "after": ["sample"]},
        {"name": "gold", "use": "locate", "after": ["verify"], "with": {"method": "gold"}},
        {**CRITIQUE, "after": ["verify"]},
        {**REVISE, "after": ["critique"]},
        {"name": "all", "use": "verify", "after": ["gold", "revise", "pooled"], "with": {"of": "revise"}},
        {"use": "pair"},
    ],
}
"""Steps by the recipe's name."""
COUNTS = (1, 1, 1, 2, 2, 2, 3, 3, 4, 8)
LASTING = 23
"""One request in so many can never be answered."""


class Recipes:
    """Jobs, prepared in a folder of their own."""

    def __init__(self, folder: Path, *, engine: str = "") -> None:
        """`engine` is the source of a class `Engine` to take the place of the OpenAI client."""
        self._folder, self._engine = folder, engine
        self._jobs: dict[str, job.Job] = {}

    def of(self, shape: str, count: int, out: Path, *, concurrency: int = 8, part_size: int = 4) -> job.Job:
        """A run of `count` problems."""
        if shape not in self._jobs:
            self._jobs[shape] = self._prepare(shape)
        found = self._jobs[shape]
        source = structs.replace(found.recipe.source, with_={**found.recipe.source.with_, "count": count})
        recipe = structs.replace(found.recipe, source=source, concurrency=concurrency, part_size=part_size)
        plan = Plan(recipe, found.plan.folder)
        return replace(found, recipe=recipe, plan=plan, options=replace(found.options, out=out))

    def _prepare(self, shape: str) -> job.Job:
        recipe = Recipe(self._folder / shape)
        recipe.path.with_name("strict.py").write_text(STRICT)
        use = "openai"
        if self._engine:
            use = "planted.py:Engine"
            recipe.path.with_name("planted.py").write_text(self._engine)
        urls = [f"http://127.0.0.1:{port}/v1" for port in PORTS]
        with_ = {"concurrency": 3, "deadline": 120.0, "retries": 8, "identity": "simulated"}
        recipe.data["engines"] = {
            "student": {"use": use, "with": {"model": "s", "base_url": urls[0], **with_}},
            "teacher": {"use": use, "with": {"model": "t", "base_url": urls, **with_}},
        }
        recipe.data["stages"] = deepcopy(SHAPES[shape])
        recipe.data["source"]["with"]["operations"] = [3, 3]
        if shape == "short":
            del recipe.data["engines"]["teacher"]
            recipe.data["exports"] = [{"use": "sft", "with": {"of": ["sample"]}}]
        if shape == "branches":
            recipe.data["exports"] = [{"use": "sft", "with": {"of": ["revise"]}}, {"use": "dpo"}]
        recipe.write()
        return job.prepare(Options(recipe=recipe.path))


@functools.cache
def _verifier(name: str, folder: Path) -> registry.Component:
    return registry.find("verifier", name, folder)


class InlinePool:
    """What a pool of processes is to a run, without one: verdicts after a while, and none of what is doomed."""

    def __init__(self, draw: random.Random) -> None:
        self._draw = draw

    async def judge(
        self, component_name: str, folder: Path | None, problem: Problem, text: str, options: Mapping[str, Any]
    ) -> Judgement:
        await asyncio.sleep(self._draw.expovariate(10))
        if doomed(text):
            return self.lost(component_name)
        judged: Judgement = _verifier(component_name, folder or Path()).make(problem, text, **options)
        return judged

    def lost(self, name: str) -> Judgement:
        """What is said of a verifier that did not answer."""
        return Judgement(outcome="unknown", evidence=f"{name}: timed out after 5 s")

    async def close(self) -> None:
        """Nothing was started."""


def doomed(text: str) -> bool:
    """Whether a verifier never answers on this text."""
    return sum(text.encode()) % 5 == 0
