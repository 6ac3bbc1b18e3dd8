"""A critique is kept for what it mends: against a placebo that is asked once, and a critique that is wrong by rule."""

import json
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from errata import chains
from errata.engines.base import Request
from errata.errors import EngineError
from errata.records.types import Additions, Critique, Episode
from errata.reports.metrics import measure, summarise
from errata.stages.close_loop import close_loop
from errata.statistics import newcombe
from tests.stages.support import Says, World, attempt, chain_of, codes, critique, episode, problem, run, slipped

P = problem(5)
GOLD = "\n".join(chains.solve(chain_of(P)))
WRONG = attempt(P, slipped(P, "operand"))
OTHER = attempt(P, slipped(P, "answer"), 1)


def first(lines: str) -> int:
    found = chains.first_error(chain_of(P), lines.split("\n"))
    assert found is not None
    return found.step


RIGHT_WORDS = critique(WRONG, first(WRONG.text), "Step 1 is wrong : look at it")
OTHER_WORDS = critique(OTHER, first(OTHER.text), "Step 5 is wrong : it is not the value")
START = episode(P, WRONG, OTHER, outcomes=["fail", "fail"], critiques=[RIGHT_WORDS])
BOTH = episode(P, WRONG, OTHER, outcomes=["fail", "fail"], critiques=[RIGHT_WORDS, OTHER_WORDS])
OPTIONS: dict[str, Any] = {"prompt": "chains_revise", "placebo": "chains_try_again", "k": 4}


def student(rule: Callable[[str], float]) -> Says:
    """Mends the given share of its attempts, by the words of the last turn."""
    asked: Counter[str] = Counter()

    def answer(request: Request) -> str:
        said = request.messages[-1].content
        asked[said] += 1
        return GOLD if asked[said] % 4 < round(4 * rule(said)) else "The answer is 99"

    return Says(answer)


def reader(said: str) -> float:
    """A student that mends what is rightly criticised, half of the time by itself, and never when told wrong."""
    return 1.0 if RIGHT_WORDS.text in said else 0.5 if "Solve it again" in said else 0.0


def values(made: Additions, of: Critique) -> dict[str, float]:
    return {e.name: e.value for e in made.estimates if e.target == of.id}


def test_the_three_arms_are_asked_counted_and_compared() -> None:
    says = student(reader)
    made = run(close_loop, START, World({"student": says}), **OPTIONS)
    found = values(made, RIGHT_WORDS)
    assert (found["closed_loop_rate"], found["placebo_rate"], found["wrong_critique_rate"]) == (1.0, 0.5, 0.0)
    assert found["closed_loop_gain"] == 0.5
    assert (found["closed_loop_gain_low"], found["closed_loop_gain_high"]) == newcombe(4, 4, 2, 4)
    assert {e.n for e in made.estimates} == {4} and {e.engine for e in made.estimates} == {"student"}
    assert len(says.asked) == len(made.attempts) == 12 and len({r.seed for r in says.asked}) == 12
    arms = Counter((a.tags[0].value, a.critique) for a in made.attempts)
    (control,) = made.critiques
    assert arms == {("critique", RIGHT_WORDS.id): 4, ("placebo", None): 4, ("wrong", control.id): 4}
    assert {(a.parent, a.kind) for a in made.attempts} == {(WRONG.id, "revised")}


def test_the_placebo_is_asked_once_for_all_critiques_of_an_attempt_and_tells_nothing() -> None:
    second = critique(WRONG, None, "Every step is right", index=1)
    says = student(reader)
    made = run(close_loop, START.add(Additions(critiques=(second,))), World({"student": says}), **OPTIONS)
    placebo = [a for a in made.attempts if a.tags[0].value == "placebo"]
    assert len(placebo) == 4 and all(not a.seen and a.critique is None for a in placebo)
    told = {r.messages[-1].content for r in says.asked if "Solve it again" in r.messages[-1].content}
    assert told == {"There may be an error\nSolve it again"}
    assert values(made, RIGHT_WORDS)["placebo_rate"] == values(made, second)["placebo_rate"] == 0.5


@pytest.mark.parametrize(
    ("rates", "rules", "outcome", "code"),
    [
        ((1.0, 0.5), {}, "pass", None),
        ((0.25, 0.0), {}, "fail", "low_rate"),
        ((0.25, 0.0), {"min_rate": 0.25}, "pass", None),
        ((0.5, 0.5), {"min_gain": 0.25}, "fail", "low_gain"),
        ((0.75, 0.5), {"min_gain": 0.25}, "pass", None),
        ((0.25, 0.75), {"min_rate": 0.0}, "pass", None),
    ],
)
def test_a_critique_is_kept_by_rule_or_dropped_with_the_number(
    rates: tuple[float, float], rules: dict[str, float], outcome: str, code: str | None
) -> None:
    says = student(lambda said: rates[0] if RIGHT_WORDS.text in said else rates[1])
    made = run(close_loop, START, World({"student": says}), **OPTIONS, **rules)
    (verdict,) = [v for v in made.verdicts if v.verifier == "close_loop"]
    assert (verdict.target, verdict.outcome, verdict.score) == (RIGHT_WORDS.id, outcome, rates[0])
    assert [(d.code, d.kind, d.target) for d in made.drops] == ([(code, "filtered", RIGHT_WORDS.id)] if code else [])
    assert START.add(made).rejects(RIGHT_WORDS.id) == (outcome == "fail")


def test_revisions_without_a_verdict_count_for_nothing_and_none_at_all_is_unknown() -> None:
    silent = Says(lambda r: "it is hard to say" if RIGHT_WORDS.text in r.messages[-1].content else GOLD)
    made = run(close_loop, START, World({"student": silent}), **OPTIONS)
    assert set(values(made, RIGHT_WORDS)) == {"placebo_rate", "wrong_critique_rate"}
    assert codes(made.drops) == ["not_measured"] and made.drops[0].kind == "quarantined"
    assert [v.outcome for v in made.verdicts if v.verifier == "close_loop"] == ["unknown"]


def test_a_failed_request_is_a_drop_of_its_revision_and_the_others_count() -> None:
    calls: Counter[str] = Counter()

    def answer(request: Request) -> str:
        calls[request.messages[-1].content] += 1
        if calls[request.messages[-1].content] == 1:
            raise EngineError("timeout", "no answer")
        return GOLD

    made = run(close_loop, START, World({"student": Says(answer)}), **OPTIONS)
    assert codes(made.drops) == ["timeout"] * 3 and {e.n for e in made.estimates} == {3}


# ---- wrong critiques


def control(start: Episode, of: Critique = RIGHT_WORDS, **options: Any) -> Critique | None:
    made = run(close_loop, start, World({"student": student(reader)}), **{**OPTIONS, "k": 1, "min_rate": 0, **options})
    return next((c for c in made.critiques if c.of == (of.id,)), None)


def test_another_attempts_critique_is_the_first_choice() -> None:
    found = control(BOTH)
    assert found is not None and found.text == OTHER_WORDS.text and found.tags[0].value == "other"
    assert (found.attempt, found.source, found.first_error) == (WRONG.id, "control", OTHER_WORDS.first_error)


def test_without_one_a_step_that_nobody_finds_wrong_is_blamed_in_fixed_words() -> None:
    gold = critique(WRONG, 3, stage="gold", source="gold")
    seen = set()
    for k in range(40):
        words = critique(WRONG, 2, f"Step 3 is wrong, {k}", stage="critique", index=k)
        start = episode(P, WRONG, outcomes=["fail"], critiques=[words, gold])
        found = control(start, words, blame="Step {step} is wrong : {text}")
        assert found is not None and found.first_error is not None and found.tags[0].value == "moved"
        seen.add(found.first_error)
        said = WRONG.steps[found.first_error].text.strip()
        assert found.text == f"Step {found.first_error + 1} is wrong : {said}" and not found.seen
    assert seen <= set(range(len(WRONG.steps))) - {2, 3} and len(seen) > 1


def test_an_all_clear_is_wrong_only_of_what_fails() -> None:
    found = control(START, wrong=("all_clear",), all_clear="Every step is right")
    assert found is not None and (found.text, found.verdict) == ("Every step is right", "no_error")
    right = episode(P, WRONG, outcomes=["pass"], critiques=[RIGHT_WORDS])
    assert control(right, wrong=("all_clear",), outcome="any") is None


def test_a_critique_that_has_no_wrong_one_is_told_and_measured_without() -> None:
    made = run(close_loop, START, World({"student": student(reader)}), **OPTIONS, wrong=("other",))
    assert codes(made.drops) == ["no_wrong_critique"] and "wrong_critique_rate" not in values(made, RIGHT_WORDS)
    assert run(close_loop, START, World({"student": student(reader)}), **OPTIONS, wrong=()).drops == ()


def test_unread_and_rejected_critiques_and_other_outcomes_are_not_tried() -> None:
    unread = critique(WRONG, None, "hm", verdict="unknown")
    assert not run(
        close_loop, episode(P, WRONG, outcomes=["fail"], critiques=[unread]), World({"student": student(reader)})
    ).attempts
    turned_away = START.add(
        Additions(
            verdicts=(*run(close_loop, START, World({"student": student(lambda _: 0.0)}), **OPTIONS).verdicts[-1:],)
        )
    )
    assert turned_away.rejects(RIGHT_WORDS.id)
    assert not run(close_loop, turned_away, World({"student": student(reader)}), name="again", **OPTIONS).attempts
    assert not run(close_loop, START, World({"student": student(reader)}), **OPTIONS, outcome="pass").attempts


# ---- the table


def test_metrics_pool_the_arms_and_count_a_shared_placebo_once() -> None:
    second = critique(WRONG, None, "Every step is right", index=1)
    start = START.add(Additions(critiques=(second,)))
    grown = start.add(run(close_loop, start, World({"student": student(reader)}), **OPTIONS))
    table = summarise(measure([grown]), {})["closed_loop"]["close_loop"]
    assert json.loads(json.dumps(table)) == table
    assert [(table[arm]["passed"], table[arm]["known"]) for arm in ("critique", "placebo", "wrong")] == [
        (4, 8), (2, 4), (0, 8),
    ]  # fmt: skip
    assert table["gain"]["value"] == 0.0 and table["wrong_gain"]["value"] == -0.5
    assert table["gain"]["interval"] == [round(x, 6) for x in newcombe(4, 8, 2, 4)]
    assert (table["gain"]["problems"], table["gain"]["mean_by_problem"]) == (1, 0.0)
    assert table["gain"]["interval_by_problem"] is None, "one problem has no spread"
    revisions = summarise(measure([grown]), {})["revisions"]
    assert {name: r["mended"] for name, r in revisions.items()} == {
        "close_loop": 0.5, "close_loop (placebo)": 0.5, "close_loop (wrong)": 0.0,
    }  # fmt: skip
