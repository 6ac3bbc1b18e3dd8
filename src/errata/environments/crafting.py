"""Get and craft items until the goal is in hand: a world in the manner of TextCraft, with recipes of our own.

TextCraft (Prasad et al., 2024, arXiv 2311.05772) has three commands, a sparse reward and recipes that do not matter
among those that do; so has this world. Every item has one recipe or none (a base item), and no recipe leads back to
its own product. Base items can be got in any number up to `LARGEST` at once, and there is no limit to what is carried.

What can go wrong: a craft uses its ingredients up and cannot be undone, so what is crafted beside the need must be
fetched and crafted again (the distance grows). Some tasks have a scarce base item, of which there is a fixed number:
wasting it makes the goal unreachable (`DEAD_END`). The episode goes on then, as nobody tells the agent.
"""

import random
import re
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar, NamedTuple

from errata.environments.base import DEAD_END, Turn
from errata.environments.crafting_recipes import RECIPES, Recipe, below
from errata.registry import environment

LARGEST = 99
"""The largest number that an action may name; no task needs a larger one."""
EASY_LARGEST = 24
"""The largest number that the shortest way of a generated task names."""

_NAME = re.compile(r"[a-z]+")
_GET = re.compile(r"get ([0-9]{1,2}) ([a-z]+)")
_CRAFT = re.compile(r"craft ([0-9]{1,2}) ([a-z]+) using (.+)")
_PART = re.compile(r" ?([0-9]{1,2}) ([a-z]+) ?")


class _Task(NamedTuple):
    """A spec that was found sound, and what follows from it."""

    goal: str
    number: int
    recipes: dict[str, Recipe]
    """In the order shown."""
    scarce: dict[str, int]
    """How many there are of the base items that are not without end."""
    order: tuple[str, ...]
    """The goal and all that it is made of, ingredients before products."""
    base: dict[str, frozenset[int]]
    """Items that no recipe makes, in the order in which recipes name them: what recipes take of them for one use."""

    def missing(self, have: Mapping[str, int]) -> dict[str, int]:
        """What must yet be got or crafted, in whole multiples of recipes; products before ingredients.

        It is the least of each: an item has one recipe, so fewer of it cannot do, and more of it only ask for more.
        """
        need = {self.goal: self.number}
        found = {}
        for item in reversed(self.order):
            short = need.get(item, 0) - have.get(item, 0)
            if short > 0:
                recipe = self.recipes.get(item)
                if recipe is not None:
                    times = -(-short // recipe.number)
                    short = times * recipe.number
                    for part, n in recipe.parts:
                        need[part] = need.get(part, 0) + n * times
                found[item] = short
        return found


@environment(version=1, name="crafting")
class Crafting:
    """Get base items and craft others from them until the goal is in the inventory."""

    instructions: ClassVar[str] = (
        "You collect and craft items. Each turn, give one action:\n"
        "get N ITEM: take base items, those that no recipe makes\n"
        "craft N ITEM using N1 ITEM1, N2 ITEM2: follow a recipe, once or several times at once\n"
        "inventory: see what you hold\n"
        "Crafting uses the ingredients up. Of a scarce item there are only as many as stated. "
        "You succeed when you hold the items of the goal."
    )
    snapshots: ClassVar[bool] = True

    _task: _Task
    _have: dict[str, int]
    _left: dict[str, int]

    @classmethod
    def generate(cls, rng: random.Random, difficulty: int) -> dict[str, Any]:
        """A task whose shortest way has 2 or 3 actions at difficulty 1, and 2 more at each next, as far as recipes go.

        It shows recipes that are not needed, first of all such as use what is. From difficulty 3 up, half of the tasks
        have a scarce item, of which there are up to 2 more than needed.
        """
        level = max(1, min(difficulty, max(_LEVELS)))
        task = _task(rng.choice(_LEVELS[level]), 1, RECIPES.values(), {})
        counts = [n for n in range(1, 5) if _most(task._replace(number=n)) <= EASY_LARGEST]
        task = task._replace(number=rng.choice(counts))
        shown = [RECIPES[item] for item in task.order if item in RECIPES]
        shown += _others(rng, set(task.order), rng.randint(2, 4))
        rng.shuffle(shown)
        scarce = {}
        if difficulty >= 3 and rng.random() < 0.5:
            item = rng.choice([item for item in task.order if item not in RECIPES])
            scarce[item] = task.missing({})[item] + rng.randint(0, 2)
        recipes = [{"make": r.make, "count": r.number, "using": [list(part) for part in r.parts]} for r in shown]
        return {"goal": task.goal, "count": task.number, "recipes": recipes, "scarce": scarce}

    @classmethod
    def kin(cls, spec: Mapping[str, Any]) -> dict[str, Any]:
        """Goal and number: they decide the way, whatever other recipes are shown beside those that it needs."""
        return {"goal": spec["goal"], "count": spec["count"]}

    def reset(self, spec: Mapping[str, Any]) -> str:
        """Begin with an empty inventory. The observation is the recipes, what is scarce, and the goal."""
        self._task = task = _checked(spec)
        self._have, self._left = {}, dict(task.scarce)
        lines = ["Recipes:", *(recipe.command() for recipe in task.recipes.values())]
        if task.scarce:
            lines.append(f"Scarce: {_listed(task.scarce)}.")
        return "\n".join([*lines, f"Goal: craft {task.number} {task.goal}."])

    def step(self, action: str) -> Turn:
        """Act. The reward is 1 where the goal's items are in the inventory, else 0."""
        if self._done():
            return Turn(observation="the task is done.", reward=1.0, done=True, valid=False, changed=False)
        words = " ".join(action.lower().split()).rstrip(" .")
        if words == "inventory":
            held = _listed(self._have) or "nothing"
            return Turn(observation=f"you have {held}.", reward=0.0, changed=False)
        if got := _GET.fullmatch(words):
            fault = self._get(int(got[1]), got[2])
            said = f"got {int(got[1])} {got[2]}."
        elif crafted := _CRAFT.fullmatch(words):
            fault = self._craft(int(crafted[1]), crafted[2], crafted[3])
            said = f"crafted {int(crafted[1])} {crafted[2]}."
        else:
            fault, said = "unknown action.", ""
        if fault:
            return Turn(observation=fault, reward=0.0, valid=False, changed=False)
        if self._done():
            return Turn(observation=f"{said} goal reached.", reward=1.0, done=True)
        return Turn(observation=said, reward=0.0)

    def valid_actions(self) -> tuple[str, ...]:
        """Actions that make sense, though others are allowed too.

        Of each base item: to get what the goal still needs, and what each recipe takes for one use. Of each recipe
        whose ingredients are there: to use it once, as often as the goal needs, and as often as it can be. And to look
        at the inventory.
        """
        if self._done():
            return ()
        missing = self._task.missing(self._have)
        found = []
        for item, portions in self._task.base.items():
            most = self._left.get(item, LARGEST)
            found += [f"get {n} {item}" for n in sorted(portions | {missing.get(item, 0)}) if 0 < n <= most]
        for recipe in self._task.recipes.values():
            uses = min([self._have.get(item, 0) // n for item, n in recipe.parts])
            if uses:
                most = min(uses, LARGEST // max(recipe.number, *(n for _, n in recipe.parts)))
                numbers = {1, missing.get(recipe.make, 0) // recipe.number, most}
                found += [recipe.command(n) for n in sorted(numbers) if 0 < n <= most]
        return (*found, "inventory")

    def gold_actions(self) -> tuple[str, ...] | None:
        """Each missing item got or crafted once, ingredients first; None at a dead end."""
        missing = self._task.missing(self._have)
        if self._lost(missing):
            return None
        recipes = self._task.recipes
        return tuple(
            recipes[item].command(missing[item] // recipes[item].number)
            if item in recipes
            else f"get {missing[item]} {item}"
            for item in self._task.order
            if item in missing
        )

    def distance(self) -> float:
        """How many items are missing: each takes an action of its own, and one is enough."""
        missing = self._task.missing(self._have)
        return DEAD_END if self._lost(missing) else len(missing)

    def checks(self) -> dict[str, bool]:
        """For the goal and each item that it is made of, whether no more of it are needed; whether the goal is in
        reach, where an item is scarce. As many items fail as the distance says."""
        missing = self._task.missing(self._have)
        found = {item: item not in missing for item in self._task.order}
        if self._task.scarce:
            found["in_reach"] = not self._lost(missing)
        return found

    def snapshot(self) -> Any:
        """The task, what is held and what is left."""
        return self._task, self._have.copy(), self._left.copy()

    def restore(self, state: Any) -> None:
        """Return to a snapshot."""
        self._task, have, left = state
        self._have, self._left = have.copy(), left.copy()

    def _done(self) -> bool:
        return self._have.get(self._task.goal, 0) >= self._task.number

    def _lost(self, missing: Mapping[str, int]) -> bool:
        return any(missing.get(item, 0) > left for item, left in self._left.items())

    def _get(self, number: int, item: str) -> str:
        """Take base items; else the reason why not."""
        if item in self._task.recipes:
            return f"{item} must be crafted."
        if item not in self._task.base:
            return "unknown item."
        if number == 0:
            return "get 1 or more."
        left = self._left.get(item)
        if left is not None:
            if number > left:
                return f"only {left} {item} left."
            self._left[item] = left - number
        self._have[item] = self._have.get(item, 0) + number
        return ""

    def _craft(self, number: int, item: str, using: str) -> str:
        """Use a recipe; else the reason why not."""
        recipe = self._task.recipes.get(item)
        if recipe is None:
            return f"{item} has no recipe." if item in self._task.base else "unknown item."
        times, rest = divmod(number, recipe.number)
        if rest or not times or _parts(using) != {part: n * times for part, n in recipe.parts}:
            return "wrong recipe."
        have = self._have
        short = {part: n * times - have.get(part, 0) for part, n in recipe.parts if n * times > have.get(part, 0)}
        if short:
            return f"you lack {_listed(short)}."
        for part, n in recipe.parts:
            have[part] -= n * times
            if not have[part]:
                del have[part]
        have[item] = have.get(item, 0) + number
        return ""


def _listed(items: Mapping[str, int]) -> str:
    return ", ".join(f"{items[item]} {item}" for item in sorted(items))


def _parts(using: str) -> dict[str, int] | None:
    """The items of a command and their numbers; None where it is none, or names an item twice."""
    found: dict[str, int] = {}
    for text in using.split(","):
        part = _PART.fullmatch(text)
        if part is None or part[2] in found:
            return None
        found[part[2]] = int(part[1])
    return found


def _task(goal: str, number: int, recipes: Iterable[Recipe], scarce: dict[str, int]) -> _Task:
    """What follows from sound values. Raises ValueError for recipes in a circle."""
    known = {recipe.make: recipe for recipe in recipes}
    taken: dict[str, set[int]] = {}
    for item, n in (part for recipe in known.values() for part in recipe.parts):
        taken.setdefault(item, set()).add(n)
    base = {item: frozenset(portions) for item, portions in taken.items() if item not in known}
    seen: set[str] = set()
    for item in known:  # also those that the goal does not need: no item may be made of itself
        tuple(below(item, known, seen))
    order = tuple(below(goal, known, set()))
    return _Task(goal, number, known, scarce, order, base)


def _most(task: _Task) -> int:
    """The largest number on the shortest way."""
    return max(task.missing({}).values())


def _others(rng: random.Random, needed: set[str], count: int) -> list[Recipe]:
    """Recipes that are not needed, whose ingredients can all be had; first such as use up what is needed."""
    known = set(needed)
    found: list[Recipe] = []
    while len(found) < count:
        fit = [
            r
            for r in RECIPES.values()
            if r.make not in known and all(item in known or item not in RECIPES for item, _ in r.parts)
        ]
        tempting = [r for r in fit if any(item in needed for item, _ in r.parts)]
        found.append(rng.choice(tempting or fit))
        known.add(found[-1].make)
    return found


def _checked(spec: Mapping[str, Any]) -> _Task:
    """The task of a spec, or a ValueError that says what is wrong with it."""
    if not isinstance(spec, Mapping) or set(spec) != {"goal", "count", "recipes", "scarce"}:
        raise ValueError("a spec has goal, count, recipes and scarce")
    if not isinstance(spec["recipes"], list) or len(spec["recipes"]) > LARGEST:
        raise ValueError(f"recipes are a list of at most {LARGEST}")
    if not isinstance(spec["scarce"], Mapping):
        raise ValueError("scarce is a mapping of items to numbers")
    recipes = [_recipe(value) for value in spec["recipes"]]
    goal, products = spec["goal"], [recipe.make for recipe in recipes]
    if len(set(products)) < len(products):
        raise ValueError("two recipes make the same item")
    if goal not in products:
        raise ValueError(f"no recipe makes the goal {goal!r}")
    task = _task(goal, _number(spec["count"]), recipes, {})
    scarce = {_name(item): _number(number) for item, number in spec["scarce"].items()}
    if not set(scarce) <= set(task.base):
        raise ValueError(f"only base items can be scarce: {', '.join(task.base)}")
    if _most(task) > LARGEST:
        raise ValueError(f"the goal takes more than {LARGEST} of an item")
    return task._replace(scarce=scarce)


def _recipe(value: Any) -> Recipe:
    if not isinstance(value, Mapping) or set(value) != {"make", "count", "using"}:
        raise ValueError(f"a recipe has make, count and using: {value!r}")
    using = value["using"]
    if not isinstance(using, list) or not using or not all(isinstance(p, list) and len(p) == 2 for p in using):
        raise ValueError(f"using is a list of [item, number]: {using!r}")
    parts = tuple((_name(item), _number(n)) for item, n in using)
    if len(dict(parts)) < len(parts):
        raise ValueError(f"a recipe names an ingredient twice: {value!r}")
    return Recipe(_name(value["make"]), _number(value["count"]), parts)


def _name(value: Any) -> str:
    if not isinstance(value, str) or not _NAME.fullmatch(value):
        raise ValueError(f"an item is one lower-case word: {value!r}")
    return value


def _number(value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= LARGEST:
        raise ValueError(f"a number is in 1..{LARGEST}: {value!r}")
    return value


def _levels() -> dict[int, list[str]]:
    """Products by difficulty: half the number of actions that they take."""
    found: dict[int, list[str]] = {}
    for item in RECIPES:
        found.setdefault(len(tuple(below(item, RECIPES, set()))) // 2, []).append(item)
    return found


_LEVELS = _levels()
