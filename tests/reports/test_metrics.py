"""Counts over episodes: where in a solution its first error stands."""

import pytest

from errata.records.types import Episode
from errata.reports.metrics import measure
from tests.stages.support import attempt, chain_of, chains, episode, problem

P = problem(8, operations=9)
GOLD = chains.solve(chain_of(P))


def woven(at: int, parent_lines: list[str]) -> Episode:
    """A splice whose wrong step came from a parent of these lines, and is mended by the gold solution."""
    right = attempt(P, GOLD, stage="expert")
    parent = attempt(P, parent_lines, stage="fork")
    made = attempt(P, "x", stage="retry", kind="spliced", parent=parent.id, other=right.id, fork_step=at)
    return episode(P, right, parent, made)


@pytest.mark.parametrize(("at", "tenth"), [(0, 0), (5, 5), (9, 9)])
def test_a_wrong_step_is_placed_in_the_solution_and_not_in_the_step_alone(at: int, tenth: int) -> None:
    assert len(GOLD) == 10
    for lines in (GOLD[: at + 1], GOLD):
        counts = {key: n for key, n in measure([woven(at, lines)]).items() if key.startswith("first_error\t")}
        assert counts == {f"first_error\tretry\t{tenth}": 1}
