"""reasoning-gym's own scorers judge their own items."""

import json

import pytest

from errata.records.types import Problem
from errata.verifiers.gym import reasoning_gym as judge

gym = pytest.importorskip("reasoning_gym", reason="needs the gym extra")


def item(dataset: str, **config: object) -> tuple[str, Problem]:
    entry = gym.create_dataset(dataset, size=1, seed=5, **config)[0]
    meta = json.dumps({"dataset": dataset, "config": config, "entry": entry})
    return str(entry["answer"]), Problem(id="p", messages=(), verifier="reasoning_gym", meta=meta)


@pytest.mark.parametrize("dataset", ["leg_counting", "basic_arithmetic", "spell_backward"])
def test_the_stored_answer_passes_and_another_fails(dataset: str) -> None:
    answer, problem = item(dataset)
    assert judge(problem, f"so <answer>{answer}</answer> it is").outcome == "pass"
    assert judge(problem, f"thinking\n{answer}").outcome == "pass"
    assert judge(problem, f"x\nResult: {answer}\nbye", after="Result:").outcome == "pass"
    wrong = judge(problem, "<answer>77777</answer>")
    assert wrong.outcome == "fail" and wrong.score is not None and wrong.score < 1
    assert judge(problem, "<answer>77777</answer>", threshold=0.0).outcome == "pass"


def test_the_items_own_configuration_is_used() -> None:
    answer, problem = item("leg_counting", min_animals=2, max_animals=2)
    assert judge(problem, answer).outcome == "pass"


def test_what_cannot_be_judged_is_unknown() -> None:
    _, problem = item("leg_counting")
    assert judge(problem, "").outcome == judge(problem, "x", after="Result:").outcome == "unknown"
    broken = ('{"dataset": "no_such", "entry": {}}', '{"dataset": "leg_counting", "entry": {}}')
    for meta in ("{}", "no json", "[]", *broken):
        judgement = judge(Problem(id="p", messages=(), verifier="reasoning_gym", meta=meta), "5")
        assert judgement.outcome == "unknown" and judgement.evidence, meta
