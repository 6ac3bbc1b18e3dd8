"""A small shop: search, look, choose options and buy; a purchase cannot be undone and its fit is the reward.

The spec is `{"catalogue": seed, "items": count, "goal": {"type", "attributes", "options", "price"}}`; the goods follow
from seed and count (errata.environments.shop_catalogue).

Reward, once something is bought (0 before), in the spirit of WebShop (arXiv:2207.01206):

    kind * (attributes asked that it has + options chosen as asked + (1 if its price is within the limit))
         / (attributes asked + options asked + 1)

where `kind` is 1 for the type asked, 0.5 for another type of its category and 0.1 for anything else. It is 1 exactly
where everything is as asked.

The distance is exact, by an argument instead of a search. Results are ordered by how many words of the query stand in
the title, then as in the catalogue. So an earlier item that has all title words of a later one is before it in every
result, and a query of exactly these words lists no other item before it: no query does better for it. Likewise no price
filter does better than the tightest that keeps it, no category filter than its own, and a second search undoes the
first. What is left to compare, for each item that fits the goal, is a new search or the present results, each with or
without either filter.
"""

import random
import re
from collections.abc import Iterator, Mapping
from itertools import combinations
from typing import Any, ClassVar, NamedTuple

from errata.environments.base import DEAD_END, Turn
from errata.environments.shop_catalogue import (
    CATEGORIES,
    LIMITS,
    OPTIONS,
    Catalogue,
    Goal,
    Product,
    category_of,
    drawn,
    option_of,
    read,
)
from errata.registry import environment

PAGE = 3
"""Items on a page of results."""
SAME_CATEGORY, OTHER_CATEGORY = 0.5, 0.1
"""What a wrong type is worth."""
DRAWS = 60
"""Catalogues that `generate` looks at for a task of the wanted length."""

_ACTION = re.compile(r"(search|click|filter)\s*(?:\[\s*([^\[\]]*?)\s*\]|\s([^\[\]]*))")
_FILTER = re.compile(r"price below ([0-9]{1,4})|category ([a-z]+)")
_MOVES = ("next", "prev", "back", "buy")


class Listing(NamedTuple):
    """What is searched for, the filters on it, and the page that is shown, from 0."""

    words: tuple[str, ...]
    below: int | None = None
    category: str = ""
    page: int = 0


class State(NamedTuple):
    """Where the customer is: at the search box, on a page of results, at an item of it, or done."""

    listing: Listing | None = None
    item: int | None = None
    chosen: tuple[tuple[str, str], ...] = ()
    """Options chosen of the item: name and value."""
    bought: bool = False


@environment(version=1, name="shop")
class Shop:
    """Search a small catalogue, filter, choose options and buy what the goal asks for; reward by how well it fits."""

    instructions: ClassVar[str] = (
        "you are in a web shop and may take one action a turn:\n"
        "search WORDS - look for items by words of their titles, from the search box or the results\n"
        "next, prev - turn the page of results\n"
        "filter price below N, filter category NAME - narrow the results\n"
        "click ITEM - open an item of the page, e.g. click i07\n"
        "click VALUE - choose an option of the open item, e.g. click red\n"
        "back - from an item to the results, from the results to the search box\n"
        "buy - buy the open item with the options chosen; this ends the task and cannot be undone"
    )
    snapshots: ClassVar[bool] = True

    def __init__(self) -> None:
        self._catalogue = Catalogue((), {})
        self._goal = Goal("", (), (), 0)
        self._state = State()
        self._found: dict[Listing, tuple[int, ...]] = {}
        """What searches of this catalogue have found: to look again costs nothing."""

    @classmethod
    def generate(cls, rng: random.Random, difficulty: int) -> dict[str, Any]:
        """A task that takes 3 + `difficulty` actions, to 8 at most: options to choose, then pages to turn or filter."""
        options = min(difficulty, len(OPTIONS))
        pages = min(difficulty - options, 2)
        best: tuple[float, dict[str, Any]] = (0.0, {})
        for _ in range(DRAWS):
            spec = drawn(rng, 16 + 32 * pages, options, late=pages > 0)
            world = cls()
            world.reset(spec)
            length = world.distance()
            if length == 3 + options + pages:
                return spec
            best = max(best, (length, spec), key=lambda x: x[0])
        return best[1]

    def reset(self, spec: Mapping[str, Any]) -> str:
        """Begin at the search box. Raises ValueError for a spec that no purchase can satisfy."""
        self._load(*read(spec), State())
        if not self._fits():
            raise ValueError("no item of the catalogue satisfies the goal")
        return f"{self._goal}\n{self._shown()}"

    def _load(self, catalogue: Catalogue, goal: Goal, state: State) -> None:
        if catalogue is not self._catalogue:
            self._found = {}
        self._catalogue, self._goal, self._state = catalogue, goal, state

    @property
    def _goods(self) -> tuple[Product, ...]:
        return self._catalogue.items

    def step(self, action: str) -> Turn:
        """Act, in lower or upper case, with a space or brackets: `click red`, `click[red]`."""
        before = self._state
        if before.bought:
            return Turn(
                observation="the purchase is made.", reward=self._score(), done=True, valid=False, changed=False
            )
        after = self._after(" ".join(action.lower().split()))
        if isinstance(after, str):
            return Turn(observation=after, reward=0.0, valid=False, changed=False)
        self._state = after
        if after.bought:
            return Turn(observation=f"you bought {self._goods[after.item or 0].name}.", reward=self._score(), done=True)
        return Turn(observation=self._shown(), reward=0.0, changed=after != before)

    def _after(self, action: str) -> State | str:
        """The state after an action, or why there is none."""
        found = _ACTION.fullmatch(action)
        verb, words = (found[1], found[2] or found[3] or "") if found else (action, "")
        if verb == "click" and words in _MOVES:
            verb = words
        if verb in _MOVES:
            return self._moved(verb)
        if verb == "search":
            return self._searched(words)
        if verb == "click":
            return self._clicked(words)
        if verb == "filter":
            return self._filtered(words)
        return "unknown action. there are search, next, prev, filter, click, back and buy."

    def _moved(self, verb: str) -> State | str:
        state, listing = self._state, self._state.listing
        if listing is None:
            return f"you cannot {verb} here: search first."
        if state.item is not None:
            return (
                State(listing=listing) if verb == "back"
                else state._replace(bought=True) if verb == "buy"
                else f"you cannot {verb} here: go back first."
            )  # fmt: skip
        if verb == "back":
            return State()
        if verb == "buy":
            return "open an item first."
        page = listing.page + (1 if verb == "next" else -1)
        if not 0 <= page * PAGE < len(self._listed(listing)):
            return f"there is no {'next' if verb == 'next' else 'previous'} page."
        return State(listing=listing._replace(page=page))

    def _searched(self, words: str) -> State | str:
        if self._state.item is not None:
            return "you cannot search here: go back first."
        if not words:
            return "say what to search for."
        return State(listing=Listing(tuple(sorted(self._catalogue.having.keys() & words.replace(",", " ").split()))))

    def _clicked(self, name: str) -> State | str:
        state = self._state
        if state.listing is None:
            return "there is nothing to click: search first."
        if state.item is None:
            at = next((i for i in self._page(state.listing) if self._goods[i].name == name), None)
            return f"there is no {name} on this page." if at is None else State(listing=state.listing, item=at)
        option = option_of(name)
        if name not in dict(self._goods[state.item].options).get(option, ()):
            return f"there is no {name} to choose here."
        return state._replace(chosen=tuple(sorted({**dict(state.chosen), option: name}.items())))

    def _filtered(self, words: str) -> State | str:
        state, found = self._state, _FILTER.fullmatch(words)
        if state.listing is None or state.item is not None:
            return "you can filter results only."
        if found and found[1] and int(found[1]) in LIMITS:
            return State(listing=state.listing._replace(below=int(found[1]), page=0))
        if found and found[2] in CATEGORIES:
            return State(listing=state.listing._replace(category=found[2], page=0))
        return f"filters are: price below {', '.join(map(str, LIMITS))}; category {', '.join(CATEGORIES)}."

    def _listed(self, listing: Listing) -> tuple[int, ...]:
        """All that a search finds, in order, whatever the page."""
        key = listing._replace(page=0)
        found = self._found.get(key)
        if found is None:
            having = self._catalogue.having
            least = [2 ** len(self._goods) - 1]  # the items that have at least so many of the words, as sets of bits
            for name in _filter_names(listing):
                least[0] &= having.get(name, 0)
            for word in listing.words:
                least = [a | b & having[word] for a, b in zip([*least, 0], [0, *least], strict=True)]
            ranks = [a & ~b for a, b in zip(least[1:], [*least[2:], 0], strict=False)]
            found = self._found[key] = tuple([i for rank in reversed(ranks) for i in _bits(rank)])
        return found

    def _page(self, listing: Listing) -> tuple[int, ...]:
        return self._listed(listing)[listing.page * PAGE :][:PAGE]

    def _shown(self) -> str:
        state = self._state
        if state.listing is None:
            return "search box."
        if state.item is None:
            return self._results(state.listing)
        item = self._goods[state.item]
        chosen = dict(state.chosen)
        offers = [f"{name}: {', '.join(values)} (chosen: {chosen.get(name, 'none')})" for name, values in item.options]
        return "\n".join(
            [f"{item.name} {item.label}, price {item.price}", f"details: {', '.join(item.details)}", *offers]
        )

    def _results(self, listing: Listing) -> str:
        found, first = self._listed(listing), listing.page * PAGE
        filters = _filter_names(listing)
        told = f" ({', '.join(filters)})" if filters else ""
        if not found:
            return f"no results{told}."
        last = min(first + PAGE, len(found))
        head = f"results {first + 1} to {last} of {len(found)}{told}:"
        return "\n".join([head, *(_line(self._goods[i]) for i in self._page(listing))])

    def valid_actions(self) -> tuple[str, ...]:
        """Actions allowed now; of searches, those for a type, for words of the goal and for titles that satisfy it."""
        state = self._state
        if state.bought:
            return ()
        if state.item is not None:
            values = [v for _, offered in self._goods[state.item].options for v in offered]
            taken = {v for _, v in state.chosen}
            return (*(f"click {v}" for v in values if v not in taken), "back", "buy")
        searches = self._searches()
        if state.listing is None:
            return searches
        listing = state.listing
        clicks = [f"click {self._goods[i].name}" for i in self._page(listing)]
        turns = [verb for verb in ("next", "prev") if not isinstance(self._moved(verb), str)]
        limits = [f"filter price below {n}" for n in LIMITS if n != listing.below]
        names = sorted({item.category for item in self._goods} - {listing.category})
        return (*clicks, *turns, *limits, *(f"filter category {name}" for name in names), "back", *searches)

    def _searches(self) -> tuple[str, ...]:
        goal = self._goal
        asked = [
            " ".join((*words, goal.kind))
            for count in range(len(goal.attributes) + 1)
            for words in combinations(goal.attributes, count)
        ]
        kinds = sorted({item.kind for item in self._goods})
        titles = [self._goods[i].label for i in self._fits()]
        return tuple(dict.fromkeys(f"search {words}" for words in (*kinds, *asked, *titles)))

    def gold_actions(self) -> tuple[str, ...] | None:
        """A shortest way to reward 1, by the goal's own words where these do; None once the wrong thing is bought."""
        state = self._state
        if state.bought:
            return () if self._score() == 1.0 else None
        if state.item is not None and state.item in self._fits():
            chosen = dict(state.chosen)
            return (*(f"click {v}" for name, v in self._goal.options if chosen.get(name) != v), "buy")
        asked = {self._goal.kind, *self._goal.attributes}
        back = ("back",) if state.item is not None else ()
        way = min(self._ways(), key=lambda w: (len(w[0]), len(self._goods[w[1]].words - asked), w[1]))
        return (*back, *way[0], *(f"click {v}" for _, v in self._goal.options), "buy")

    def distance(self) -> float:
        """Fewest actions to reward 1: the length of `gold_actions`; DEAD_END once the wrong thing is bought."""
        gold = self.gold_actions()
        return DEAD_END if gold is None else float(len(gold))

    def _fits(self) -> tuple[int, ...]:
        """The items that can satisfy the goal."""
        goal = self._goal
        return tuple(
            i
            for i, item in enumerate(self._goods)
            if item.kind == goal.kind
            and item.price <= goal.price
            and item.attributes.issuperset(goal.attributes)
            and all(value in dict(item.options)[name] for name, value in goal.options)
        )

    def _ways(self) -> Iterator[tuple[tuple[str, ...], int]]:
        """The ways that may be shortest, from the results or the search box to the click on an item that fits."""
        here = self._state.listing
        for i in self._fits():
            item = self._goods[i]
            for filters in _filters(item):
                search = Listing(tuple(sorted(item.words)))
                yield (f"search {item.label}", *self._reached(search, filters, i)), i
                if here is not None and (reached := self._reached(here, filters, i)):
                    yield reached, i

    def _reached(self, listing: Listing, filters: tuple[tuple[str, Any], ...], i: int) -> tuple[str, ...]:
        """From a page of results, filter, turn pages and click the item; nothing where it is not among the results."""
        if filters:
            listing = listing._replace(page=0, **dict(filters))
        found = self._listed(listing)
        if i not in found:
            return ()
        turns = found.index(i) // PAGE - listing.page
        words = {"below": "filter price below", "category": "filter category"}
        told = (f"{words[name]} {value}" for name, value in filters)
        return (*told, *(["next" if turns > 0 else "prev"] * abs(turns)), f"click {self._goods[i].name}")

    def checks(self) -> dict[str, bool]:
        """The parts of the goal, each as it holds of the item that is open or bought."""
        state, goal = self._state, self._goal
        item = None if state.item is None else self._goods[state.item]
        return {
            "type": item is not None and item.kind == goal.kind,
            **{f"attribute {a}": item is not None and a in item.attributes for a in goal.attributes},
            **{f"option {name}": dict(state.chosen).get(name) == value for name, value in goal.options},
            "price": item is not None and item.price <= goal.price,
        }

    def _score(self) -> float:
        if not self._state.bought or self._state.item is None:
            return 0.0
        goal, item = self._goal, self._goods[self._state.item]
        parts = self.checks()
        held = sum(parts.values()) - parts["type"]
        kind = 1.0 if parts["type"] else OTHER_CATEGORY
        if not parts["type"] and item.category == category_of(goal.kind):
            kind = SAME_CATEGORY
        return kind * held / (len(parts) - 1)

    def snapshot(self) -> tuple[Catalogue, Goal, State]:
        """Catalogue, goal and state; all are values."""
        return self._catalogue, self._goal, self._state

    def restore(self, state: tuple[Catalogue, Goal, State]) -> None:
        """Return to a snapshot."""
        self._load(*state)


def _line(item: Product) -> str:
    return f"{item.name} {item.label}, price {item.price}"


def _filter_names(listing: Listing) -> list[str]:
    named = [f"price below {listing.below}"] if listing.below else []
    return [*named, f"category {listing.category}"] if listing.category else named


def _bits(number: int) -> Iterator[int]:
    """The places of its bits that are set, from the lowest."""
    while number:
        lowest = number & -number
        yield lowest.bit_length() - 1
        number ^= lowest


def _filters(item: Product) -> Iterator[tuple[tuple[str, Any], ...]]:
    """No filter, the tightest price filter that keeps the item, its category, and both."""
    below = ("below", next(n for n in LIMITS if item.price < n))
    category = ("category", item.category)
    yield from ((), (below,), (category,), (below, category))
