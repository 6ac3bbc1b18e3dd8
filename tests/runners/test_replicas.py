"""Replicas of an engine on Ray: asked side by side, started again when they die or hang, and not stopped by poison."""

from typing import Any

import pytest

from tests.runners.support import drilled

pytest.importorskip("ray")
pytestmark = [pytest.mark.usefixtures("one_ray"), pytest.mark.long]

Runs = dict[str, dict[str, Any]]
SAMPLES = 3


@pytest.fixture(scope="module")
def runs(one_ray: None, tmp_path_factory: pytest.TempPathFactory) -> Runs:
    """What became of each run of the drill."""
    return drilled("replicas_drill", tmp_path_factory.mktemp("replicas"))


def test_replicas_share_the_work_and_change_no_row(runs: Runs) -> None:
    assert runs["whole"]["episodes"] == runs["local"]["episodes"] and len(runs["local"]["episodes"]) == 24
    assert runs["whole"]["request"] == runs["local"]["request"] == 24 * SAMPLES
    assert (runs["local"]["processes"], runs["whole"]["processes"]) == (1, 2)


@pytest.mark.parametrize("name", ["poisoned", "alone"])
def test_a_prompt_that_kills_the_engine_is_given_up_and_the_rest_goes_on(runs: Runs, name: str) -> None:
    found, poison = runs[name], runs["poison"]["of"]
    assert {tuple(d) for d in found["drops"]} == {("engine_death", poison)}
    rest = {id: texts for id, texts in runs["local"]["episodes"].items() if id != poison}
    assert {id: texts for id, texts in found["episodes"].items() if id != poison} == rest
    # Three deaths a sample at most; one death can end several samples at once.
    assert 3 <= found["death"] <= 3 * SAMPLES


def test_a_replica_that_hangs_is_found_and_started_again(runs: Runs) -> None:
    assert runs["hung"]["hang"] == 1
    assert runs["hung"]["episodes"] == runs["local"]["episodes"] and not runs["hung"]["drops"]


def test_an_engine_that_always_dies_stops_the_run(runs: Runs) -> None:
    assert runs["broken"]["error"] == "EngineDown"
    assert "without a reply" in runs["broken"]["said"] and "\n" not in runs["broken"]["said"]
