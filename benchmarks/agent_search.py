"""What a tree search costs besides its engine, in CPU seconds, and whether anything is asked twice.

    python benchmarks/agent_search.py [--tasks 100] [--simulations 8] [--world crafting]

An engine that answers at once (a valid action of the task's beginning or of its shortest way, by the request's seed)
plays searches of Agent-R's shape, with journal and all, as a run does.
"""

import argparse
import asyncio
import random
import resource
import tempfile
import time
from collections import Counter
from pathlib import Path

from errata.engines.base import Identity, Reply, Request
from errata.engines.journal import Journal, Journaled
from errata.environments.hosts import Worlds, open_now
from errata.recipe.spec import EngineSpec, ExportSpec, Recipe, Use
from errata.records.tree import tree_of
from errata.records.types import Episode
from errata.runners.context import StepContext, Tools
from errata.runners.plan import Plan
from errata.sources.worlds import worlds
from errata.stages.tree import tree
from errata.verifiers.pool import Pool


class Instant:
    """Draws an action for the prompt's task, without a look at where the episode stands."""

    seen: tuple[str, ...] = ()

    def __init__(self, episodes: list[Episode]) -> None:
        self.actions: dict[str, tuple[str, ...]] = {}
        for e in episodes:
            assert e.problem.task is not None
            world, _ = open_now(e.problem.task)
            self.actions[e.problem.text] = (*world.valid_actions(), *2 * e.problem.solution)
        self.asked: Counter[tuple[str, int]] = Counter()

    @property
    def identity(self) -> Identity:
        return Identity(engine="instant", version=1, model="instant", revision="0")

    async def generate(self, request: Request) -> Reply:
        self.asked["\n".join(m.content for m in request.messages), request.seed] += 1
        said = random.Random(request.seed).choice(self.actions[request.messages[0].content])
        return Reply(text=said, finish="stop", prompt_tokens=1, completion_tokens=len(said.split()))

    async def close(self) -> None:
        """Nothing to free."""


async def search(episodes: list[Episode], engine: Instant, simulations: int, folder: Path) -> list[Episode]:
    """The episodes with their trees."""
    recipe = Recipe(
        name="bench", version="1", source=Use(use="worlds"), exports=(ExportSpec(use="sft"),),
        engines={"student": EngineSpec(use="-")},
    )  # fmt: skip
    journal, pool = Journal(folder / "journal"), Pool()
    tools = Tools(Plan(recipe, Path()), {"student": Journaled(engine, journal)}, pool, Worlds())

    async def one(e: Episode) -> Episode:
        return e.add(await tree(e, StepContext("tree", 1, tools, e), simulations=simulations))

    try:
        return list(await asyncio.gather(*(one(e) for e in episodes)))
    finally:
        await journal.close()
        await pool.close()


def main() -> None:
    """Measure and say."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tasks", type=int, default=100)
    parser.add_argument("--simulations", type=int, default=8)
    parser.add_argument("--world", default="crafting")
    args = parser.parse_args()
    made = worlds(world=args.world, count=args.tasks)
    episodes = [item for item in made if isinstance(item, Episode)]
    engine = Instant(episodes)
    with tempfile.TemporaryDirectory() as scratch:
        began, clock = resource.getrusage(resource.RUSAGE_SELF), time.perf_counter()
        grown = asyncio.run(search(episodes, engine, args.simulations, Path(scratch)))
        ended, clock = resource.getrusage(resource.RUSAGE_SELF), time.perf_counter() - clock
    cpu = ended.ru_utime + ended.ru_stime - began.ru_utime - began.ru_stime
    asked = engine.asked.total()
    leaves = sum(len(e.attempts) for e in grown)
    alive = sum(tree_of(e, "tree").value > 0 for e in grown)
    print(f"{len(grown)} trees, {leaves} leaves, {asked} requests, {alive} trees with a reward")
    print(f"asked twice: {sum(n > 1 for n in engine.asked.values())}")
    print(
        f"CPU {cpu:.2f} s ({1e3 * cpu / len(grown):.1f} ms a tree, {1e6 * cpu / asked:.0f} us a request), {clock:.2f} s"
    )


if __name__ == "__main__":
    main()
