"""The shop keeps the contract of worlds, its distance is an exhaustive search's, and its reward is as documented."""

import itertools
import random
from typing import Any

import pytest

from errata.environments.base import DEAD_END
from errata.environments.shop import PAGE, Shop
from errata.environments.shop_catalogue import CATEGORIES, LIMITS, Product, catalogue, drawn
from tests.environments import contract


@pytest.mark.parametrize("check", contract.CHECKS, ids=lambda check: check.__name__)
def test_the_contract(check: contract.Check) -> None:
    check(Shop, range(1, 7))


def played(spec: dict[str, Any], *actions: str) -> Shop:
    world = Shop()
    world.reset(spec)
    for action in actions:
        assert world.step(action).valid, action
    return world


def task(catalogue_seed: int = 5, items: int = 60, **goal: Any) -> dict[str, Any]:
    asked = {"type": goods(catalogue_seed, items)[0].kind, "attributes": [], "options": {}, "price": 99}
    return {"catalogue": catalogue_seed, "items": items, "goal": {**asked, **goal}}


def goods(catalogue_seed: int = 5, items: int = 60) -> tuple[Product, ...]:
    return catalogue(catalogue_seed, items).items


# ---- the distance against a search through everything that can be done


def everything(spec: dict[str, Any]) -> list[str]:
    """Every search that words of the catalogue allow, every filter and every click."""
    items = goods(spec["catalogue"], spec["items"])
    words = sorted({w for item in items for w in item.words})
    subsets = [c for n in range(1, len(words) + 1) for c in itertools.combinations(words, n)]
    values = sorted({v for item in items for _, offered in item.options for v in offered})
    return [
        *(f"search {' '.join(c)}" for c in subsets),
        *(f"filter price below {n}" for n in LIMITS),
        *(f"filter category {name}" for name in CATEGORIES),
        *(f"click {name}" for name in (*(item.name for item in items), *values)),
        *("next", "prev", "back", "buy"),
    ]


def searched(world: Shop, spec: dict[str, Any], most: int) -> float:
    """Fewest actions to reward 1 by breadth-first search, DEAD_END where `most` do not reach it."""
    actions = everything(spec)
    searches = [a for a in actions if a.startswith("search")]
    others = [a for a in actions if not a.startswith("search")]
    start = world.snapshot()
    edge, known = [start], {start[2]}
    looked = False
    for depth in range(1, most + 1):
        after = []
        for state in edge:
            at = state[2]
            # A search leads to the same results from everywhere: once all of them are found, none is new.
            allowed = others if looked or at.item is not None else [*searches, *others]
            looked = looked or at.item is None
            for action in allowed:
                world.restore(state)
                turn = world.step(action)
                if turn.reward == 1.0:
                    world.restore(start)
                    return depth
                now = world.snapshot()
                if turn.changed and not turn.done and now[2] not in known:
                    known.add(now[2])
                    after.append(now)
        edge = after
    world.restore(start)
    return DEAD_END


def agree(spec: dict[str, Any], walks: int, farthest: int) -> set[float]:
    """Compare at the beginning and after random walks; the distances that were compared."""
    rng, compared = random.Random(str(spec)), set[float]()
    for length in range(walks):
        world = played(spec)
        for _ in range(length):
            offered = [a for a in world.valid_actions() if a != "buy"]
            world.step(rng.choice(offered))
        told = world.distance()
        if told <= farthest:
            assert searched(world, spec, int(told)) == told, world.snapshot()[2]
            compared.add(told)
    return compared


def test_the_distance_is_that_of_an_exhaustive_search_where_options_are_asked() -> None:
    compared = agree(drawn(random.Random(1), 4, 1), 4, 4) | agree(drawn(random.Random(2), 12, 0), 4, 3)
    assert compared == {2, 3, 4}


@pytest.mark.long
def test_the_distance_is_that_of_an_exhaustive_search_where_pages_and_filters_matter() -> None:
    compared: set[float] = set()
    for seed in range(3):
        compared |= agree(drawn(random.Random(seed), 48, 0, late=True), 5, 4)
    drawn_far = (drawn(random.Random(seed), 80, 0, late=True) for seed in range(100))
    compared |= agree(next(spec for spec in drawn_far if played(spec).distance() == 5), 1, 5)
    assert compared == {2, 3, 4, 5}


def test_to_turn_pages_and_to_filter_are_both_shortest_ways_somewhere() -> None:
    used = set()
    for seed in range(20):
        world = Shop()
        world.reset(Shop.generate(random.Random(seed), 5))
        used |= {action.partition(" ")[0] for action in world.gold_actions() or ()}
    assert used == {"search", "next", "filter", "click", "buy"}


def test_a_task_takes_three_actions_and_its_difficulty() -> None:
    for level in range(1, 6):
        lengths = []
        for seed in range(6):
            world = Shop()
            world.reset(Shop.generate(random.Random(seed), level))
            lengths.append(world.distance())
        assert max(lengths) == 3 + level and min(lengths) >= 3 + min(level, 4)


# ---- results


def test_results_are_in_the_order_of_words_that_match_then_of_the_catalogue() -> None:
    spec = task()
    item = next(i for i in goods() if len(i.title) == 2)
    world, found = played(spec), []
    text = world.step(f"search[{item.label}, nonsense]").observation
    while True:
        found += [line.split()[0] for line in text.splitlines()[1:]]
        turn = world.step("next")
        if not turn.valid:
            break
        text = turn.observation
    expected = sorted(goods(), key=lambda i: (-len(i.words & item.words), goods().index(i)))
    assert found == [i.name for i in expected if i.words & item.words]
    assert len(found) > 2 * PAGE


def test_filters_are_strict_and_a_new_search_forgets_them() -> None:
    kind = goods()[0].kind
    price = next(i.price for i in goods() if i.price in LIMITS and kind in i.words)
    name = next(i.category for i in goods() if i.kind == kind)
    world = played(task(), f"search {kind}")
    total = world.step("filter category " + name).observation
    assert f" of {sum(i.kind == kind for i in goods())} " in total, "a type lies in one category"
    text = world.step(f"filter price below {price}").observation
    assert f" of {sum(i.kind == kind and i.price < price for i in goods())} " in text
    assert f"(price below {price}, category {name})" in text
    assert "(" not in world.step(f"search {kind}").observation
    assert not world.step("filter price below 41").valid


def test_only_what_is_on_the_page_can_be_clicked_and_only_what_is_offered_chosen() -> None:
    world = played(task(), f"search {goods()[0].kind}")
    shown = [a.split()[1] for a in world.valid_actions() if a.startswith("click")]
    hidden = next(i.name for i in goods() if i.name not in shown)
    assert not world.step(f"click {hidden}").valid
    turn = world.step(f"click {shown[0]}")
    item = next(i for i in goods() if i.name == shown[0])
    offered = {v for _, values in item.options for v in values}
    assert all(word in turn.observation for word in (*item.details, *offered, str(item.price)))
    for value in ("black", "blue", "green", "red"):
        assert played(task(), f"search {goods()[0].kind}", f"click {shown[0]}").step(f"click {value}").valid == (
            value in offered
        )
    assert not world.step("search anything").valid, "first back"


def test_a_choice_replaces_the_last_one_and_is_forgotten_on_leaving() -> None:
    item = goods()[0]
    first, second = dict(item.options)["colour"]
    world = played(task(options={"colour": first}), f"search {item.label}")
    page = [a for a in world.valid_actions() if a == f"click {item.name}"]
    assert page, "the first of the catalogue is before all that match as well"
    world.step(page[0])
    world.step(f"click {first}")
    assert world.checks()["option colour"]
    assert f"chosen: {second}" in world.step(f"click {second}").observation
    assert not world.checks()["option colour"]
    world.step(f"click {first}")
    world.step("back")
    assert "chosen: none" in world.step(f"click {item.name}").observation


# ---- the reward


def bought(spec: dict[str, Any], item: Product, *values: str) -> Shop:
    """After buying an item, wherever in the results it stands."""
    world = played(spec, f"search {item.label}")
    while not world.step(f"click {item.name}").valid:
        assert world.step("next").valid
    for value in values:
        assert world.step(f"click {value}").valid
    assert world.step("buy").done
    return world


def test_the_reward_is_the_share_of_what_was_asked_times_the_worth_of_the_type() -> None:
    item = goods()[0]
    size, colour = dict(item.options)["size"][0], dict(item.options)["colour"][0]
    asked = task(attributes=[*item.title, *item.details], options={"size": size, "colour": colour}, price=item.price)
    parts = len(item.attributes) + 3
    same = next(i for i in goods() if i.category == item.category and i.kind != item.kind)
    other = next(i for i in goods() if i.category != item.category)
    for what, values, kind in (
        (item, (size, colour), 1.0),
        (item, (size,), 1.0),
        (item, (), 1.0),
        (same, (), 0.5),
        (other, (), 0.1),
    ):
        world = bought(asked, what, *values)
        held = len(item.attributes & what.attributes) + len(values) + (what.price <= item.price)
        expected = kind * held / parts
        turn = world.step("buy")
        assert turn.reward == pytest.approx(expected)
        checks = world.checks()
        assert checks["type"] == (what is item) and checks["price"] == (what.price <= item.price)
        assert sum(v for k, v in checks.items() if k.startswith("attribute")) == len(item.attributes & what.attributes)
        assert world.distance() == (0 if expected == 1.0 else DEAD_END)
        assert (world.gold_actions() is None) == (expected != 1.0)


def test_a_price_over_the_limit_costs_its_part() -> None:
    cheap, dear = sorted((i for i in goods() if i.kind == goods()[0].kind), key=lambda i: i.price)[::2][:2]
    world = bought(task(price=cheap.price), dear)
    assert world.step("buy").reward == 0.0 and not world.checks()["price"]
    assert bought(task(price=cheap.price), cheap).step("buy").reward == 1.0


def test_nothing_is_earned_before_the_purchase() -> None:
    world = played(task(), f"search {goods()[0].kind}")
    for action in ("next", "prev", "back"):
        assert world.step(action).reward == 0.0
    assert not world.step("buy").valid, "no item is open"


@pytest.mark.parametrize(
    "goal",
    [
        {"type": "spaceship"},
        {"attributes": ["shiny"]},
        {"attributes": ["warm", "warm"]},
        {"options": {"colour": "small"}},
        {"options": {"smell": "red"}},
        {"price": 9},
        {"price": 20.0},
    ],
)
def test_a_goal_that_nothing_satisfies_is_refused(goal: dict[str, Any]) -> None:
    with pytest.raises(ValueError):
        Shop().reset(task(**goal))


def test_the_catalogue_is_pinned() -> None:
    """A change of the goods is another version of the world: recorded tasks would mean something else."""
    assert [(i.name, i.label, i.details, i.price) for i in goods(7, 3)] == [
        ("i00", "compact warm bowl", ("sturdy",), 24),
        ("i01", "foldable sturdy mug", ("warm",), 12),
        ("i02", "compact sturdy desk", ("foldable", "handmade"), 58),
    ]
