"""Houses: what a task of the world `house` is made of, how one is drawn, and the shortest way from any state.

Rooms form a tree and hands hold any number of things, so every action but walking is either needed whatever the way,
or never: the fetching of a key before its door, the opening of a container before what is taken from it. Only the walk
between these is searched, over (room, which of them are done), and the length found is exact.
"""

import random
import re
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import msgspec
from msgspec import Struct

HANDS, BROKEN, AWAY = "hands", "broken", "away"
"""Places of objects that are in no room; the last two are for good."""
FLOOR = "floor"
_NAME = re.compile(r"[a-z]+(?: [a-z]+)*")
_PLACE = re.compile(r"[a-z]+ [a-z]+")
_TAKEN = frozenset({"the", "from", "in", "on", "with", "away", "and"})

ROOMS = ("attic", "bathroom", "bedroom", "cellar", "garage", "hall", "kitchen", "pantry", "porch", "study")
SURFACES = ("bench", "desk", "shelf", "table")
CONTAINERS = ("box", "cabinet", "chest", "drawer")
COLOURS = ("black", "blue", "green", "red", "white")
STURDY = ("ball", "book", "hat", "spoon", "towel")
FRAGILE = ("bowl", "mug", "plate", "vase")
METALS = ("brass", "copper", "iron", "silver")


class _Spec(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    rooms: tuple[str, ...]
    doors: tuple[tuple[str, str, str], ...]
    surfaces: tuple[str, ...]
    containers: tuple[str, ...]
    objects: dict[str, str]
    fragile: tuple[str, ...]
    goals: dict[str, str]


class State(NamedTuple):
    """All that an action may change."""

    room: str
    """Where the agent is."""
    opened: frozenset[str]
    """Containers that are open."""
    locked: frozenset[str]
    """Keys whose doors are locked."""
    at: tuple[str, ...]
    """The place of each of `Household.objects`."""


@dataclass(frozen=True)
class Household:
    """A task: what no action changes, with what is derived of it. The agent begins in the first room."""

    first: State
    objects: tuple[str, ...]
    """In alphabetical order, as all that follows."""
    fragile: frozenset[str]
    containers: frozenset[str]
    furniture: Mapping[str, tuple[str, ...]]
    """The surfaces and containers of each room, by their full names (`kitchen shelf`)."""
    doors: Mapping[str, tuple[tuple[str, str], ...]]
    """For each room the rooms behind its doors and the door's key, empty where it has none."""
    ways: Mapping[str, Mapping[str, tuple[str, str]]]
    """From each room to each other one: the room before it on the way, and the key of the door between them."""
    goals: tuple[tuple[str, str], ...]
    """Objects and the places that they are to be put in."""

    def solved(self, state: State) -> bool:
        """Whether every goal holds."""
        return all(state.at[self.objects.index(thing)] == place for thing, place in self.goals)


class _Need(NamedTuple):
    """An action that every way to the goal takes: in which room, and after which of the others (a bit mask)."""

    room: str
    action: str
    after: int


class _Lost(Exception):
    pass


class _Needs:
    """Collects the actions that every way to the goal takes; raises _Lost where there is no way."""

    def __init__(self, house: Household, state: State) -> None:
        self.house, self.state = house, state
        self.list: list[_Need] = []
        self.unlocks: dict[str, int] = {}
        self._known: dict[str, int] = {}
        self._asked: set[str] = set()
        self._back = house.ways[state.room]
        for thing, place in house.goals:
            if state.at[house.objects.index(thing)] != place:
                after = self._taken(thing) | self._opened(place)
                self._add(f"put {thing} in {place.split()[1]}", place.split()[0], after)

    def _add(self, action: str, room: str, after: int) -> int:
        """The bit of an action, and of nothing before it: what comes before is implied."""
        known = f"{room}: {action}"
        if known not in self._known:
            self._known[known] = 1 << len(self.list)
            self.list.append(_Need(room, action, after))
        return self._known[known]

    def _taken(self, thing: str) -> int:
        place = self.state.at[self.house.objects.index(thing)]
        if place == HANDS:
            return 0
        if place in (BROKEN, AWAY) or thing in self._asked:  # only a key that lies behind its own door is asked twice
            raise _Lost
        self._asked.add(thing)
        after = self._opened(place)
        room, _, what = place.partition(" ")
        return self._add(f"take {thing} from {what}", room, after)

    def _opened(self, place: str) -> int:
        """Reach the place, and open it if it is closed."""
        room, _, what = place.partition(" ")
        self._reached(room)
        if place not in self.house.containers or place in self.state.opened:
            return 0
        return self._add(f"open {what}", room, 0)

    def _reached(self, room: str) -> None:
        while room != self.state.room:
            near, key = self._back[room]
            if key in self.state.locked and key not in self.unlocks:
                self._reached(near)
                self.unlocks[key] = self._add(f"unlock {room} with {key}", near, self._taken(key))
            room = near


def shortest(house: Household, state: State) -> tuple[str, ...] | None:
    """Fewest actions from here to the goal; None where it cannot be reached."""
    try:
        needs = _Needs(house, state)
    except _Lost:
        return None
    mask, acted = _act(needs.list, state.room, 0)
    queue = deque([(state.room, mask, acted)])
    seen = {(state.room, mask)}
    everything = (1 << len(needs.list)) - 1
    beyond = _beyond(house, needs.list)
    while queue:
        room, mask, acted = queue.popleft()
        if mask == everything:
            return acted
        for far, key in house.doors[room]:
            shut = key in state.locked and not mask & needs.unlocks.get(key, 0)
            if shut or not beyond.get((room, far), 0) & ~mask:
                continue
            done, there = _act(needs.list, far, mask)
            if (far, done) not in seen:
                seen.add((far, done))
                queue.append((far, done, (*acted, f"go to {far}", *there)))
    return None


def _act(needs: list[_Need], room: str, mask: int) -> tuple[int, tuple[str, ...]]:
    """Do all that is needed in this room and can be done: nothing is gained by waiting."""
    acted: tuple[str, ...] = ()
    for i, need in enumerate(needs):  # what comes after another stands after it
        if need.room == room and not mask >> i & 1 and need.after & mask == need.after:
            mask |= 1 << i
            acted = (*acted, need.action)
    return mask, acted


def _beyond(house: Household, needs: list[_Need]) -> dict[tuple[str, str], int]:
    """For each step from a room to the next, which of the needs lie that way."""
    beyond: dict[tuple[str, str], int] = {}
    for i, need in enumerate(needs):
        for room, (nearer, _) in house.ways[need.room].items():
            beyond[room, nearer] = beyond.get((room, nearer), 0) | 1 << i
    return beyond


def house_of(spec: Mapping[str, Any]) -> Household:
    """The house of a spec. Raises ValueError where it is none: what is wrong, in one line."""
    try:
        made = msgspec.convert(dict(spec), _Spec)
    except msgspec.ValidationError as error:
        raise ValueError(f"no house: {error}") from error
    places = sorted({*made.surfaces, *made.containers})
    _check_names(made, places)
    _check_doors(made)
    objects = tuple(sorted(made.objects))
    doors: dict[str, list[tuple[str, str]]] = {room: [] for room in made.rooms}
    for one, other, key in made.doors:
        doors[one].append((other, key))
        doors[other].append((one, key))
    return Household(
        first=State(
            room=made.rooms[0],
            opened=frozenset(),
            locked=frozenset(key for _, _, key in made.doors if key),
            at=tuple(made.objects[thing] for thing in objects),
        ),
        objects=objects,
        fragile=frozenset(made.fragile),
        containers=frozenset(made.containers),
        furniture={room: tuple(p for p in places if p.startswith(f"{room} ")) for room in made.rooms},
        doors={room: tuple(sorted(beyond)) for room, beyond in doors.items()},
        ways={room: _ways(doors, room) for room in made.rooms},
        goals=tuple(sorted(made.goals.items())),
    )


def _ways(doors: Mapping[str, list[tuple[str, str]]], room: str) -> dict[str, tuple[str, str]]:
    """For every other room the one before it on the way from `room`, and the key of the door between them."""
    before: dict[str, tuple[str, str]] = {}
    queue = deque([room])
    while queue:
        near = queue.popleft()
        for far, key in doors[near]:
            if far != room and far not in before:
                before[far] = (near, key)
                queue.append(far)
    return before


def _check_names(made: _Spec, places: list[str]) -> None:
    bad = [n for n in (*made.rooms, *made.objects) if not _NAME.fullmatch(n) or _TAKEN & set(n.split())]
    bad += [n for n in made.rooms if " " in n]
    bad += [n for n in places if not _PLACE.fullmatch(n) or n.split()[0] not in made.rooms or n.split()[1] == FLOOR]
    bad += [n for n in {*made.objects.values(), *made.goals.values()} if n not in places]
    bad += [n for n in {*made.fragile, *made.goals} if n not in made.objects]
    if bad:
        raise ValueError(f"no house: {', '.join(map(repr, sorted(set(bad))))}: no such name, or none that can be")
    if len(set(made.rooms)) < len(made.rooms) or len(places) < len(made.surfaces) + len(made.containers):
        raise ValueError("no house: a room or a piece of furniture is named twice")
    if not made.goals or not made.rooms:
        raise ValueError("no house: it has no room, or no goal")


def _check_doors(made: _Spec) -> None:
    keys = [key for _, _, key in made.doors if key]
    joined = {made.rooms[0]}
    for _ in made.doors:
        joined |= {room for one, other, _ in made.doors if joined & {one, other} for room in (one, other)}
    if joined != set(made.rooms) or len(made.doors) != len(made.rooms) - 1:
        raise ValueError("no house: the doors do not join its rooms to a tree")
    if set(keys) & set(made.goals):
        raise ValueError("no house: a key cannot be what a goal puts away")
    if len(set(keys)) < len(keys) or not set(keys) <= set(made.objects) or set(keys) & set(made.fragile):
        raise ValueError("no house: every lock must have a key of its own among the objects, and none may break")


def drawn(rng: random.Random, difficulty: int) -> dict[str, Any]:
    """A solvable house: its keys lie before their doors, and something of the first goal behind the last one.

    Rooms: difficulty + 1, at most 8; every second difficulty adds a lock, every third a goal, at most 3 of each.
    """
    rooms = rng.sample(ROOMS, min(difficulty + 1, 8))
    places = {room: [f"{room} {rng.choice(SURFACES)}", f"{room} {rng.choice(CONTAINERS)}"] for room in rooms}
    doors = [[rooms[rng.randrange(i)], rooms[i], ""] for i in range(1, len(rooms))]
    locks = min(difficulty // 2, 3)
    objects: dict[str, str] = {}
    last = len(rooms) - 1
    for i, metal in zip(
        [*rng.sample(range(1, last), locks - 1), last] if locks else (), rng.sample(METALS, locks), strict=True
    ):
        doors[i - 1][2] = f"{metal} key"
        objects[f"{metal} key"] = rng.choice(places[rooms[rng.randrange(i)]])
    everywhere = [place for room in rooms for place in places[room]]
    count = min(1 + difficulty // 3, 3)
    kinds = [(colour, noun) for colour in COLOURS for noun in (*STURDY, *FRAGILE)]
    things = [f"{colour} {noun}" for colour, noun in rng.sample(kinds, count + min(difficulty + 1, 5))]
    goals: dict[str, str] = {}
    for i, thing in enumerate(things):
        objects[thing] = rng.choice(everywhere)
        if i < count:
            there = places[rooms[last]] if i == 0 else everywhere
            ends = [rng.choice(there), rng.choice([p for p in everywhere if i or p not in there])]
            rng.shuffle(ends)
            if ends[0] == ends[1]:
                ends[1] = rng.choice([p for p in everywhere if p != ends[0]])
            objects[thing], goals[thing] = ends
    return {
        "rooms": rooms,
        "doors": doors,
        "surfaces": [place for place in everywhere if place.split()[1] in SURFACES],
        "containers": [place for place in everywhere if place.split()[1] in CONTAINERS],
        "objects": objects,
        "fragile": [thing for thing in things if thing.split()[1] in FRAGILE],
        "goals": goals,
    }
