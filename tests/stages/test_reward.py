"""A response's score: what its outcome is worth, and a fifth of its worst step."""

from typing import Any

from msgspec.structs import replace

from errata import chains
from errata.records.types import Additions, Attempt, Check, Episode, Estimate, Outcome
from errata.stages.reward import reward
from errata.stages.verify import verify
from tests.stages.support import attempt, chain_of, codes, episode, grown, problem, run, slipped, verdict

PROBLEM = problem(4)


def checked(a: Attempt, outcome: Outcome, steps: Outcome) -> Additions:
    return Additions(verdicts=(replace(verdict(a, outcome), checks=(Check(name="steps", outcome=steps),)),))


def told(made: Additions, a: Attempt) -> dict[str, float]:
    return {e.name: e.value for e in made.estimates if e.target == a.id}


def test_the_score_is_the_outcome_and_a_fifth_of_the_worst_step() -> None:
    cases: Any = [("pass", "pass", 1.2), ("pass", "fail", 1.0), ("fail", "fail", 0.0), ("fail", "pass", 0.2)]
    for outcome, steps, expected in cases:
        a = attempt(PROBLEM, "The answer is 1")
        start = episode(PROBLEM, a).add(checked(a, outcome, steps))
        found = told(run(reward, start), a)
        assert found["reward"] == expected and found["process_reward_min"] == (steps == "pass")
        assert found["outcome_reward"] == (outcome == "pass")
        assert told(run(reward, start, wrong=-1.0, process="none"), a)["reward"] == (1.0 if outcome == "pass" else -1.0)


def test_the_chain_verifier_checks_every_step() -> None:
    right, wrong = attempt(PROBLEM, chains.solve(chain_of(PROBLEM))), attempt(PROBLEM, slipped(PROBLEM, "operand"), 1)
    start = grown(verify, episode(PROBLEM, right, wrong))
    made = run(reward, start)
    assert told(made, right)["reward"] == 1.2 and told(made, wrong)["process_reward_min"] == 0


def test_values_of_forks_count_by_the_least() -> None:
    a = attempt(PROBLEM, "The answer is 1")
    values = [
        Estimate(target=a.id, stage="locate", name="mc_value", value=v, n=4, step=i)
        for i, v in enumerate((1.0, 0.25, 0.5))
    ]
    start = episode(PROBLEM, a, outcomes=["pass"])
    assert codes(run(reward, start, process="values").drops) == ["no_process_reward"]
    start = start.add(Additions(estimates=tuple(values)))
    assert told(run(reward, start, process="values"), a)["reward"] == 1.05


def test_what_is_not_known_is_dropped_and_not_bad() -> None:
    unknown, unchecked = attempt(PROBLEM, "x"), attempt(PROBLEM, "y", 1)
    made = run(reward, episode(PROBLEM, unknown, unchecked, outcomes=["unknown", "pass"]))
    assert codes(made.drops) == ["no_verdict", "no_process_reward"] and not made.estimates


def test_the_first_of_the_same_text_is_distinct_in_each_step() -> None:
    texts = ["a\nThe answer is 1", "a \n The answer is 1", "b\nThe answer is 1"]
    made = [attempt(PROBLEM, t, i, stage) for stage in ("cool", "hot") for i, t in enumerate(texts)]
    start: Episode = episode(PROBLEM, *made, outcomes=["pass"] * 6)
    found = run(reward, start, of=("cool", "hot"), process="none")
    assert [told(found, a)["distinct"] for a in made] == [1, 0, 1, 1, 0, 1]
    assert [told(found, a)["sample_index"] for a in made] == [0, 1, 2, 0, 1, 2]
