"""A Ray cluster that is there already: nodes may go and come, SIGTERM drains, and the rows stay the same."""

from typing import Any

import pytest

from tests.runners.support import drilled

pytest.importorskip("ray")
pytestmark = [pytest.mark.usefixtures("one_ray"), pytest.mark.long]

Runs = dict[str, dict[str, Any]]


@pytest.fixture(scope="module")
def runs(one_ray: None, tmp_path_factory: pytest.TempPathFactory) -> Runs:
    """What became of each run of the drill."""
    return drilled("cluster_drill", tmp_path_factory.mktemp("cluster"))


def test_a_node_that_dies_costs_no_row(runs: Runs) -> None:
    assert runs["whole"]["code"] == 0 and len(runs["whole"]["hash"]) == 1
    assert runs["node lost"] == runs["whole"]


def test_sigterm_drains_the_cluster_and_nothing_is_asked_twice(runs: Runs) -> None:
    assert runs["terminated"]["code"] == 143 and runs["terminated"]["hash"] == []
    assert "those under way were finished" in runs["terminated"]["said"][0]
    assert runs["resumed"]["code"] == 0 and runs["resumed"]["hash"] == runs["whole"]["hash"]
    assert runs["resumed"]["repeated"] == 0 < runs["terminated"]["asked"]
