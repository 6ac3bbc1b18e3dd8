"""Tasks of a text world, made from hashed seeds: there are always more, and none is in two splits."""

import random
from collections.abc import Iterator
from typing import Any, Literal

from msgspec.structs import replace

from errata import registry
from errata.environments.base import World, split_of
from errata.environments.hosts import begin
from errata.errors import RecipeError
from errata.records.ids import canonical, digest
from errata.records.ids import seed as hashed_seed
from errata.records.types import Episode, Message, Problem, Task
from errata.registry import source
from errata.sources.base import Item, distinct, pair

TRIES = 200
"""Tasks drawn until one lies in the split; a tenth of all lies in the smallest."""


@source(version=1)
def worlds(
    *,
    world: str,
    count: int,
    difficulty: tuple[int, int] = (1, 4),
    seed: int = 0,
    split: Literal["train", "validation", "test"] = "train",
    success: float = 1.0,
    instructions: bool = True,
    options: dict[str, Any] = {},
    prompt: str = "",
) -> Iterator[Item]:
    """Tasks of a world, with a way to the goal as gold steps where the world knows one.

    `difficulty` is (lowest, highest), drawn uniformly. `success` is the least reward that counts as solved. Without
    `instructions` the prompt is the first observation alone, for agents that know the world's words. `options` are
    entries that every spec is to have, `prompt` an instruction put after every problem's text, as it is. A task depends
    on its number, the seed and the split alone. Raises RecipeError.
    """
    levels = pair(difficulty)
    if count < 1 or levels is None or levels[0] < 1:
        raise RecipeError(
            f"worlds: count is {count} and difficulty {difficulty!r}: use 1 or more, and [lowest, highest]"
        )
    component = registry.find("environment", world)

    def one(i: int) -> Problem:
        spec = _spec(component, i, levels, seed, split, options)
        place = f"worlds:{world}:{split}:{i}"
        made = task_problem(
            component, spec, split=split, success=success, instructions=instructions, source="worlds", origin=place
        )
        return replace(made, messages=(replace(made.messages[0], content=made.messages[0].content + prompt),))

    yield from distinct((Episode(problem=one(i)),) for i in range(count))


def _spec(
    component: registry.Component, i: int, levels: tuple[int, int], run: int, split: str, options: dict[str, Any]
) -> dict[str, Any]:
    for k in range(TRIES):
        rng = random.Random(hashed_seed(source=component.name, run=run, split=split, item=i, k=k))
        made: dict[str, Any] = {**component.make.generate(rng, rng.randint(*levels)), **options}  # type: ignore[attr-defined]
        if split_of(component.name, made) == split:
            return made
    raise RecipeError(
        f"worlds: {component.name} has no task {i} of the split {split} among {TRIES}: widen the difficulty"
    )


def task_problem(
    component: registry.Component, spec: dict[str, Any], *, split: str, success: float, instructions: bool,
    source: str, origin: str,
) -> Problem:  # fmt: skip
    """The problem of a task of a world, whoever drew it: its id is a hash of the task. Raises WorldError."""
    task = Task(world=component.name, spec=canonical(spec), version=component.version, success=success)
    world: World = component.make()
    session = begin(world, task)
    text = f"{world.instructions}\n\n{session.first}" if instructions else session.first
    return Problem(
        id=digest(source="worlds", world=component.name, spec=task.spec),
        messages=(Message(role="user", content=text),),
        verifier="world",
        solution=tuple(world.gold_actions() or ()),
        domain=component.name,
        split=split,
        source=source,
        licence=getattr(component.make, "licence", "CC0-1.0"),
        origin=origin,
        task=task,
    )
