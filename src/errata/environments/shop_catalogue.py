"""The goods and goals of the world `shop`: a catalogue is a pure function of its seed and its number of items.

Every property of item `i` comes from the bytes of one SHA-256 digest of (seed, i), so a spec that holds the two numbers
determines the catalogue in every process and version of Python. All words are our own.
"""

import hashlib
import random
from collections.abc import Mapping, Sequence
from functools import lru_cache
from itertools import combinations
from types import MappingProxyType
from typing import Any, NamedTuple

CATEGORIES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "clothing": ("jacket", "shirt", "hat"),
        "kitchen": ("kettle", "mug", "bowl"),
        "garden": ("rake", "hose", "bench"),
        "office": ("desk", "lamp", "chair"),
    }
)
"""Types of goods by category."""
ATTRIBUTES = (
    "compact", "foldable", "handmade", "light", "quiet", "recycled", "sturdy", "warm", "washable", "waterproof",
)  # fmt: skip
OPTIONS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "size": ("small", "medium", "large"),
        "colour": ("black", "blue", "green", "red"),
        "pattern": ("plain", "striped", "dotted"),
    }
)
"""Values of options by name; no value belongs to two."""
TYPES = 3
"""Types that one catalogue has."""
LIMITS = (20, 40, 60, 80, 100)
"""Price filters: an item passes `price below N` if its price is less than N."""
WORDS = 5
"""Attributes that one catalogue has."""
CHEAPEST, DEAREST = 10, 99
"""Prices, in whole coins."""
MOST_ITEMS = 500


class Product(NamedTuple):
    """One thing that is sold."""

    name: str
    """Code by which it is clicked, e.g. `i07`."""
    kind: str
    category: str
    title: tuple[str, ...]
    """Attributes that stand in the title, where a search finds them."""
    details: tuple[str, ...]
    """Attributes that only the product's own page tells."""
    options: tuple[tuple[str, tuple[str, ...]], ...]
    """The values that are on offer, by option."""
    price: int
    words: frozenset[str]
    """What a search can match: the attributes of the title and the type."""

    @property
    def label(self) -> str:
        """The title as it is shown."""
        return " ".join((*self.title, self.kind))

    @property
    def attributes(self) -> frozenset[str]:
        """All of them, of title and details."""
        return frozenset((*self.title, *self.details))


class Catalogue(NamedTuple):
    """What a shop sells."""

    items: tuple[Product, ...]
    """In the order in which a search lists those that match equally well."""
    having: dict[str, int]
    """The items that have a word in the title or pass a filter, by the word or the filter, as a set of bits."""


class Goal(NamedTuple):
    """What is to be bought."""

    kind: str
    attributes: tuple[str, ...]
    options: tuple[tuple[str, str], ...]
    """Name and value."""
    price: int
    """At most."""

    def __str__(self) -> str:
        wanted = " ".join((", ".join(self.attributes), self.kind)) if self.attributes else self.kind
        options = "".join(f", {name} {value}" for name, value in self.options)
        return f"goal: buy a {wanted}{options}, for at most {self.price}."


@lru_cache(maxsize=64)
def catalogue(seed: int, items: int) -> Catalogue:
    """The catalogue of a seed; its dictionary is shared and is not to be changed.

    Raises ValueError where `items` is not 1 to MOST_ITEMS.
    """
    if not 1 <= items <= MOST_ITEMS:
        raise ValueError(f"items is {items}: a catalogue has 1 to {MOST_ITEMS}")
    draw = _bytes(seed, -1)
    names = list(CATEGORIES)
    first = names[draw[0] % len(names)]
    rest = [kind for name in names if name != first for kind in CATEGORIES[name]]
    kinds = (*_subset(CATEGORIES[first], 2, draw[1]), rest[draw[2] % len(rest)])
    words = _subset(ATTRIBUTES, WORDS, draw[3])
    goods = tuple(_product(i, kinds, words, _bytes(seed, i)) for i in range(items))
    having: dict[str, int] = {}
    for i, item in enumerate(goods):
        limits = (f"price below {n}" for n in LIMITS if item.price < n)
        for name in (*item.words, *limits, f"category {item.category}"):
            having[name] = having.get(name, 0) | 1 << i
    return Catalogue(goods, having)


def read(spec: Mapping[str, Any]) -> tuple[Catalogue, Goal]:
    """The catalogue and the goal of a spec. Raises ValueError for what is neither."""
    goal = spec.get("goal")
    if not isinstance(goal, Mapping) or set(goal) != {"type", "attributes", "options", "price"}:
        raise ValueError("a goal has type, attributes, options and price")
    numbers = (spec.get("catalogue"), spec.get("items"), goal["price"])
    if any(type(n) is not int or n < 0 for n in numbers):
        raise ValueError("catalogue, items and price are whole numbers from 0 up")
    kind, attributes, options = goal["type"], goal["attributes"], goal["options"]
    if not any(kind in kinds for kinds in CATEGORIES.values()):
        raise ValueError(f"type {kind!r} is not sold")
    if (
        not isinstance(attributes, list | tuple)
        or len(set(attributes)) < len(attributes)
        or set(attributes) - set(ATTRIBUTES)
    ):
        raise ValueError(f"attributes are some of {', '.join(ATTRIBUTES)}, each once")
    if not isinstance(options, Mapping) or any(v not in OPTIONS.get(name, ()) for name, v in options.items()):
        raise ValueError("options are a value by name, e.g. colour: red")
    ordered = tuple((name, str(options[name])) for name in OPTIONS if name in options)
    return catalogue(numbers[0], numbers[1]), Goal(kind, tuple(attributes), ordered, goal["price"])


def drawn(rng: random.Random, items: int, options: int, late: bool = False) -> dict[str, Any]:
    """A spec around one item of a catalogue, with this many options; `late` takes one that many others come before."""
    number = rng.randrange(2**31)
    sold = catalogue(number, items).items
    dear = [x for x in sold[3 * items // 4 :] if late and len(x.title) == 1 and x.price >= DEAREST // 2]
    item = rng.choice(dear or sold)
    details = [word for word in item.details if late or rng.random() < 0.7]
    names = rng.sample([name for name, _ in item.options], options)
    return {
        "catalogue": number,
        "items": items,
        "goal": {
            "type": item.kind,
            "attributes": sorted((*item.title, *details)),
            "options": {name: rng.choice(values) for name, values in item.options if name in names},
            "price": item.price + rng.randrange(3 if late else 10),
        },
    }


def category_of(kind: str) -> str:
    """The category of a type. Raises StopIteration for a type that is not sold."""
    return next(name for name, kinds in CATEGORIES.items() if kind in kinds)


def option_of(value: str) -> str:
    """The option that a value belongs to; empty where it belongs to none."""
    return next((name for name, values in OPTIONS.items() if value in values), "")


def _product(i: int, kinds: Sequence[str], words: tuple[str, ...], draw: bytes) -> Product:
    kind = kinds[draw[0] % len(kinds)]
    title = _subset(words, 1 + draw[1] % 2, draw[2])
    details = _subset(tuple([w for w in words if w not in title]), 1 + draw[3] % 2, draw[4])
    offered = [(name, _subset(values, 2, draw[5 + k])) for k, (name, values) in enumerate(OPTIONS.items())]
    price = CHEAPEST + (draw[14] * 256 + draw[15]) % (DEAREST - CHEAPEST + 1)
    return Product(
        name=f"i{i:02d}", kind=kind, category=category_of(kind), title=title, details=details,
        options=tuple(offered), price=price, words=frozenset((*title, kind)),
    )  # fmt: skip


def _subset(items: tuple[str, ...], count: int, draw: int) -> tuple[str, ...]:
    """`count` of the items in their own order, by a number."""
    subsets = _subsets(items, count)
    return subsets[draw % len(subsets)]


@lru_cache(maxsize=1024)
def _subsets(items: tuple[str, ...], count: int) -> tuple[tuple[str, ...], ...]:
    return tuple(combinations(items, count))


def _bytes(seed: int, i: int) -> bytes:
    return hashlib.sha256(f"shop:{seed}:{i}".encode()).digest()
