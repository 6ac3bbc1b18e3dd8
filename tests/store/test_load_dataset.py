"""A version is an ordinary Hugging Face dataset: every config loads with the types that it was written with."""

from pathlib import Path
from typing import Any

import msgspec
import pytest

from errata.store.reader import open_dataset
from tests.store.support import Made, build, make

datasets = pytest.importorskip("datasets")


def plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: plain(v) for k, v in value.items()}
    return [plain(v) for v in value] if isinstance(value, list | tuple) else value


def without_parent(made: Made) -> Made:
    attempts = tuple(msgspec.structs.replace(a, parent=None, injection=None) for a in made.episode.attempts)
    return Made(msgspec.structs.replace(made.episode, attempts=attempts), made.drops, made.sft)


@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_every_config_loads(tmp_path: Path) -> None:
    made = [make(i) for i in range(24)]
    first = sorted(m.episode.id for m in made if m.episode.problem.split == "train")[:4]
    # the first shard of episodes has columns that hold nothing but nulls, and a later one values
    made = [without_parent(m) if m.episode.id in first else m for m in made]
    data = open_dataset(build(tmp_path, made, rows_per_shard=4).path)
    for config in ("episodes", "drops", "sft"):
        loaded = datasets.load_dataset(str(data.path), config, cache_dir=str(tmp_path / "cache"))
        assert set(loaded) == set(data.manifest.configs[config])
        for split, rows in loaded.items():
            assert list(rows) == [plain(msgspec.to_builtins(r)) for r in data.rows(config, split)]
    assert any(
        a["injection"]
        for row in datasets.load_dataset(str(data.path), "episodes", split="train", cache_dir=str(tmp_path / "cache"))
        for a in row["attempts"]
    )


@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_a_config_without_rows_streams(tmp_path: Path) -> None:
    found = build(tmp_path, [make(0)])
    assert list(datasets.load_dataset(str(found.path), "dpo", split="train", streaming=True)) == []
