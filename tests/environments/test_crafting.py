"""Crafting keeps the contract of worlds; its distance is exact, its words are few, and its errors cost."""

import itertools
import random
import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from errata.environments.base import DEAD_END
from errata.environments.crafting import EASY_LARGEST, LARGEST, Crafting
from errata.environments.crafting_recipes import RECIPES, Recipe, below
from tests.environments import contract

LEVELS = range(1, 10)


@pytest.mark.parametrize("check", contract.CHECKS, ids=lambda check: check.__name__)
def test_the_contract(check: contract.Check) -> None:
    check(Crafting, LEVELS)


def made(text: str) -> dict[str, Any]:
    """A recipe of a spec, from `2 plank = 1 log`."""
    product, _, parts = text.partition(" = ")
    number, item = product.split()
    using = [[name, int(n)] for n, name in (part.split() for part in parts.split(", "))]
    return {"make": item, "count": int(number), "using": using}


STOOL: dict[str, Any] = {
    "goal": "stool",
    "count": 2,
    "recipes": [
        made("1 stool = 1 plank, 3 peg"),
        made("2 coal = 1 log"),
        made("3 peg = 1 plank"),
        made("2 plank = 1 log"),
    ],
    "scarce": {},
}


def test_the_first_observation_shows_recipes_and_goal() -> None:
    assert Crafting().reset({**STOOL, "scarce": {"log": 3}}).split("\n") == [
        "Recipes:",
        "craft 1 stool using 1 plank, 3 peg",
        "craft 2 coal using 1 log",
        "craft 3 peg using 1 plank",
        "craft 2 plank using 1 log",
        "Scarce: 3 log.",
        "Goal: craft 2 stool.",
    ]


@pytest.mark.parametrize(
    ("action", "said", "valid"),
    [
        ("inventory", "you have 1 log, 2 plank.", True),
        ("  Get 2   LOG. ", "got 2 log.", True),
        ("get 02 log", "got 2 log.", True),
        ("get 0 log", "get 1 or more.", False),
        ("get 100 log", "unknown action.", False),
        ("get 2 plank", "plank must be crafted.", False),
        ("get 2 gold", "unknown item.", False),
        ("get log", "unknown action.", False),
        ("craft 6 peg using 2 plank", "crafted 6 peg.", True),
        ("craft 3 peg using 1 plank", "crafted 3 peg.", True),
        ("craft 6 peg using 1 plank", "wrong recipe.", False),
        ("craft 4 peg using 1 plank", "wrong recipe.", False),
        ("craft 0 peg using 0 plank", "wrong recipe.", False),
        ("craft 3 peg using 1 plank, 1 log", "wrong recipe.", False),
        ("craft 3 peg using 1 log", "wrong recipe.", False),
        ("craft 3 peg using plank", "wrong recipe.", False),
        ("craft 1 stool using 1 plank", "wrong recipe.", False),
        ("craft 3 stool using 9 peg, 3 plank", "you lack 9 peg, 1 plank.", False),
        ("craft 3 stool using 3 plank, 9 peg", "you lack 9 peg, 1 plank.", False),
        ("craft 1 stool using 1 plank, 3 peg, 3 peg", "wrong recipe.", False),
        ("craft 1 log using 1 plank", "log has no recipe.", False),
        ("craft 1 gold using 1 plank", "unknown item.", False),
        ("craft 3 peg", "unknown action.", False),
        ("think: what now", "unknown action.", False),
        ("get \u0662 log", "unknown action.", False),
    ],
)
def test_what_is_answered(action: str, said: str, valid: bool) -> None:
    played = contract.begun(Crafting, STOOL, ["get 2 log", "craft 2 plank using 1 log"])
    turn = played.step(action)
    assert (turn.observation, turn.valid) == (said, valid)
    assert turn.changed == (valid and action != "inventory")


def test_crafting_uses_ingredients_up_and_the_goal_ends_the_task() -> None:
    played = contract.begun(Crafting, STOOL, ["get 2 log", "craft 4 plank using 2 log", "craft 6 peg using 2 plank"])
    assert played.step("inventory").observation == "you have 6 peg, 2 plank."
    assert played.step("craft 1 stool using 1 plank, 3 peg").reward == 0
    turn = played.step("craft 1 stool using 3 peg, 1 plank")
    assert (turn.observation, turn.reward, turn.done) == ("crafted 1 stool. goal reached.", 1.0, True)
    turn = played.step("inventory")
    assert (turn.observation, turn.reward, turn.valid) == ("the task is done.", 1.0, False)


def test_nothing_is_held_at_first() -> None:
    assert contract.begun(Crafting, STOOL).step("inventory").observation == "you have nothing."


def test_what_is_crafted_beside_the_need_must_be_crafted_again() -> None:
    played = contract.begun(Crafting, STOOL, ["get 2 log"])
    assert played.distance() == 3
    played.step("craft 4 coal using 2 log")
    assert played.distance() == 4
    played = contract.begun(Crafting, STOOL, ["get 2 log", "craft 4 plank using 2 log"])
    assert played.distance() == 2
    played.step("craft 12 peg using 4 plank")
    assert played.distance() == 3 and played.gold_actions()[0] == "get 1 log"  # type: ignore[index]


def test_wasting_what_is_scarce_is_a_dead_end() -> None:
    played = contract.begun(Crafting, {**STOOL, "scarce": {"log": 3}}, ["get 2 log"])
    assert played.step("get 2 log").observation == "only 1 log left."
    played.step("craft 2 coal using 1 log")
    assert played.distance() == 4 and played.checks()["in_reach"], "there was one to spare"
    turn = played.step("craft 2 coal using 1 log")
    assert not turn.done and turn.valid
    assert played.distance() == DEAD_END and played.gold_actions() is None
    assert not played.checks()["in_reach"]
    assert played.valid_actions() == ("get 1 log", "inventory")


def test_as_many_checks_fail_as_actions_are_needed() -> None:
    played = contract.begun(Crafting, STOOL)
    for left, action in zip((4, 3, 2, 1), played.gold_actions() or (), strict=True):
        assert [name for name, holds in played.checks().items() if not holds] == ["log", "plank", "peg", "stool"][
            -left:
        ]
        played.step(action)


@st.composite
def small(draw: st.DrawFn) -> dict[str, Any]:
    """Tasks of three recipes over two base items, one or both of them scarce or neither."""
    items = ["ash", "oak"]
    recipes = []
    for name in ("first", "second", "third"):
        parts = draw(st.lists(st.sampled_from(items), min_size=1, max_size=2, unique=True))
        using = [[part, draw(st.integers(1, 2))] for part in parts]
        recipes.append({"make": name, "count": draw(st.integers(1, 2)), "using": using})
        items.append(name)
    base = sorted({part for recipe in recipes for part, _ in recipe["using"]} & {"ash", "oak"})
    scarce = {item: draw(st.integers(1, 9)) for item in base if draw(st.booleans())}
    return {
        "goal": draw(st.sampled_from(items[2:])),
        "count": draw(st.integers(1, 3)),
        "recipes": recipes,
        "scarce": scarce,
    }


MANY = 60
"""More of a base item than a small task needs: to get as many is never worse than to get fewer."""


def every_action(spec: dict[str, Any]) -> list[str]:
    """All actions that could shorten a way: every number that may matter."""
    recipes = [Recipe(r["make"], r["count"], tuple((i, n) for i, n in r["using"])) for r in spec["recipes"]]
    base = {item for r in recipes for item, _ in r.parts} - {r.make for r in recipes}
    gets = [f"get {n} {item}" for item in sorted(base) for n in (range(1, 10) if item in spec["scarce"] else (MANY,))]
    return gets + [r.command(times) for r in recipes for times in range(1, 19)]


def fewest(played: Crafting, actions: list[str], most: int) -> float:
    """The fewest actions to reward 1, by breadth-first search; `DEAD_END` where it takes more than `most`."""
    front, seen = [played.snapshot()], set()
    for taken in range(1, most + 1):
        reached = []
        for state, action in itertools.product(front, actions):
            played.restore(state)
            turn = played.step(action)
            if turn.done:
                return taken
            _, held, left = played.snapshot()
            key = (frozenset(held.items()), frozenset(left.items()))
            if turn.changed and key not in seen:
                seen.add(key)
                reached.append(played.snapshot())
        front = reached
    return DEAD_END


@settings(max_examples=60)
@given(small(), contract.walks.filter(lambda picks: len(picks) < 8))
def test_the_distance_is_what_a_search_over_every_action_finds(spec: dict[str, Any], picks: list[int]) -> None:
    played = Crafting()
    played.reset(spec)
    contract.walk(played, picks)
    told = played.distance()
    if told > 0:
        assert fewest(played, every_action(spec), 4) == (told if told <= 4 else DEAD_END)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"goal": "log"}, "no recipe makes the goal"),
        ({"goal": ["stool"]}, "no recipe makes the goal"),
        ({"count": 0}, "1..99"),
        ({"count": True}, "1..99"),
        ({"count": "2"}, "1..99"),
        ({"count": 99}, "more than 99"),
        ({"recipes": []}, "no recipe makes the goal"),
        ({"recipes": [made("1 stool = 1 log"), made("1 stool = 2 log")]}, "two recipes make the same item"),
        ({"recipes": [made("1 stool = 1 log, 2 log")]}, "an ingredient twice"),
        (
            {"recipes": [made("1 stool = 1 log"), made("1 a = 1 b"), made("1 b = 1 a")]},
            "made of itself: a from b from a",
        ),
        ({"recipes": [made("1 stool = 1 stool")]}, "made of itself"),
        ({"recipes": [made("1 stool = 1 log")] * 100}, "at most 99"),
        ({"recipes": [{"make": "stool", "count": 1, "using": []}]}, "list of"),
        ({"recipes": [{"make": "stool", "count": 1}]}, "make, count and using"),
        ({"recipes": [{"make": "Three legs", "count": 1, "using": [["log", 1]]}]}, "one lower-case word"),
        ({"scarce": {"plank": 3}}, "only base items"),
        ({"scarce": {"gold": 3}}, "only base items"),
        ({"scarce": {"log": -1}}, "1..99"),
        ({"extra": 1}, "goal, count, recipes and scarce"),
    ],
)
def test_a_faulty_spec_is_refused(change: dict[str, Any], why: str) -> None:
    with pytest.raises(ValueError, match=re.escape(why)):
        Crafting().reset({**STOOL, **change})


def test_a_spec_needs_no_table() -> None:
    spec = {"goal": "zig", "count": 3, "recipes": [made("2 zig = 3 zag")], "scarce": {}}
    assert contract.begun(Crafting, spec).gold_actions() == ("get 6 zag", "craft 4 zig using 6 zag")


def test_a_higher_difficulty_takes_more_actions() -> None:
    taken = [{contract.begun(Crafting, spec).distance() for spec in contract.specs(Crafting, [d], 60)} for d in LEVELS]
    assert taken[0] == {2, 3}
    assert all(max(low) < min(high) for low, high in itertools.pairwise(taken))
    assert max(taken[-1]) <= 20


def test_tasks_show_what_is_needed_and_what_tempts() -> None:
    scarce = 0
    for spec in contract.specs(Crafting, LEVELS, 30):
        recipes = {recipe["make"]: recipe for recipe in spec["recipes"]}
        needed = set(below(spec["goal"], RECIPES, set()))
        others = [recipe for item, recipe in recipes.items() if item not in needed]
        assert needed & set(RECIPES) <= set(recipes) and 2 <= len(others) <= 4
        named = {item for recipe in recipes.values() for item, _ in recipe["using"]}
        assert named & set(RECIPES) <= set(recipes), "a shown ingredient is a base item or has its recipe shown"
        scarce += bool(spec["scarce"])
    assert 60 < scarce < 150
    rng = random.Random(0)
    uses = [{item for r in Crafting.generate(rng, 4)["recipes"] for item, _ in r["using"]} for _ in range(20)]
    assert len({frozenset(items) for items in uses}) > 1


def test_the_table_is_sound() -> None:
    named = {item for recipe in RECIPES.values() for item, _ in recipe.parts}
    assert len(named | set(RECIPES)) == 65

    def tier(item: str) -> int:
        return 1 + max(tier(part) for part, _ in RECIPES[item].parts) if item in RECIPES else 0

    assert max(map(tier, RECIPES)) >= 5
    for item in RECIPES:
        recipes = [
            made(f"{r.number} {r.make} = {', '.join(f'{n} {part}' for part, n in r.parts)}") for r in RECIPES.values()
        ]
        gold = contract.begun(Crafting, {"goal": item, "count": 1, "recipes": recipes, "scarce": {}}).gold_actions()
        numbers = [int(n) for action in gold or () for n in re.findall("[0-9]+", action)]
        assert numbers and max(numbers) <= EASY_LARGEST < LARGEST


def test_words_are_few_and_observations_short() -> None:
    words: set[str] = set()
    for spec in contract.specs(Crafting, LEVELS, 30):
        played = Crafting()
        text = [played.reset(spec)]
        assert len(re.findall(r"\w+|[^\w\s]", text[0])) <= 230
        for action in played.gold_actions() or ():
            text += [action, played.step(action).observation]
            assert len(re.findall(r"\w+|[^\w\s]", text[-1])) <= 8
        words.update(re.findall(r"\w+|[^\w\s]", "\n".join(text)))
    assert len(words) <= 120
