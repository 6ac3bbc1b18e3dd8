"""Agreement with the labels of recorded attempts of real models; the files lie beside the checkout, not in it."""

import ast
import json
from pathlib import Path
from typing import Any

import pytest

from errata.records.types import Problem
from errata.verifiers.answers import number
from errata.verifiers.math import math_equal

RECORDED = Path(__file__).resolve().parents[2] / "../shared/recorded"


def read(name: str) -> list[dict[str, Any]]:
    file = RECORDED / name
    if not file.is_file():
        pytest.skip(f"the recorded attempts ../shared/recorded/{name} are not here")
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]


def problem(answer: str) -> Problem:
    return Problem(id="p", messages=(), verifier="v", answer=answer)


def listed(value: Any) -> list[Any]:
    return list(ast.literal_eval(value)) if isinstance(value, str) else list(value)


def test_number_agrees_with_every_label_of_gsm8k() -> None:
    judged = 0
    for row in read("gsm8k_model_solutions.jsonl"):
        for attempt in (a for a in row.values() if isinstance(a, dict)):
            judgement = number(problem(row["ground_truth"]), attempt["solution"], after="A:", missing="fail")
            assert judgement.outcome == ("pass" if attempt["is_correct"] else "fail"), judgement
            judged += 1
    assert judged == 330 * 4


def test_only_attempts_without_an_answer_are_unknown_in_gsm8k() -> None:
    unknown = [
        attempt
        for row in read("gsm8k_model_solutions.jsonl")
        for attempt in (a for a in row.values() if isinstance(a, dict))
        if number(problem(row["ground_truth"]), attempt["solution"], after="A:").outcome == "unknown"
    ]
    assert len(unknown) == 2 and all("A:" not in a["solution"] and not a["is_correct"] for a in unknown)


def test_math_equal_agrees_with_every_score_of_math_cot() -> None:
    judged = 0
    for row in read("math_cot_x8.jsonl"):
        for text, score in zip(listed(row["code"]), listed(row["score"]), strict=True):
            judgement = math_equal(problem(row["gt"]), text)
            assert judgement.outcome == ("pass" if score else "fail"), judgement
            judged += 1
    assert judged == 400


def test_math_equal_never_contradicts_the_labels_of_realcritic_math() -> None:
    """Out of sample: no rule was made for these rows; those whose text states no answer are unknown."""
    agreed = 0
    for row in read("realcritic_math.jsonl"):
        (score,) = listed(row["previous_score"])
        judgement = math_equal(problem(row["gt"]), row["reasoning"])
        assert judgement.outcome in ("unknown", "pass" if score else "fail"), judgement
        agreed += judgement.outcome != "unknown"
    assert agreed >= 115
