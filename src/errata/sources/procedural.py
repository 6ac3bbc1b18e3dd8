"""Problems of the procedural family, with gold steps: made, not read, so that there are always more."""

import random
from collections.abc import Iterator

from errata import chains
from errata.errors import RecipeError
from errata.records.ids import canonical, digest
from errata.records.ids import seed as hashed_seed
from errata.records.types import Episode, Message, Problem
from errata.registry import source
from errata.sources.base import Item, distinct, is_whole, pair


@source(version=1)
def procedural(
    *,
    count: int,
    operations: tuple[int, int] = (3, 12),
    distractors: tuple[int, int] = (0, 3),
    seed: int = 0,
    split: str = "train",
) -> Iterator[Item]:
    """Chains of modular arithmetic in words, graded by their number of operations.

    `operations` and `distractors` are (lowest, highest), drawn uniformly. A problem depends on its own number, the
    seed and the split alone, so neighbouring seeds share none. Raises RecipeError.
    """
    _check(count, operations, distractors, seed)
    yield from distinct((_episode(i, operations, distractors, seed, split),) for i in range(count))


def _check(count: int, operations: tuple[int, int], distractors: tuple[int, int], seed: int) -> None:
    faults = []
    if not is_whole(count) or count < 1:
        faults.append(f"count is {count!r}, not a number from 1 up")
    if not is_whole(seed):
        faults.append(f"seed is {seed!r}, not a whole number")
    steps, extra = pair(operations), pair(distractors)
    if steps is None or steps[0] < 1:
        faults.append(f"operations is {operations!r}, not [lowest, highest] from 1 up")
    if extra is None:
        faults.append(f"distractors is {distractors!r}, not [lowest, highest] from 0 up")
    if steps and extra and 2 * steps[1] + extra[1] + 1 > len(chains.NAMES):
        asked, room = 2 * steps[1] + extra[1], len(chains.NAMES) - 1
        faults.append(f"twice the operations plus the distractors make {asked}, and there are names for {room}")
    if faults:
        raise RecipeError(*faults)


def _episode(i: int, operations: tuple[int, int], distractors: tuple[int, int], seed: int, split: str) -> Episode:
    rng = random.Random(hashed_seed(source="procedural", run=seed, split=split, item=i))
    n, d = rng.randint(*operations), rng.randint(*distractors)
    chain = chains.generate(rng, n, d)
    text, steps = chains.question(chain), chains.solve(chain)
    problem = Problem(
        id=digest(source="procedural", problem=text),
        messages=(Message(role="user", content=text),),
        verifier="procedural",
        answer=chains.answer(steps[-1]),
        solution=tuple(steps),
        domain="arithmetic",
        split=split,
        source="procedural",
        licence="CC0-1.0",
        origin=f"procedural:{seed}:{split}:{i}",
        meta=canonical({"operations": n, "distractors": d}),
    )
    return Episode(problem=problem)
