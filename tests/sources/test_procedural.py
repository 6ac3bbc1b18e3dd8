"""The procedural source: configuration, determinism, invariants, and gold that is told from altered gold."""

import json
import os
import re
import subprocess
import sys
from typing import Any

import pytest

from errata import chains
from errata.errors import RecipeError
from errata.sources.procedural import procedural
from tests.sources.support import episodes


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"count": 0}, "count is 0"),
        ({"count": True}, "count is True"),
        ({"operations": (0, 3)}, "operations is (0, 3)"),
        ({"operations": (5, 3)}, "operations is (5, 3)"),
        ({"operations": 4}, "operations is 4"),
        ({"distractors": (-1, 2)}, "distractors is (-1, 2)"),
        ({"operations": (3, 25), "distractors": (0, 2)}, "make 52, and there are names for"),
        ({"seed": "7"}, "seed is '7'"),
    ],
)
def test_bad_configuration_is_refused(wrong: dict[str, Any], told: str) -> None:
    with pytest.raises(RecipeError) as error:
        next(procedural(**{"count": 1, **wrong}))
    assert told in str(error.value)


def test_all_faults_are_told_at_once() -> None:
    with pytest.raises(RecipeError) as error:
        next(procedural(count=0, operations=(0, 0), distractors=(2, 1), seed=0))
    assert len(error.value.faults) == 3


def test_an_item_depends_on_its_number_seed_and_split_alone() -> None:
    long, short = list(procedural(count=40, seed=3)), list(procedural(count=10, seed=3))
    assert long[:10] == short
    assert len(long) == 40


def test_another_process_with_another_hash_seed_makes_the_same_items() -> None:
    code = "from errata.sources.procedural import procedural; print([e.id for e in procedural(count=5, seed=9)])"
    told = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONHASHSEED": "77"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert told.stdout.strip() == str([e.id for e in episodes(procedural(count=5, seed=9))])


def test_neighbouring_seeds_and_splits_share_no_item() -> None:
    runs = [episodes(procedural(count=60, seed=s, split=t)) for s in (41, 42, 43) for t in ("train", "test")]
    texts = [e.problem.text for run in runs for e in run]
    assert len(set(texts)) == len(texts) == 360
    assert len({e.id for run in runs for e in run}) == 360


def test_every_problem_is_solved_by_its_gold_steps() -> None:
    found = episodes(procedural(count=80, operations=[2, 4], distractors=[1, 2]))  # type: ignore[arg-type]
    sizes = set()
    for episode in found:
        problem, meta = episode.problem, json.loads(episode.problem.meta)
        chain = chains.parse(problem.text)
        assert chain is not None
        assert chains.first_error(chain, problem.solution) is None
        assert problem.answer == chains.answer("\n".join(problem.solution))
        assert len(problem.solution) == meta["operations"] + 1
        assert not any("\n" in step for step in problem.solution)
        assert problem.verifier == "procedural" and problem.licence == "CC0-1.0"
        sizes.add((meta["operations"], meta["distractors"]))
    assert sizes == {(n, d) for n in (2, 3, 4) for d in (1, 2)}


def test_altered_gold_is_wrong_at_the_altered_step() -> None:
    for episode in episodes(procedural(count=40)):
        chain = chains.parse(episode.problem.text)
        assert chain is not None
        for at, step in enumerate(episode.problem.solution):
            value = int(re.findall(r"\d+", step)[-1])
            altered = list(episode.problem.solution)
            altered[at] = step[: step.rindex(str(value))] + str((value + 1) % chain.modulus)
            found = chains.first_error(chain, altered)
            assert found is not None and found.step == at
