"""A recipe on disk, changed in one place."""

from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import yaml

from errata.errors import RecipeError
from errata.recipe.read import read
from errata.recipe.spec import Recipe

BASE: dict[str, Any] = {
    "name": "small",
    "version": 1,
    "source": {"use": "procedural", "with": {"count": 4, "operations": [3, 5]}},
    "engines": {"student": {"use": "oracle", "with": {"skill": 0.5}}, "teacher": {"use": "oracle"}},
    "stages": [
        {"use": "sample", "with": {"n": 2}},
        {"use": "verify"},
        {"use": "critique", "with": {"prompt": "chains_critique"}},
        {"use": "revise", "with": {"prompt": "chains_revise"}},
        {"name": "verify_revisions", "use": "verify", "with": {"of": "revise"}},
        {"use": "splice"},
        {"use": "filter", "with": {"band": [0, 1]}},
        {"use": "pair"},
    ],
    "corpus": [{"use": "balance"}],
    "exports": [{"use": "sft"}, {"use": "dpo"}],
}

Change = Callable[[dict[str, Any]], None]


def made(folder: Path, *sets: str, change: Change | None = None) -> Recipe:
    """The recipe as it is read after a change of its data, with `--set`."""
    data = deepcopy(BASE)
    if change:
        change(data)
    path = folder / "small.yaml"
    path.write_text(yaml.safe_dump(data, sort_keys=False))
    return read(path, sets)


def faults(folder: Path, *sets: str, change: Change | None = None) -> tuple[str, ...]:
    """Every fault that is found; each is one line."""
    with pytest.raises(RecipeError) as caught:
        made(folder, *sets, change=change)
    assert all(f and "\n" not in f for f in caught.value.faults)
    return caught.value.faults
