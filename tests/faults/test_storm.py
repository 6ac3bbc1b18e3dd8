"""Every kind of fault at five in a hundred requests: whatever is lost has a reason, and the sums hold to the last one.

ERRATA_SEEDS=50 runs as many seeds instead of one.
"""

import os
from collections import Counter
from pathlib import Path

import pytest

from errata.cli import main
from errata.errors import EngineDown
from errata.records.types import Episode
from errata.simulate.faults import KINDS
from tests.faults.support import faulty
from tests.runners.support import prepared

SEEDS = range(int(os.environ.get("ERRATA_SEEDS", "1")))
GROUPS = [list(KINDS)[first::3] for first in range(3)]
"""Shares add up to one at most, so that all kinds do not go into one run."""
SAMPLES = 4


def test_the_groups_are_all_kinds() -> None:
    assert sorted(kind for group in GROUPS for kind in group) == sorted(KINDS)
    assert all(len(group) * 0.05 <= 1 for group in GROUPS)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("group", range(3))
def test_conservation_is_exact_under_all_faults(tmp_path: Path, group: int, seed: int) -> None:
    faults = [f"{kind}=0.05" for kind in GROUPS[group]]
    engine = {"deadline": 1.6, "concurrency": 16}
    options = {"seed": seed, "retry_after": 0.05, "drip_seconds": 9.0, "straggler": 1000.0, "step_ms": 0.02}
    with faulty(tmp_path, *faults, engine=engine, **options) as once:
        while (told := once()).error is not None:
            assert isinstance(told.error, EngineDown) and {"401", "wrong_model"} & told.account["faults"].keys()
            assert sum(told.account["faults"].values()) < 1000, "it does not come to an end"
        told.sound()
    assert len(told.account["faults"]) >= len(GROUPS[group]) // 2
    # What follows reads nothing but files.
    assert main(["check", str(told.data.path), "--journal", str(tmp_path / "out/journal")]) == 0
    entered = Counter(i.id for i in prepared(tmp_path / "recipe/small.yaml").plan.items() if isinstance(i, Episode))
    ended = Counter(d.episode for d in told.drops if d.target == d.episode)
    assert Counter(e.id for e in told.episodes) + ended == entered and set(entered.values()) == {1}
    for episode in told.episodes:
        sampled = {a.id for a in episode.attempts if a.stage == "sample"}
        dropped = [d for d in told.drops if (d.episode, d.stage) == (episode.id, "sample")]
        assert len(sampled | {d.target for d in dropped}) == len(sampled) + len(dropped) == SAMPLES
    # Each request ended once, as a reply or as an error; what a stopped run had given up is asked again by the next.
    assert told.journal.repeated == 0 and told.journal.corrupted == 0
    assert told.journal.replies == told.journal.index.key.size == len(set(told.journal.index.key.tolist()))
