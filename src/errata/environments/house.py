"""A house of rooms, locked doors and containers where objects are to be put in their places, in the manner of ALFWorld.

The idea of the household tasks is of Shridhar et al. (arXiv 2010.03768); rooms, objects and words are this project's.
What lies in a room is seen there alone, and what lies in a container once it is open. `undo` takes the last action
that changed something back, and then the one before, as far as the last one that cannot be undone: a fragile object
that was dropped and broke, or an object that was thrown away. An episode that is lost by such an action ends.
"""

import random
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, NamedTuple

from errata.environments.base import DEAD_END, Turn
from errata.environments.house_tasks import AWAY, BROKEN, FLOOR, HANDS, Household, State, drawn, house_of, shortest
from errata.registry import environment


class _Past(NamedTuple):
    """What `undo` needs of an action: what it was, and the state before it."""

    action: str
    state: State


class _Refused(Exception):
    """The action is not understood or not allowed; its text is the observation.

    It repeats no words of the agent's: so it is short, and tells nothing of what is not seen.
    """


class _Done(NamedTuple):
    """What an action that is allowed makes of the state, and what is said of it."""

    state: State
    said: str
    final: bool = False
    """Whether it cannot be undone."""


@environment(version=1, name="house")
class House:
    """Put objects in their places; the reward is 1 when all lie there, else 0."""

    instructions: ClassVar[str] = (
        "You are in a house. Reach the goal with one action at a time:\n"
        "look\ninventory\ngo to ROOM\nunlock ROOM with KEY\nopen CONTAINER\nclose CONTAINER\n"
        "take OBJECT from PLACE\nput OBJECT in PLACE\ndrop OBJECT\nthrow OBJECT away\nundo\n"
        "ROOM is behind a door of this room, PLACE is furniture of this room or its floor. What is fragile breaks when "
        "it is dropped. undo takes your last action back, but nothing that is broken or thrown away."
    )
    snapshots: ClassVar[bool] = True

    def __init__(self) -> None:
        self._ways: dict[State, tuple[str, ...] | None] = {}

    @classmethod
    def generate(cls, rng: random.Random, difficulty: int) -> dict[str, Any]:
        """A solvable house; more rooms, locks and goals with the difficulty. Raises ValueError below 1."""
        if difficulty < 1:
            raise ValueError(f"difficulty is {difficulty}: use 1 or more")
        return drawn(rng, difficulty)

    def reset(self, spec: Mapping[str, Any]) -> str:
        """Begin in the first room. Raises ValueError for a spec of no house, or of one without a way to the goal."""
        self._house = house_of(spec)
        self._ways = {}
        self._begin(self._house.first, ())
        if self.distance() in (0.0, DEAD_END):
            raise ValueError("no task: the goal holds at the start, or cannot be reached")
        goals = " and ".join(f"the {thing} in the {place}" for thing, place in self._house.goals)
        return f"Goal: put {goals}.\n{self._room()}"

    def _begin(self, state: State, past: tuple[_Past, ...]) -> None:
        self._state = state
        self._past = list(past)
        gone = BROKEN in state.at or AWAY in state.at
        self._over = self._house.solved(state) or (gone and self._way() is None)

    def step(self, action: str) -> Turn:
        """Act. `the` and case do not matter, and `on` is as good as `in`."""
        if self._over:
            reward = float(self._house.solved(self._state))
            return Turn(observation="the episode is over.", reward=reward, done=True, valid=False, changed=False)
        words = " ".join(word for word in action.lower().strip(" \t\r\n.").split() if word != "the")
        verb, _, rest = words.partition(" ")
        try:
            if words == "undo":
                made = self._undo()
            elif verb in _VERBS:
                made = _VERBS[verb](self, rest)
            else:
                raise _Refused("not understood.")
        except _Refused as error:
            return Turn(observation=str(error), reward=0.0, valid=False, changed=False)
        changed = made.state is not self._state
        if changed and words != "undo":
            self._past.append(_Past(words, self._state))
        self._state = made.state
        if made.final:
            self._past.clear()
            self._over = self._way() is None
            lost = " the goal is lost." * self._over
            return Turn(observation=f"{made.said}{lost}", reward=0.0, done=self._over)
        self._over = changed and self._house.solved(made.state)
        solved = " solved." * self._over
        return Turn(observation=f"{made.said}{solved}", reward=float(self._over), done=self._over, changed=changed)

    def _undo(self) -> _Done:
        if not self._past:
            raise _Refused("nothing to undo.")
        past = self._past.pop()
        return _Done(past.state, f"undone: {past.action}.")

    def _look(self, rest: str) -> _Done:
        if rest:
            raise _Refused("not understood.")
        return _Done(self._state, self._room())

    def _inventory(self, rest: str) -> _Done:
        if rest:
            raise _Refused("not understood.")
        return _Done(self._state, f"you hold {self._listed(HANDS)}.")

    def _go(self, rest: str) -> _Done:
        room = rest.removeprefix("to ")
        key = self._door(room)
        if key in self._state.locked:
            raise _Refused(f"{room} is locked.")
        state = self._state._replace(room=room)
        return _Done(state, self._room(state))

    def _unlock(self, rest: str) -> _Done:
        room, _, key = rest.partition(" with ")
        fits = self._door(room)
        if fits not in self._state.locked:
            raise _Refused(f"{room} is not locked.")
        self._held(key)
        if key != fits:
            raise _Refused(f"{key} does not fit.")
        return _Done(self._state._replace(locked=self._state.locked - {key}), f"{room} unlocked.")

    def _open(self, rest: str) -> _Done:
        place = self._container(rest)
        if place in self._state.opened:
            raise _Refused(f"{_bare(place)} is open.")
        state = self._state._replace(opened=self._state.opened | {place})
        return _Done(state, f"{_bare(place)}: {self._listed(place)}.")

    def _close(self, rest: str) -> _Done:
        place = self._container(rest)
        if place not in self._state.opened:
            raise _Refused(f"{_bare(place)} is closed.")
        return _Done(self._state._replace(opened=self._state.opened - {place}), f"{_bare(place)} closed.")

    def _take(self, rest: str) -> _Done:
        thing, _, where = rest.partition(" from ")
        place = f"{self._state.room} {FLOOR}" if where == FLOOR else self._place(where)
        if place in self._house.containers and place not in self._state.opened:
            raise _Refused(f"{_bare(place)} is closed.")
        if thing not in self._house.objects or self._at(thing) != place:
            raise _Refused("that is not there.")
        return _Done(self._moved(thing, HANDS), f"you take {thing}.")

    def _put(self, rest: str) -> _Done:
        thing, _, where = rest.replace(" on ", " in ").partition(" in ")
        self._held(thing)
        place = self._place(where)
        if place in self._house.containers and place not in self._state.opened:
            raise _Refused(f"{_bare(place)} is closed.")
        return _Done(self._moved(thing, place), f"you put {thing} in {_bare(place)}.")

    def _drop(self, thing: str) -> _Done:
        self._held(thing)
        if thing in self._house.fragile:
            return _Done(self._moved(thing, BROKEN), f"{thing} breaks.", final=True)
        return _Done(self._moved(thing, f"{self._state.room} {FLOOR}"), f"you drop {thing}.")

    def _throw(self, rest: str) -> _Done:
        thing = rest.removesuffix(" away")
        if thing == rest:
            raise _Refused("not understood.")
        self._held(thing)
        return _Done(self._moved(thing, AWAY), f"{thing} is gone.", final=True)

    def _door(self, room: str) -> str:
        """The key of the door to a room next to this one; empty where it has none."""
        for far, key in self._house.doors[self._state.room]:
            if far == room:
                return key
        raise _Refused("no such door here.")

    def _place(self, name: str) -> str:
        """The full name of furniture of this room, by that or its kind alone."""
        for place in self._house.furniture[self._state.room]:
            if name in (place, _bare(place)):
                return place
        raise _Refused("no such place here.")

    def _container(self, name: str) -> str:
        place = self._place(name)
        if place not in self._house.containers:
            raise _Refused(f"{_bare(place)} does not open.")
        return place

    def _held(self, thing: str) -> None:
        if thing not in self._house.objects or self._at(thing) != HANDS:
            raise _Refused("you do not hold that.")

    def _at(self, thing: str) -> str:
        return self._state.at[self._house.objects.index(thing)]

    def _moved(self, thing: str, place: str) -> State:
        i = self._house.objects.index(thing)
        at = self._state.at
        return self._state._replace(at=(*at[:i], place, *at[i + 1 :]))

    def _listed(self, place: str, state: State | None = None) -> str:
        at = (state or self._state).at
        return ", ".join(thing for thing, p in zip(self._house.objects, at, strict=True) if p == place) or "nothing"

    def _room(self, state: State | None = None) -> str:
        """What is seen of a room: `hall. box: closed. table: red mug. doors: attic, study locked.`"""
        state = state or self._state
        seen = [f"{state.room}."]
        for place in self._house.furniture[state.room]:
            shut = place in self._house.containers and place not in state.opened
            seen.append(f"{_bare(place)}: {'closed' if shut else self._listed(place, state)}.")
        if (floor := f"{state.room} {FLOOR}") in state.at:
            seen.append(f"{FLOOR}: {self._listed(floor, state)}.")
        doors = (far + " locked" * (key in state.locked) for far, key in self._house.doors[state.room])
        if self._house.doors[state.room]:
            seen.append(f"doors: {', '.join(doors)}.")
        return " ".join(seen)

    def valid_actions(self) -> tuple[str, ...]:
        """Actions that the world would allow now, each in its one canonical form; none after the end."""
        if self._over:
            return ()
        house, state = self._house, self._state
        room = state.room
        near = (*house.furniture[room], f"{room} {FLOOR}")
        usable = [p for p in near if p not in house.containers or p in state.opened]
        held = [thing for thing, place in zip(house.objects, state.at, strict=True) if place == HANDS]
        found = ["look", "inventory", *(["undo"] if self._past else [])]
        for far, key in house.doors[room]:
            if key not in state.locked:
                found.append(f"go to {far}")
            elif key in held:
                found.append(f"unlock {far} with {key}")
        for place in house.furniture[room]:
            if place in house.containers:
                found.append(f"{'close' if place in state.opened else 'open'} {_bare(place)}")
        for thing, place in zip(house.objects, state.at, strict=True):
            if place in usable:
                found.append(f"take {thing} from {_bare(place)}")
        for thing in held:
            found += [f"put {thing} in {_bare(place)}" for place in usable if place != near[-1]]
            found += [f"drop {thing}", f"throw {thing} away"]
        return tuple(found)

    def gold_actions(self) -> tuple[str, ...] | None:
        """A shortest way to the goal, by one who knows where everything lies; None where there is none."""
        return self._way()

    def distance(self) -> float:
        """Fewest actions to the goal. `undo` never makes it shorter: what it takes back, one action does too."""
        way = self._way()
        return DEAD_END if way is None else float(len(way))

    def _way(self) -> tuple[str, ...] | None:
        if self._state not in self._ways:
            self._ways[self._state] = shortest(self._house, self._state)
        return self._ways[self._state]

    def checks(self) -> dict[str, bool]:
        """Whether each goal holds, whether nothing is broken, and nothing thrown away."""
        goals = {f"{thing} in {place}": self._at(thing) == place for thing, place in self._house.goals}
        at = self._state.at
        return {**goals, "nothing broken": BROKEN not in at, "nothing thrown away": AWAY not in at}

    def snapshot(self) -> tuple[Household, State, tuple[_Past, ...]]:
        """The house, its state, and what can be undone."""
        return self._house, self._state, tuple(self._past)

    def restore(self, state: tuple[Household, State, tuple[_Past, ...]]) -> None:
        """Return to the state of a snapshot."""
        house, now, past = state
        if house is not getattr(self, "_house", None):
            self._house, self._ways = house, {}
        self._begin(now, past)


def _bare(place: str) -> str:
    """What furniture is called in its own room."""
    return place.partition(" ")[2]


_VERBS: Mapping[str, Callable[[House, str], _Done]] = {
    "look": House._look,
    "inventory": House._inventory,
    "go": House._go,
    "unlock": House._unlock,
    "open": House._open,
    "close": House._close,
    "take": House._take,
    "put": House._put,
    "drop": House._drop,
    "throw": House._throw,
}
