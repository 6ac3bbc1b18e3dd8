"""What a run asks for first: the earlier stage, and once all episodes have begun, problems with long replies."""

import asyncio
from pathlib import Path

import pytest

from errata.engines.base import Identity, Reply, Request
from errata.engines.journal import Journal, Journaled
from errata.engines.oracle import Oracle
from errata.runners.local import Worker
from errata.store.parts import Parts
from tests.runners.support import Recipe, prepared


class Watched(Oracle):
    """An oracle whose replies to one problem are all long or all short, and that remembers what it was asked."""

    def __init__(self) -> None:
        super().__init__(skill=0.5)
        self.asked: list[Request] = []

    @property
    def identity(self) -> Identity:
        return Oracle(skill=0.5).identity

    async def generate(self, request: Request) -> Reply:
        self.asked.append(request)
        reply = await super().generate(request)
        tokens = 10 if len(request.messages[0].content) % 2 else 1_000
        return Reply(text=reply.text, finish=reply.finish, prompt_tokens=1, completion_tokens=tokens)


def urgencies(recipe: Recipe, out: Path, concurrency: int) -> list[float]:
    """Of all requests of a run with so many episodes in flight, in their order."""
    plan = prepared(recipe.path, f"concurrency={concurrency}", "part_size=8", "source.with.count=48").plan

    async def main() -> list[float]:
        engine, journal = Watched(), Journal(out / "journal", flush_seconds=0)
        shared = Journaled(engine, journal)
        worker = Worker(plan, {"student": shared, "teacher": shared}, Parts(out / "parts", plan.types))
        await worker.run(plan.parts())
        await worker.close()
        await journal.close()
        return [request.urgency for request in engine.asked]

    return asyncio.run(main())


@pytest.fixture
def recipe(tmp_path: Path) -> Recipe:
    return Recipe(tmp_path / "recipe")


def test_stages_go_in_their_order_and_long_problems_first_once_all_have_begun(recipe: Recipe, tmp_path: Path) -> None:
    """Of nine stages sample is followed by eight, critique by six and revise by five."""
    found = urgencies(recipe, tmp_path / "all at once", 48)
    assert found[:144] == [8.0] * 144
    later = {round(u) for u in found[144:]}
    assert later <= {4, 5, 6, 7} and any(u % 1 for u in found[144:]), "lengths count"
    one_by_one = urgencies(recipe, tmp_path / "one by one", 1)
    assert set(one_by_one[:-16]) == {8.0, 6.0, 5.0}, "lengths do not count before the last episode has begun"
