"""What tests of recipes share: a dataset that a recipe has made, with its records by id."""

from collections import Counter
from typing import Any

from errata.recipe.read import read
from errata.records.types import Drop, Episode
from errata.store.reader import Dataset
from tests.test_pipelines import ROOT


class Made:
    """A dataset that a recipe has made, and its records by id."""

    def __init__(self, dataset: Dataset) -> None:
        self.dataset = dataset
        self.episodes = {e.id: e for e in dataset.rows("episodes") if isinstance(e, Episode)}
        self.drops = [d for d in dataset.rows("drops") if isinstance(d, Drop)]

    def codes(self, stage: str) -> Counter[str]:
        return Counter(d.code for d in self.drops if d.stage == stage)


def parameters(recipe: str, step: str) -> dict[str, Any]:
    """What a step of a shipped recipe is given."""
    return next(dict(s.with_) for s in read(ROOT / "pipelines" / f"{recipe}.yaml").stages if s.name == step)
