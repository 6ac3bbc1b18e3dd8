"""The recipes that crafting tasks are generated from: five tiers of items, of our own invention.

A task holds the recipes that it shows, so this table may grow without changing any task that was made before.
"""

from collections.abc import Iterator, Mapping
from typing import NamedTuple

_TABLE = """
2 plank = 1 log
2 coal = 1 log
1 rope = 3 reed
1 mat = 4 reed
2 brick = 3 clay
1 pot = 2 clay, 1 water
1 leather = 1 hide, 2 salt
3 thread = 1 wool
1 felt = 2 wool
1 glue = 2 resin
2 bead = 1 shell
1 dye = 3 berry, 1 water
2 slab = 1 stone
2 needle = 1 bone
3 peg = 1 plank
1 beam = 2 plank, 1 glue
1 ingot = 2 ore, 1 coal
1 glass = 2 sand, 1 coal
2 ink = 1 coal, 1 water
1 wick = 2 thread
1 cloth = 3 thread
1 net = 2 rope, 1 bead
1 jar = 1 pot, 1 wax
1 strap = 1 leather, 1 thread
1 kiln = 4 brick, 1 slab
1 stool = 1 plank, 3 peg
1 frame = 1 beam, 4 peg
1 candle = 1 wick, 2 wax
4 nail = 1 ingot
1 blade = 1 ingot, 1 slab
1 pane = 1 glass, 2 peg
1 lens = 2 glass, 1 bead
1 raft = 3 beam, 2 rope
1 sail = 2 cloth, 1 rope
1 robe = 2 cloth, 1 dye
1 scroll = 1 felt, 1 ink
1 bag = 1 strap, 1 cloth
1 kite = 1 cloth, 2 peg, 1 rope
1 crate = 3 plank, 4 nail
1 wheel = 1 beam, 3 nail
1 knife = 1 blade, 1 peg
1 bell = 2 ingot, 1 rope
1 loom = 1 frame, 2 rope
1 window = 2 pane, 1 frame
1 lantern = 1 candle, 1 pane
1 chest = 1 crate, 1 strap
1 cart = 1 crate, 2 wheel
1 boat = 1 raft, 1 sail
1 beacon = 1 lantern, 2 slab
1 tower = 1 bell, 1 window
"""


class Recipe(NamedTuple):
    """`number` of `make` for all of `parts`, which are (item, number)."""

    make: str
    number: int
    parts: tuple[tuple[str, int], ...]

    def command(self, times: int = 1) -> str:
        """The action that uses it `times` at once."""
        parts = ", ".join(f"{n * times} {item}" for item, n in self.parts)
        return f"craft {self.number * times} {self.make} using {parts}"


def _read(table: str) -> dict[str, Recipe]:
    found = {}
    for line in table.split("\n"):
        if line:
            made, _, parts = line.partition(" = ")
            count, make = made.split()
            pairs = (part.split() for part in parts.split(", "))
            found[make] = Recipe(make, int(count), tuple((item, int(n)) for n, item in pairs))
    return found


RECIPES: Mapping[str, Recipe] = _read(_TABLE)
"""By product: what tasks are generated from."""


def below(item: str, recipes: Mapping[str, Recipe], seen: set[str], above: tuple[str, ...] = ()) -> Iterator[str]:
    """All that an item is made of and is not yet in `seen`, ingredients before products, itself last.

    Raises ValueError for an item that is made of itself.
    """
    if item in above:
        raise ValueError(f"{item} is made of itself: {' from '.join([*above, item])}")
    if item not in seen:
        for part, _ in recipes[item].parts if item in recipes else ():
            yield from below(part, recipes, seen, (*above, item))
        seen.add(item)
        yield item
