"""Every verifier of answers on its rows in tests/cases: a bug that is mended is one more row."""

import json
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from errata.records.types import Problem
from errata.registry import components
from errata.verifiers.readings import numbers, read_number, stated

CASES = Path(__file__).resolve().parents[1] / "cases"
NAMES = ("number", "choice", "math_equal")
VERIFIERS = components("verifier")


def rows() -> list[Any]:
    found = []
    for name in NAMES:
        for i, line in enumerate((CASES / f"{name}.jsonl").read_text(encoding="utf-8").splitlines(), 1):
            found.append(pytest.param(name, json.loads(line), id=f"{name}-{i}"))
    return found


def problem(answer: str | None) -> Problem:
    return Problem(id="p", messages=(), verifier="v", answer=answer)


@pytest.mark.parametrize(("name", "row"), rows())
def test_case(name: str, row: dict[str, Any]) -> None:
    judgement = VERIFIERS[name].make(problem(row["answer"]), row["text"], **row.get("options", {}))
    assert judgement.outcome == row["outcome"], judgement


@pytest.mark.parametrize("name", NAMES)
def test_cases_hold_all_three_outcomes(name: str) -> None:
    lines = (CASES / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()
    assert {json.loads(line)["outcome"] for line in lines} == {"pass", "fail", "unknown"}


TOKENS = r"\boxed{ } { ( ) [ , ; = $ % ^ _ - / . \frac \sqrt \text{ \pm \pi \le 1 12 3,4 e9 x B A: #### \u00bd"
PIECES = st.lists(st.sampled_from([*TOKENS.split(" "), " "]) | st.text(max_size=4), max_size=14).map("".join)
INLINE = [n for n, c in VERIFIERS.items() if c.inline]


@pytest.mark.parametrize("name", INLINE)
@given(text=PIECES | st.text(), answer=PIECES)
@settings(max_examples=60, deadline=None)
def test_no_text_raises(name: str, text: str, answer: str) -> None:
    judgement = VERIFIERS[name].make(problem(answer), text)
    assert judgement.outcome in ("pass", "fail", "unknown")


@given(text=PIECES)
@settings(max_examples=60, deadline=None)
def test_math_equal_never_raises_and_never_fails_an_answer_against_itself(text: str) -> None:
    judgement = VERIFIERS["math_equal"].make(problem(r"\frac{1}{2}"), f"so \\boxed{{{text}}}")
    assert judgement.outcome in ("pass", "fail", "unknown")
    itself = VERIFIERS["math_equal"].make(problem(f"\\boxed{{{text}}}"), f"so \\boxed{{{text}}}")
    assert itself.outcome != "fail"


@given(a=st.integers(-(10**9), 10**9), b=st.integers(-(10**9), 10**9))
@settings(deadline=None)
def test_number_tells_whole_numbers_apart(a: int, b: int) -> None:
    for text in (f"A: {a}", f"A: {a:,}.", f"A: ${a}", f"A: {a}.00 dollars"):
        judgement = VERIFIERS["number"].make(problem(str(b)), text, after="A:")
        assert judgement.outcome == ("pass" if a == b else "fail")
        assert VERIFIERS["number"].make(problem(str(a)), text, after="A:").outcome == "pass"


@pytest.mark.parametrize("name", INLINE)
@pytest.mark.parametrize("piece", ["1,", "1 ", "9", "####", "(", "(A) ", "\\boxed{", "answer ", " ", "A: ", *",-$."])
def test_long_text_takes_no_longer_than_its_length(name: str, piece: str) -> None:
    """A quadratic rule would take minutes here: these verifiers run in the event loop."""
    started = time.process_time()
    VERIFIERS[name].make(problem("B" if name == "choice" else "5"), f"A: the answer is {piece * 20_000}")
    assert time.process_time() - started < 5


def test_exact() -> None:
    def exact(answer: str | None, text: str, **options: Any) -> str:
        return str(VERIFIERS["exact"].make(problem(answer), text, **options).outcome)

    assert exact("a  b", " a\nb ") == "pass"
    assert exact("a b", "A b") == "fail"
    assert exact("a b", "A b", ignore_case=True) == "pass"
    assert exact("a b", "x => y => a b", after="=>") == "pass"
    assert exact("a b", "a b", after="=>") == "unknown"
    assert exact(None, "a") == exact("a", " ") == "unknown"


def test_the_last_statement_counts() -> None:
    assert stated("The answer is 3. No, the answer is 4.").text == "4"
    assert stated("#### 3\n#### 4\n").text == "4"
    assert stated(r"\boxed{3} \boxed {\frac{1}{2}}").text == r"\frac{1}{2}"
    assert stated(r"\boxed{a\}b}").text == r"a\}b"
    assert stated("nothing").text is None
    assert str(read_number("3 1/2%")) == "7/2%"
    assert numbers("1 and 2, then 3") and len(numbers("1 and 2, then 3")) == 3
