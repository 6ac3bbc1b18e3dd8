"""Other goals in the same surroundings: a task whose world looks alike and asks for something else.

A run that reached one goal shows, action by action, what is a mistake under the other (GUI-Reflection).
"""

import random
from collections.abc import Callable, Mapping
from typing import Any

Spec = dict[str, Any]


def other_goal(world: str, spec: Mapping[str, Any], rng: random.Random) -> Spec | None:
    """The spec of a task with another goal, all else the same; it may turn out to be none, which `reset` will say.

    None where it is not known how the world's specs name their goals, or there is no other.
    """
    change = _CHANGES.get(world)
    return change(dict(spec), rng) if change else None


def _house(spec: Spec, rng: random.Random) -> Spec | None:
    """Another object that is no key, in another place."""
    keys = {key for _, _, key in spec["doors"]}
    things = [t for t in spec["objects"] if t not in keys and t not in spec["goals"]]
    if not things:
        return None
    thing = rng.choice(things)
    places = [p for p in (*spec["surfaces"], *spec["containers"]) if p != spec["objects"][thing]]
    return {**spec, "goals": {thing: rng.choice(places)}}


def _crafting(spec: Spec, rng: random.Random) -> Spec | None:
    """Another product of the recipes that are shown."""
    made = [r["make"] for r in spec["recipes"] if r["make"] != spec["goal"]]
    return {**spec, "goal": rng.choice(made), "count": 1} if made else None


_CHANGES: Mapping[str, Callable[[Spec, random.Random], Spec | None]] = {"house": _house, "crafting": _crafting}
