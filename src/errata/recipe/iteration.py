"""A recipe's `iterate:` block: its training command filled in, and the parameter of the student's engine it renews."""

import re
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path

from errata import registry
from errata.errors import ErrataError, RecipeError
from errata.recipe.spec import IterateSpec, Recipe
from errata.recipe.version import file_parameters

PLACEHOLDERS = ("dataset", "config", "model", "out", "round", "seed", "python")
"""What a training command may hold in braces."""
_NEEDED = ("dataset", "out")
_PLACE = re.compile(r"\{([a-z_]+)\}")


def arguments(command: str, *, datasets: Sequence[str], values: Mapping[str, object]) -> list[str]:
    """The command as a list of arguments; no shell reads it. One that holds {dataset} stands once for each dataset.

    `values` holds what replaces the other placeholders. Braces around anything else stay as they are.
    """
    made = []
    for part in shlex.split(command):
        for dataset in datasets if "{dataset}" in part else datasets[:1]:
            known = {**values, "dataset": dataset}
            made.append(_PLACE.sub(lambda hit, known=known: str(known.get(hit[1], hit[0])), part))  # type: ignore[misc]
    return made


def model_parameter(recipe: Recipe, block: IterateSpec, folder: Path) -> str:
    """The parameter that names the model's folder, of the engine that plays the student. Raises RecipeError."""
    spec = recipe.engines.get(block.student)
    if spec is None:
        raise RecipeError(
            f"iterate.student: no engine plays {block.student!r}; engines has {', '.join(recipe.engines) or 'none'}"
        )
    found = file_parameters(registry.find("engine", spec.use, folder))
    if len(found) != 1:
        raise RecipeError(
            f"iterate.student: the engine {spec.use} of {block.student!r} takes no folder of a model, so training "
            "cannot give it a new one: use pocket, vllm, or an engine of your own with one FilePath parameter"
        )
    return found[0]


def faults(recipe: Recipe, folder: Path) -> list[str]:
    """What is wrong with the block, one line each; none where there is none."""
    block = recipe.iterate
    if block is None:
        return []
    found: list[str] = []
    try:
        model_parameter(recipe, block, folder)
    except RecipeError as error:
        found += error.faults
    except ErrataError:
        pass  # an engine that is not there is told of where it is named
    try:
        parts = shlex.split(block.train)
    except ValueError as error:
        return [*found, f"iterate.train: cannot be split into arguments ({error}): mend its quotes"]
    places = [name for part in parts for name in _PLACE.findall(part)]
    known = ", ".join(f"{{{p}}}" for p in PLACEHOLDERS)
    found += [
        f"iterate.train: unknown placeholder {{{n}}}; known are {known}"
        for n in sorted(set(places) - set(PLACEHOLDERS))
    ]
    found += [f"iterate.train: the command needs {{{n}}}" for n in _NEEDED if n not in places]
    if parts and not parts[0]:
        found.append("iterate.train: the first argument, which names the program, is empty")
    exports = [e.name for e in recipe.exports]
    if block.config and block.config not in exports:
        found.append(f"iterate.config: no export is called {block.config!r}; exports has {', '.join(exports)}")
    return found
