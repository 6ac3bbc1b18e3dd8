"""The source reasoning_gym: configuration, determinism, invariants, and answers that the package's scorer accepts."""

import json
import os
import random
import subprocess
import sys
from typing import Any

import pytest

from errata.errors import RecipeError, SourceError
from errata.sources.reasoning_gym import UNSTABLE, WITHOUT_ANSWER, reasoning_gym
from tests.sources.support import drops, episodes

library = pytest.importorskip("reasoning_gym")
CHEAP = ("leg_counting", "chain_sum", "list_functions")


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"count": 0}, "count is 0"),
        ({"datasets": ()}, "not a list of different names"),
        ({"datasets": "leg_counting"}, "not a list of different names"),
        ({"datasets": ("chain_sum", "chain_sum")}, "not a list of different names"),
        ({"config": {"basic": {}}}, "config names 'basic'"),
        ({"config": {"chain_sum": {"min_term": 2}}}, "has no parameter 'min_term': there are min_terms"),
        ({"config": {"chain_sum": {"seed": 2}}}, "has no parameter 'seed'"),
        ({"config": {"chain_sum": {"min_terms": 9, "max_terms": 2}}}, "config.chain_sum is refused by reasoning-gym"),
        ({"config": {"chain_sum": 5}}, "config.chain_sum is 5"),
        *(({"datasets": (name,)}, "gives every process other items") for name in sorted(UNSTABLE)),
    ],
)
def test_bad_configuration_is_refused(wrong: dict[str, Any], told: str) -> None:
    with pytest.raises(RecipeError) as error:
        next(reasoning_gym(**{"datasets": ("chain_sum",), "count": 1, **wrong}))
    assert told in str(error.value)


def test_an_unknown_generator_is_told_with_near_names() -> None:
    with pytest.raises(SourceError, match="has no generator 'leg_count': there are leg_counting"):
        next(reasoning_gym(datasets=("leg_count",), count=1))


def test_an_item_depends_on_its_own_coordinates_alone() -> None:
    alone = list(reasoning_gym(datasets=("leg_counting",), count=4, seed=1))
    among = list(reasoning_gym(datasets=CHEAP, count=12, seed=1))
    assert among[::3] == alone
    assert [e.problem.domain for e in episodes(among)] == [*CHEAP] * 4


def test_another_process_with_another_hash_seed_makes_the_same_items() -> None:
    code = (
        "from errata.sources.reasoning_gym import reasoning_gym;"
        f"print([x.problem for x in reasoning_gym(datasets={CHEAP!r}, count=9, seed=9)])"
    )
    told = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONHASHSEED": "77"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert told.stdout.strip() == str([e.problem for e in episodes(reasoning_gym(datasets=CHEAP, count=9, seed=9))])


def test_the_shared_generators_are_left_as_they_were() -> None:
    random.seed(5)
    before = random.getstate()
    list(reasoning_gym(datasets=("list_functions",), count=2))
    assert random.getstate() == before


def test_neighbouring_seeds_and_splits_share_no_item() -> None:
    runs = [
        episodes(
            reasoning_gym(datasets=("chain_sum",), count=50, seed=s, split=t, config={"chain_sum": {"min_digits": 3}})
        )
        for s in (42, 43)
        for t in ("train", "test")
    ]
    assert len({e.problem.text for run in runs for e in run}) == len({e.id for run in runs for e in run}) == 200


def test_the_package_s_scorer_accepts_the_answer_and_refuses_another() -> None:
    for episode in episodes(reasoning_gym(datasets=("leg_counting", "chain_sum"), count=20)):
        problem = episode.problem
        meta = json.loads(problem.meta)
        assert (problem.verifier, problem.source, meta["dataset"]) == ("reasoning_gym", "reasoning_gym", problem.domain)
        assert meta["entry"]["question"] == problem.text and meta["entry"]["answer"] == problem.answer
        score = library.get_score_answer_fn(meta["dataset"])
        assert score(problem.answer, meta["entry"]) == 1
        assert score(str(int(problem.answer or "0") + 1), meta["entry"]) < 1


def test_parameters_reach_the_generator() -> None:
    terms = {"min_terms": 6, "max_terms": 6}
    for episode in episodes(reasoning_gym(datasets=("chain_sum",), count=5, config={"chain_sum": terms})):
        assert sum(episode.problem.text.count(f" {sign} ") for sign in "+-") == 5
        assert json.loads(episode.problem.meta)["config"] == terms


@pytest.mark.parametrize("name", sorted(WITHOUT_ANSWER))
def test_items_without_an_answer_that_scores_1_are_quarantined(name: str) -> None:
    (drop,) = reasoning_gym(datasets=(name,), count=1)
    assert drops([drop]) == [drop]
    assert (drop.code, drop.kind, drop.stage) == ("no_answer", "quarantined", "source")
    assert drop.detail.startswith(f"reasoning_gym:{name}:0:train:0: ")
    assert "as with every item of this generator" in drop.detail


def test_a_repeated_question_is_dropped() -> None:
    items = list(
        reasoning_gym(datasets=("coin_flip",), count=30, config={"coin_flip": {"min_trials": 1, "max_trials": 3}})
    )
    assert len(items) == 30
    assert len({e.id for e in episodes(items)}) == len(episodes(items)) < 30
    assert {d.code for d in drops(items)} == {"duplicate_problem"}
