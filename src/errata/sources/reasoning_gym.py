"""Problems of reasoning-gym's generators, scored by the package itself.

The package seeds item `i` of a dataset with `seed + i`, so that its seeds 42 and 43 share 499 of 500 items. Here every
item is the only one of a dataset of its own, whose seed is hashed from all that names the item.
"""

import dataclasses
import json
import random
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np

from errata.errors import MissingExtra, RecipeError, SourceError
from errata.records.ids import canonical, digest
from errata.records.ids import seed as hashed_seed
from errata.records.types import Drop, Episode, Message, Problem
from errata.registry import source
from errata.sources.base import Item, distinct, is_whole, near, refused

WITHOUT_ANSWER = frozenset({"boxnet", "graph_color", "propositional_logic", "rubiks_cube", "rush_hour"})
"""Generators of reasoning-gym 0.1.25 that store no answer which scores 1: every item would be dropped."""

UNSTABLE = frozenset(
    {
        "intermediate_integration",
        "isomorphic_strings",
        "knight_swap",
        "polynomial_multiplication",
        "ransom_note",
        "word_ladder",
    }
)
"""Generators of reasoning-gym 0.1.25 whose items depend on the order of sets, which differs from process to process.

Found by making 12 items of 103 generators under three values of PYTHONHASHSEED.
"""


@source(version=1)
def reasoning_gym(
    *,
    datasets: tuple[str, ...],
    count: int,
    seed: int = 0,
    config: dict[str, dict[str, Any]] | None = None,
    split: str = "train",
) -> Iterator[Item]:
    """Items of reasoning-gym's generators, each with the package's own scorer as its verifier.

    `count` items are taken from `datasets` in turn; `config` holds a generator's own parameters under its name. An item
    whose stored answer does not score 1 after a trip through JSON is dropped. Raises RecipeError for parameters,
    SourceError for unknown names, MissingExtra without the package.
    """
    known = _known()
    settings = config or {}
    _check(known, datasets, count, seed, settings)
    n = len(datasets)
    yield from distinct((_item(datasets[i % n], i // n, seed, split, settings),) for i in range(count))


def _known() -> dict[str, Any]:
    """Configuration class by name of generator; `composite` only mixes others."""
    try:
        import reasoning_gym
    except ImportError:
        raise MissingExtra("reasoning-gym", "gym", "the source reasoning_gym") from None
    return {name: made[1] for name, made in reasoning_gym.factory.DATASETS.items() if name != "composite"}


def _check(known: Mapping[str, Any], datasets: Any, count: int, seed: int, settings: Mapping[str, Any]) -> None:
    faults = []
    names = list(datasets) if isinstance(datasets, list | tuple) else []
    if not names or len(set(names)) != len(names):
        faults.append(f"datasets is {datasets!r}, not a list of different names of generators")
    if not is_whole(count) or count < 1:
        faults.append(f"count is {count!r}, not a number from 1 up")
    if not is_whole(seed):
        faults.append(f"seed is {seed!r}, not a whole number")
    for name in names:
        if name in UNSTABLE:
            faults.append(f"generator {name!r} gives every process other items of the same seed: leave it out")
    for name in sorted(set(settings) - set(names)):
        faults.append(f"config names {name!r}, which is none of the datasets {', '.join(map(str, names))}")
    unknown = [str(name) for name in names if name not in known]
    if unknown and not faults:
        told = "; ".join(f"reasoning-gym has no generator {name!r}: there are {near(name, known)}" for name in unknown)
        raise SourceError(told)
    for name in names:
        faults += _config_faults(name, known[name], settings.get(name, {})) if name in known else []
    if faults:
        raise RecipeError(*faults)


def _config_faults(name: str, made: Any, settings: Any) -> list[str]:
    if not isinstance(settings, Mapping):
        return [f"config.{name} is {settings!r}, not a map of parameters"]
    fields = {f.name for f in dataclasses.fields(made)} - {"seed", "size"}
    wrong = [str(key) for key in settings if key not in fields]
    if wrong:
        return [f"config.{name} has no parameter {key!r}: there are {near(key, fields)}" for key in wrong]
    try:
        ready = made(**settings)
        if hasattr(ready, "validate"):
            ready.validate()
    except Exception as error:  # the package checks by assert and by whatever a generator's own code raises
        return [f"config.{name} is refused by reasoning-gym: {error or type(error).__name__}"]
    return []


def _item(name: str, number: int, seed: int, split: str, settings: Mapping[str, Any]) -> Item:
    import reasoning_gym

    place = f"reasoning_gym:{name}:{seed}:{split}:{number}"
    # 31 bits, because some generators hand their seed to NumPy and add to it.
    own = hashed_seed(source="reasoning_gym", run=seed, split=split, dataset=name, item=number) >> 32
    parameters = dict(settings.get(name, {}))
    try:
        with _seeded(own):
            dataset = reasoning_gym.create_dataset(name, size=1, seed=own, **parameters)
            entry = dataset[0]
    except Exception as error:
        return refused(place, "generator_error", f"{type(error).__name__}: {error}")
    plain = _plain(entry)
    if plain is None:
        return refused(place, "no_answer", "its entry cannot be written as JSON")
    answer = plain["answer"]
    if not isinstance(answer, str):
        return _unanswered(place, name)
    try:
        score = dataset.score_answer(answer, plain)
    except Exception as error:
        return refused(place, "no_answer", f"its scorer fails on the entry as JSON: {type(error).__name__}: {error}")
    if score != 1:
        return _unanswered(place, name, score)
    return Episode(problem=_problem(name, place, split, parameters, plain))


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """The shared generators of `random` and NumPy, from which some of the package draws, seeded and put back after."""
    plain, arrays = random.getstate(), np.random.get_state()
    random.seed(seed)
    np.random.seed(seed)
    try:
        yield
    finally:
        random.setstate(plain)
        np.random.set_state(arrays)


def _unanswered(place: str, name: str, score: object = None) -> Drop:
    why = "it has no answer" if score is None else f"its answer scores {score}, not 1"
    always = ", as with every item of this generator" if name in WITHOUT_ANSWER else ""
    return refused(place, "no_answer", why + always)


def _plain(entry: Any) -> dict[str, Any] | None:
    """The entry after a trip through JSON, which is all that a verifier will have of it; None where it cannot go."""
    try:
        plain = json.loads(canonical(entry))
    except (TypeError, ValueError, RecursionError):
        return None
    return plain if isinstance(plain, dict) and {"question", "answer"} <= plain.keys() else None


def _problem(name: str, place: str, split: str, parameters: dict[str, Any], entry: dict[str, Any]) -> Problem:
    text = str(entry["question"])
    return Problem(
        id=digest(source="reasoning_gym", dataset=name, problem=text, answer=entry["answer"]),
        messages=(Message(role="user", content=text),),
        verifier="reasoning_gym",
        answer=entry["answer"],
        domain=name,
        split=split,
        source="reasoning_gym",
        licence="Apache-2.0",
        origin=place,
        meta=canonical({"dataset": name, "config": parameters, "entry": entry}),
    )
