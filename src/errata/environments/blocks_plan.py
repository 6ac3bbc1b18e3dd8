"""Shortest plans for blocksworld: A* over single actions, with branches only where blocks wait for each other.

Two facts keep the search exact and small (Gupta and Nau, 1992, for goals that place every block; checked here against
breadth-first search for the others too). A block that does not go to its final place may as well go to the table. A
block that can go to its final place now, may as well go now. Finding a shortest plan is NP-hard all the same: the
search has a bound, `MOST`.
"""

import heapq
from collections.abc import Iterator
from typing import NamedTuple

TABLE, HAND = "-table", "-hand"
"""Where a block is that is on no other; no block can be called so."""
MOST = 20_000
"""Work after which a search gives up: states that it opens times blocks, some tenths of a second."""

Places = dict[str, str]
"""What each block is on: another, the table, or in the hand."""
Move = tuple[str, ...]
"""An operator's name and its blocks."""


class Goal(NamedTuple):
    """What is to hold at the end."""

    places: tuple[tuple[str, str], ...]
    """(block, what it is to stand on)."""
    clear: tuple[str, ...]
    """Blocks with nothing on them that are not held."""
    empty: bool
    """Whether the hand is to be empty."""
    blocks: tuple[str, ...]


class State(NamedTuple):
    """An arrangement, seen with the goal in mind."""

    under: Places
    top: Places
    hand: str
    moving: frozenset[str]
    """Blocks that must move: not in their place, in another's, or above one that must move."""


def shortest(under: Places, goal: Goal) -> tuple[Move, ...] | None:
    """A shortest plan; None where `MOST` was not enough. The goal must be possible."""
    place = dict(goal.places)
    names = list(under)
    start = tuple(under.values())
    queue: list[tuple[int, int, int, tuple[str, ...], tuple[Move, ...]]] = []
    best = {start: 0}
    heapq.heappush(queue, (lower_bound(under, goal), 0, 0, start, ()))
    opened, number = 0, 0
    while queue:
        _, _, _, at, plan = heapq.heappop(queue)
        if best[at] < len(plan):
            continue
        opened += 1
        if opened * len(names) > MOST:
            return None
        state = _state(dict(zip(names, at, strict=True)), goal, place)
        if _reached(state, place, goal):
            return plan
        for move, to in _moves(state, place):
            x = move[1]
            after = tuple(to if name == x else y for name, y in zip(names, at, strict=True))
            cost = len(plan) + 1
            if cost < best.get(after, cost + 1):
                best[after] = cost
                number += 1
                least = cost + lower_bound(dict(zip(names, after, strict=True)), goal)
                heapq.heappush(queue, (least, -cost, number, after, (*plan, move)))
    return None


def _state(under: Places, goal: Goal, place: Places) -> State:
    top = {y: x for x, y in under.items() if y not in (TABLE, HAND)}
    hand = next((x for x, y in under.items() if y == HAND), "")
    wanted = {y: x for x, y in place.items() if y != TABLE}
    moving: set[str] = set()
    for base in under:
        if under[base] != TABLE:
            continue
        x, must = base, False
        while x:
            below = under[x]
            must = (
                must
                or place.get(x, below) != below
                or below in goal.clear
                or (below != TABLE and wanted.get(below, x) != x)
            )
            if must:
                moving.add(x)
            x = top.get(x, "")
    return State(under, top, hand, frozenset(moving))


def _reached(state: State, place: Places, goal: Goal) -> bool:
    return (
        all(state.under[x] == y for x, y in place.items())
        and all(x not in state.top and x != state.hand for x in goal.clear)
        and not (goal.empty and state.hand)
    )


def lower_bound(under: Places, goal: Goal) -> int:
    """No plan is shorter: two actions for each block that must move, four where it stands above its own destination.

    The last block that is moved may stay in the hand where the goal says nothing of its place.
    """
    place = dict(goal.places)
    state = _state(under, goal, place)
    total, loose = 0, False
    for x in state.moving:
        total += 2
        loose = loose or x not in place
        below = state.under[x]
        while x in place and below != TABLE:
            if below == place[x]:
                total += 2
                break
            below = state.under[below]
    if state.hand:
        total += state.hand in place or state.hand in goal.clear or goal.empty
    return total - (loose and not goal.empty)


def _moves(state: State, place: Places) -> Iterator[tuple[Move, str]]:
    """The actions worth a try, and where each leaves its block."""
    if state.hand:
        to = place.get(state.hand, TABLE)
        if to == TABLE or not _ready(state, to):
            yield ("put-down", state.hand), TABLE
        else:
            yield ("stack", state.hand, to), to
        return
    free = [x for x in state.under if x in state.moving and x not in state.top]
    for x in free:
        target = place.get(x)
        if target is not None and (target == TABLE or _ready(state, target)):
            yield _lift(state, x), HAND
            return
    for x in free:
        if state.under[x] != TABLE:
            yield _lift(state, x), HAND


def _ready(state: State, to: str) -> bool:
    """Whether a block stands for good, and nothing is on it."""
    return to not in state.top and to != state.hand and to not in state.moving


def _lift(state: State, x: str) -> Move:
    below = state.under[x]
    return ("pick-up", x) if below == TABLE else ("unstack", x, below)
