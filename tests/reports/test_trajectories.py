"""Trees, splices and first errors of trajectories, counted from episodes that a test can count by hand."""

from collections import Counter
from typing import Any

import pytest
from msgspec.structs import replace

from errata.records.types import Additions, Episode, Tag
from errata.reports.trajectories import measure_trajectories, trajectories
from errata.stages.first_error import first_error
from errata.stages.pair_paths import pair_paths
from errata.stages.splice_paths import splice_paths
from tests.stages.letters import grove, spell
from tests.stages.support import Says, World, critique, grown, user

Q = spell("abc")


def table(*all: Episode) -> dict[str, Any]:
    counts: Counter[str] = Counter()
    for e in all:
        counts.update(measure_trajectories(e))
    return trajectories(counts)


def test_nothing_is_told_of_problems_that_are_no_tasks() -> None:
    assert table(Episode(problem=user("x"))) == {"trees": [], "splices": [], "first_error": []}


def test_pairs_and_what_each_mode_lets_through() -> None:
    # Two bad paths: one whose rest still works after it, one whose does not.
    e = grown(pair_paths, grove(Q, "abc", ["a", "hop"], "ax"), alpha=0.5)
    poor = grown(pair_paths, grove(spell("abd"), "ax"), alpha=0.5)
    assert len(e.pairs) == 2 and not poor.pairs
    for name, mode in (("splice", "replayed"), ("pasted", "ancestor"), ("undone", "undo")):
        e = grown(splice_paths, e, name=name, mode=mode)
    found = table(e, poor)
    (tree,) = found["trees"]
    assert {k: tree[k] for k in ("world", "stage", "trees", "rewarded", "leaves", "ends")} == {
        "world": "Letters", "stage": "tree", "trees": 2, "rewarded": 1, "leaves": 4, "ends": 4,
    }  # fmt: skip
    assert (tree["paired"], tree["pairs"]) == ({"pair_paths": 1}, {"pair_paths": 2})
    by_mode = {s["mode"]: s for s in found["splices"]}
    assert {m: (s["pairs"], s["accepted"], s["of_pasted"]) for m, s in by_mode.items()} == {
        "ancestor": (2, 2, 1.0), "replayed": (2, 1, 0.5), "undo": (2, 2, 1.0),
    }  # fmt: skip
    assert by_mode["ancestor"]["inconsistent"] == 0.5 and by_mode["ancestor"]["false_observations"] == 0.0
    assert "inconsistent" not in by_mode["replayed"] and by_mode["replayed"]["whole_bad_paths"] == 1
    # a, hop, the thought, b and c; the last three are trained.
    assert (by_mode["replayed"]["turns_per_row"], by_mode["replayed"]["trained_turns_per_row"]) == (5.0, 3.0)


def test_an_actor_against_the_world() -> None:
    # (what the actor says, where the world says that axy goes wrong: its action x, step 2)
    e = grown(pair_paths, grove(Q, "abc", "axy"), alpha=0.5)
    e = grown(first_error, e, World({"student": Says(lambda _: "")}), name="exact", source="distance")
    (pair,) = e.pairs

    def judged(step: int | None, verdict: str = "", labels: tuple[Any, ...] = ()) -> Episode:
        said = critique(
            e.attempt(pair.rejected), step, stage="judge", source="student", steps=labels,
            tags=(Tag(name="after", value="2"),),
        )  # fmt: skip
        return e.add(Additions(critiques=(replace(said, verdict=verdict) if verdict else said,)))

    u = "unknown"
    right, late = judged(2, labels=(u, u, "fail", u, u, u)), judged(4, labels=(u, u, "pass", u, "fail", u))
    missed, unknown = judged(None, labels=(u, u, "pass", u, "pass", u)), judged(None, "unknown")
    (entry,) = table(right, late, missed, unknown)["first_error"]
    assert (entry["world"], entry["stage"], entry["source"]) == ("Letters", "judge", "student")
    assert {k: entry[k] for k in ("paths", "unknown", "named", "labelled", "same", "early")} == {
        "paths": 4, "unknown": 1, "named": 2, "labelled": 4, "same": 1, "early": 0,
    }  # fmt: skip
    assert (entry["precision"], entry["recall"], entry["accuracy"]) == (0.5, 0.25, 0.25)
    # Actions judged bad: x, y; both lead away. Of the five judged that do, two were named.
    assert entry["actions"] == {"precision": 1.0, "recall": pytest.approx(2 / 5)}
