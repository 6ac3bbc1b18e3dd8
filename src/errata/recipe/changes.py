"""`--set path=value`: one change of a recipe's data, by names."""

from typing import Any

import yaml

from errata.errors import RecipeError


def apply(data: dict[str, Any], change: str) -> None:
    """Carry out one `path=value`; items of a list are named by their `name` or `use`, or counted from 0.

    `iterate=null`, or null for another whole section, takes it out of the recipe.
    """
    path, equals, text = change.partition("=")
    if not equals:
        raise RecipeError(f"--set {change}: write path=value, e.g. source.with.count=100")
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise RecipeError(f"--set {change}: the value is not YAML") from error
    here: Any = data
    *parents, last = path.split(".")
    for i, key in enumerate(parents):
        here = _child(here, key, ".".join(parents[: i + 1]))
    if isinstance(here, list):
        here[_position(here, last, path)] = value
    elif isinstance(here, dict) and value is None and not parents:
        here.pop(last, None)
    elif isinstance(here, dict):
        here[last] = value
    else:
        raise RecipeError(f"--set {change}: {'.'.join(parents)} is {here!r} and has no parts")


def _child(here: Any, key: str, path: str) -> Any:
    if isinstance(here, list):
        return here[_position(here, key, path)]
    if isinstance(here, dict):
        if here.get(key) is None:
            here[key] = {}
        return here[key]
    raise RecipeError(f"--set {path}: {here!r} has no parts")


def _position(items: list[Any], key: str, path: str) -> int:
    names = [i.get("name") or i.get("use") if isinstance(i, dict) else str(i) for i in items]
    if key in names:
        return names.index(key)
    if key.isdigit() and int(key) < len(items):
        return int(key)
    raise RecipeError(f"--set {path}: there is no {key!r}; there are {', '.join(str(n) for n in names)}")
