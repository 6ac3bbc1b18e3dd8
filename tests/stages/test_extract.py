"""Every answer on the way is judged, and what comes after the first right one is measured."""

from typing import Any

import pytest

from errata.records.types import Additions
from errata.stages.extract import extract
from tests.stages.support import World, attempt, chain_of, chains, episode, problem, run

P = problem(8, operations=5)
GOLD = chains.solve(chain_of(P))
ANSWER = int(GOLD[-1].split()[-1])
WRONG = f"The answer is {(ANSWER + 1) % 11}"


def extracted(lines: list[str], **options: Any) -> Additions:
    return run(extract, episode(P, attempt(P, lines), outcomes=["pass"]), World(), **options)


def test_each_answer_gets_a_check_and_the_last_one_decides() -> None:
    found = extracted([WRONG, "wait", *GOLD, "but", WRONG])
    assert len(found.verdicts) == 1 and not found.drops
    v = found.verdicts[0]
    assert (v.verifier, v.outcome, v.target) == ("candidates", "fail", attempt(P, "x").id)
    assert [(c.outcome, c.detail) for c in v.checks] == [
        ("fail", WRONG.split()[-1]), ("pass", str(ANSWER)), ("fail", WRONG.split()[-1]),
    ]  # fmt: skip


def test_the_measures_of_overthinking() -> None:
    lines = [*GOLD, "wait a moment", *GOLD]
    value = {e.name: e.value for e in extracted(lines).estimates}
    words = sum(len(line.replace("=", "").split()) for line in lines)
    assert value["candidates"] == 2
    assert value["reasoning_efficiency"] == pytest.approx(len(GOLD) / len(lines))
    assert value["marker_share"] == pytest.approx(1 / words)
    assert value["overthinking"] == pytest.approx(0.9 * (1 - len(GOLD) / len(lines)) + 0.1 / words)


def test_without_a_right_answer_there_is_no_efficiency() -> None:
    assert {e.name for e in extracted([WRONG, "wait"]).estimates} == {"candidates", "marker_share"}
    found = extracted(["nothing"])
    assert (found.verdicts[0].outcome, found.verdicts[0].checks) == ("unknown", ())


def test_only_the_thought_is_read_where_a_tag_closes_it() -> None:
    found = extracted([*GOLD, "</think>", WRONG], close="</think>")
    assert [c.detail for c in found.verdicts[0].checks] == [str(ANSWER)]
    assert extracted(GOLD, close="</think>") == Additions()
