"""A small world for stages: real prompts, verifiers, journal and context; engines that a test writes in one line.

made = run(sample, episode(problem(7)), World({"student": Oracle()}), n=4)
"""

import asyncio
import random
import tempfile
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from errata import chains
from errata.engines.base import Engine, Identity, Reply, Request
from errata.engines.journal import Journal, Journaled
from errata.environments.hosts import Worlds
from errata.recipe.spec import EngineSpec, ExportSpec, Recipe, SamplingSpec, Use
from errata.records.ids import digest
from errata.records.types import Additions, Attempt, Critique, Drop, Episode, Message, Outcome, Problem, Verdict
from errata.runners.context import StepContext, Tools
from errata.runners.plan import Plan
from errata.sources.procedural import procedural
from errata.stages.base import steps_of
from errata.verifiers.pool import Pool

Stage = Callable[..., Coroutine[Any, Any, Additions]]


class Says:
    """An engine that answers by a function of the request; what the function raises, it raises."""

    def __init__(self, answer: Callable[[Request], str | Reply], seen: tuple[str, ...] = ()) -> None:
        self.answer, self.seen = answer, seen
        self.asked: list[Request] = []

    @property
    def identity(self) -> Identity:
        return Identity(engine="says", version=1, model="a test's own", revision="0")

    async def generate(self, request: Request) -> Reply:
        self.asked.append(request)
        said = self.answer(request)
        if isinstance(said, Reply):
            return said
        return Reply(text=said, finish="stop", prompt_tokens=1, completion_tokens=len(said.split()))

    async def close(self) -> None:
        """Nothing to free."""


def faithful(request: Request) -> str:
    """Solve the chain and, after a prefix, go on from whatever the prefix says: an error is carried to the end."""
    chain = chains.parse("\n".join(m.content for m in request.messages))
    assert chain is not None
    known = {r.name: int(r.left) for r in chain.rules if not r.op}
    begun, reply = "", ""
    if request.continues:
        done, _, begun = request.messages[-1].content.rpartition("\n")
        if chains.answer(request.messages[-1].content):
            return ""
        known |= {line.split()[0]: int(line.split()[-1]) for line in done.split("\n") if line.strip()}
    if begun:
        reply = _rest(chain, begun, known) + "\n"
        known[begun.split()[0]] = int(reply.split()[-1])
    lines = []
    for rule in chains.needed(chain):
        if rule.name not in known:
            lines.append(chains.step_text(rule, known, chain.modulus))
            known[rule.name] = int(lines[-1].rpartition(" ")[2])
    return reply + "\n".join([*lines, f"The answer is {known[chain.target]}"])


def _rest(chain: chains.Chain, begun: str, known: Mapping[str, int]) -> str:
    """The end of a step, computed from its words so far: `birch is amber plus 6 = 7 minus` gives ` 6 so birch is 1`."""
    said = begun.split()
    rule = chain.rule(said[0])
    assert rule is not None
    words = [*said, *chains.step_text(rule, dict(known), chain.modulus).split()[len(said) :]]
    if words[4].isdigit() and len(said) < 9:
        words[8] = words[4]
    words[-1] = str(chains.apply(words[7], int(words[6]), int(words[8]), chain.modulus))
    return "".join(f" {word}" for word in words[len(said) :])


def cut(text: str) -> Reply:
    """A reply that met its length limit."""
    return Reply(text=text, finish="length", prompt_tokens=1, completion_tokens=len(text.split()))


@dataclass(frozen=True)
class World:
    """Engines by role, fields of their EngineSpec by role, the run's seed and the recipe's folder."""

    engines: Mapping[str, Engine] = field(default_factory=dict)
    specs: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    seed: int = 1
    folder: Path = Path()


def run(stage: Stage, start: Episode, world: World = World(), *, name: str = "", **options: Any) -> Additions:
    """What a stage, as the step `name`, adds to an episode."""
    with tempfile.TemporaryDirectory() as scratch:
        return asyncio.run(_run(stage, start, world, name or stage.__name__.strip("_"), Path(scratch), options))


async def _run(
    stage: Stage, start: Episode, world: World, name: str, scratch: Path, options: Mapping[str, Any]
) -> Additions:
    recipe = Recipe(
        name="test", version="1", source=Use(use="procedural"), exports=(ExportSpec(use="sft"),),
        engines={role: EngineSpec(use="-", **world.specs.get(role, {})) for role in world.engines},
    )  # fmt: skip
    journal, pool, worlds = Journal(scratch / "journal", flush_seconds=0), Pool(), Worlds(world.folder)
    engines = {role: Journaled(e, journal) for role, e in world.engines.items()}
    try:
        context = StepContext(name, world.seed, Tools(Plan(recipe, world.folder), engines, pool, worlds), start)
        return await stage(start, context, **options)
    finally:
        await journal.close()
        await pool.close()
        await worlds.close()


def grown(stage: Stage, start: Episode, world: World = World(), **options: Any) -> Episode:
    """The episode after the stage."""
    return start.add(run(stage, start, world, **options))


def limit(tokens: int) -> dict[str, Any]:
    return {"sampling": SamplingSpec(max_tokens=tokens)}


def problem(seed: int, operations: int = 4) -> Problem:
    """A problem of the procedural source."""
    made = next(iter(procedural(count=1, operations=(operations, operations), distractors=(1, 1), seed=seed)))
    assert isinstance(made, Episode)
    return made.problem


def chain_of(of: Problem) -> chains.Chain:
    chain = chains.parse(of.text)
    assert chain is not None
    return chain


def attempt(of: Problem, lines: Sequence[str] | str, index: int = 0, stage: str = "sample", **fields: Any) -> Attempt:
    """An attempt as a stage would have made it, one step a line."""
    text = lines if isinstance(lines, str) else "\n".join(lines)
    made = Attempt(
        id=digest(problem=of.id, stage=stage, index=index, parent=fields.get("parent")), stage=stage, index=index,
        kind="sampled", steps=steps_of(text, "lines", "student"),
    )  # fmt: skip
    return replace(made, **fields)


def verdict(of: Attempt, outcome: Outcome, stage: str = "verify", verifier: str = "procedural") -> Verdict:
    return Verdict(target=of.id, stage=stage, verifier=verifier, version=1, outcome=outcome)


def critique(of: Attempt, first_error: int | None, text: str = "", stage: str = "critique", **fields: Any) -> Critique:
    """A critique; without a first error it says that there is none."""
    made = Critique(
        id=digest(attempt=of.id, stage=stage, index=fields.get("index", 0)), attempt=of.id, stage=stage, index=0,
        source="teacher", verdict="no_error" if first_error is None else "error", first_error=first_error, text=text,
    )  # fmt: skip
    return replace(made, **fields)


def episode(
    of: Problem, *attempts: Attempt, outcomes: Sequence[Outcome] = (), critiques: Sequence[Critique] = ()
) -> Episode:
    verdicts = tuple(verdict(a, o) for a, o in zip(attempts, outcomes, strict=True)) if outcomes else ()
    return Episode(problem=of).add(Additions(attempts=attempts, verdicts=verdicts, critiques=tuple(critiques)))


def slipped(of: Problem, kind: str, seed: int = 0) -> list[str]:
    """A wrong solution whose slip is of this kind."""
    chain = chain_of(of)
    for k in range(200):
        steps = chains.slip(random.Random(1000 * seed + k), chain, kind)
        found = chains.first_error(chain, steps) if steps else None
        if steps and found and found.kind == kind:
            return steps
    raise LookupError(f"no {kind} slip fits this problem")


def codes(drops: Sequence[Drop]) -> list[str]:
    return [d.code for d in drops]


def user(text: str, **fields: Any) -> Problem:
    """A problem in other words than the procedural family's."""
    message = Message(role="user", content=text)
    return replace(Problem(id=digest(text=text), messages=(message,), verifier="exact"), **fields)
