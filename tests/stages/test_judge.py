"""Judges vote, canaries catch those who reward nothing, and what cannot be read is unknown."""

import json
from importlib import resources
from pathlib import Path

import pytest

from errata import chains
from errata.engines.oracle import Oracle
from errata.records.types import Additions, Attempt
from errata.stages.judge import CANARIES, judge
from tests.stages.support import Says, World, attempt, chain_of, codes, episode, problem, run, slipped

P = problem(21)
RIGHT = attempt(P, chains.solve(chain_of(P)), 0)
WRONG = attempt(P, slipped(P, "operand"), 1)
START = episode(P, RIGHT, WRONG)


def made(engine: object, form: str, **options: object) -> Additions:
    given = {"prompt": f"judge_{form}", "canaries": 0.0, **options}
    return run(judge, START, World({"judge": engine}), form=form, **given)  # type: ignore[dict-item]


def estimates(found: Additions) -> dict[str, float]:
    return {e.target: e.value for e in found.estimates}


def test_the_oracle_judges_in_every_form() -> None:
    point = made(Oracle(), "pointwise")
    assert {v.target: (v.verifier, v.outcome, v.score) for v in point.verdicts} == {
        RIGHT.id: ("judge", "pass", 1.0), WRONG.id: ("judge", "fail", 0.0),
    }  # fmt: skip
    assert estimates(made(Oracle(), "pairwise")) == {RIGHT.id: 1.0, WRONG.id: 0.0}
    scores = estimates(made(Oracle(), "score"))
    assert scores[RIGHT.id] == 10 > scores[WRONG.id] >= 1
    checked = {v.target: {c.name: c.outcome for c in v.checks} for v in made(Oracle(), "checklist").verdicts}
    assert set(checked[RIGHT.id].values()) == {"pass"} and checked[WRONG.id]["uses_given"] == "fail"


@pytest.mark.parametrize("form", ["pointwise", "pairwise", "score", "checklist"])
def test_an_oracle_that_is_always_wrong_is_found_out_by_canaries(form: str) -> None:
    fooled = made(Oracle(skill=0.0), form, canaries=1.0)
    assert set(codes(fooled.drops)) == {"canary_passed"} and len(fooled.drops) == 2
    assert not fooled.verdicts and not fooled.estimates, "it is believed nothing"
    honest = made(Oracle(), form, canaries=1.0)
    assert not honest.drops and (honest.verdicts or honest.estimates)


def test_canaries_cost_requests_and_leave_no_record() -> None:
    engine = Says(lambda r: json.dumps({"correct": "The answer" in r.messages[-1].content, "reason": ""}))
    found = made(engine, "pointwise", canaries=1.0)
    assert len(engine.asked) == 2 + len(CANARIES) and {v.target for v in found.verdicts} == {RIGHT.id, WRONG.id}


def test_the_order_of_two_is_drawn_and_does_not_depend_on_the_judge() -> None:
    first = Says(lambda r: '{"better": "A", "reason": ""}')
    many = [attempt(P, f"The answer is {i}", i) for i in range(8)]
    start = episode(P, *many)
    run(judge, start, World({"judge": first}), form="pairwise", prompt="judge_pairwise", canaries=0.0)
    shown = [r.messages[-1].content for r in first.asked]
    order = [tuple(line for line in s.split("\n") if line.startswith("The answer is")) for s in shown]
    assert len(order) == 28
    assert 5 < sum(a < b for a, b in order) < 23, "both orders occur"


def test_votes_of_a_panel_are_a_majority_and_a_tie_is_unknown() -> None:
    yes, no = (Says(lambda r, x=x: json.dumps({"correct": x, "reason": ""})) for x in (True, False))  # type: ignore[misc]
    two = World({"a": yes, "b": no})
    options = {"form": "pointwise", "prompt": "judge_pointwise", "canaries": 0.0}
    tie = run(judge, START, two, roles=("a", "b"), **options)
    assert {(v.outcome, v.score) for v in tie.verdicts} == {("unknown", 0.5)}
    three = run(judge, START, World({"a": yes, "b": no, "c": yes}), roles=("a", "b", "c"), **options)
    assert {(v.outcome, round(v.score or 0, 3)) for v in three.verdicts} == {("pass", 0.667)}


@pytest.mark.parametrize(
    ("form", "said"),
    [
        ("pointwise", "yes"), ("pointwise", '{"correct": "yes", "reason": ""}'), ("pairwise", '{"better": "C"}'),
        ("score", '{"score": 11, "reason": ""}'), ("score", '{"score": true, "reason": ""}'), ("checklist", "[]"),
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_unknown_with_a_reason(form: str, said: str) -> None:
    found = made(Says(lambda r: said), form)
    assert set(codes(found.drops)) == {"parse"}
    assert {v.outcome for v in found.verdicts} <= {"unknown"} and not found.estimates


def test_privileged_context_is_shown_where_the_recipe_says_so(tmp_path: Path) -> None:
    text = resources.files("errata.prompts").joinpath("files/judge_pointwise.yaml").read_text()
    (tmp_path / "mine.yaml").write_text(text.replace("Judge whether", "It is {{ reference }}. Judge whether"))
    engine = Says(lambda r: '{"correct": true, "reason": ""}')
    world = World({"judge": engine}, folder=tmp_path)
    run(judge, START, world, form="pointwise", prompt="mine.yaml", canaries=0.0, see=("reference",))
    assert all(f"It is {P.answer}. Judge" in r.messages[-1].content for r in engine.asked)


def test_an_attempt_that_was_cut_is_not_judged() -> None:
    cut: Attempt = attempt(P, "amber is", 2, complete=False)
    found = run(
        judge, episode(P, cut), World({"judge": Oracle()}), form="pointwise", prompt="judge_pointwise", canaries=0.0
    )
    assert found == Additions()
