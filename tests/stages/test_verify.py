"""Verdicts are given once, by the verifier asked, and nothing that is not known becomes wrong."""

from pathlib import Path

import pytest
from msgspec.structs import replace

from errata.errors import RecipeError
from errata.records.types import Additions
from errata.stages.verify import verify
from tests.stages.support import World, attempt, chain_of, chains, episode, problem, run, slipped, verdict

P = problem(3)
GOLD = chains.solve(chain_of(P))
RIGHT, WRONG = attempt(P, GOLD), attempt(P, slipped(P, "operand"), 1)
SILENT = attempt(P, GOLD[:-1], 2)


def test_pass_fail_and_unknown() -> None:
    made = run(verify, episode(P, RIGHT, WRONG, SILENT))
    assert {v.target: v.outcome for v in made.verdicts} == {RIGHT.id: "pass", WRONG.id: "fail", SILENT.id: "unknown"}
    assert {(v.verifier, v.version, v.stage) for v in made.verdicts} == {("procedural", 1, "verify")}


def test_only_what_is_asked_and_not_judged_yet() -> None:
    start = episode(P, RIGHT, replace(WRONG, stage="revise"), SILENT)
    assert [v.target for v in run(verify, start, of="revise").verdicts] == [WRONG.id]
    again = start.add(Additions(verdicts=(verdict(RIGHT, "fail", "elsewhere"),)))
    assert RIGHT.id not in {v.target for v in run(verify, again).verdicts}
    # Another verifier's verdict is another question.
    assert RIGHT.id in {v.target for v in run(verify, again, verifier="exact").verdicts}


def test_options_reach_the_verifier() -> None:
    lucky = attempt(P, ["nonsense", *GOLD])
    assert run(verify, episode(P, lucky)).verdicts[0].outcome == "pass"
    assert run(verify, episode(P, lucky), options={"strict": True}).verdicts[0].outcome == "fail"


def test_a_two_turn_attempt_is_judged_by_its_last_turn() -> None:
    steps = (*replace(WRONG).steps, *(replace(s, turn=2) for s in RIGHT.steps))
    assert run(verify, episode(P, replace(WRONG, steps=steps))).verdicts[0].outcome == "pass"


def test_a_verifier_that_raises_says_nothing_of_the_answer(tmp_path: Path) -> None:
    mark = "from errata.registry import verifier\n@verifier(version=3)\n"
    (tmp_path / "own.py").write_text(mark + "def breaks(problem, text):\n    raise OSError('disk')\n")
    made = run(verify, episode(P, RIGHT), World(folder=tmp_path), verifier="own.py:breaks")
    assert [(v.outcome, v.version) for v in made.verdicts] == [("unknown", 3)]
    assert "OSError" in made.verdicts[0].evidence


def test_a_verifier_that_is_not_there_stops_the_run() -> None:
    with pytest.raises(RecipeError, match="procedural"):
        run(verify, episode(P, RIGHT), verifier="procedurall")
