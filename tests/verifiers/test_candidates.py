"""Answers on the way: where each is stated, when two are one, and what a reflection between two did."""

import json
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from errata import chains, registry
from errata.records.segment import segment
from errata.records.types import Step
from errata.verifiers.candidates import candidates, reflection, thinking
from tests.stages.support import chain_of, problem, user

P = problem(8, operations=4)
CHAIN = chain_of(P)
GOLD = [f"{line}\n" for line in chains.solve(CHAIN)]
TARGET, ANSWER = CHAIN.target, str(CHAIN.values()[CHAIN.target])
OTHER = str((int(ANSWER) + 1) % 11)
RECORDED = Path(__file__).resolve().parents[2] / "../shared/recorded/math_cot_x8.jsonl"
Q = user("What is 3 times 4?", verifier="math_equal", answer="12")


def found(of: object, *texts: str) -> list[tuple[int, int, str]]:
    return [(c.first, c.last, c.value) for c in candidates(of, texts)]  # type: ignore[arg-type]


def test_a_chain_states_its_answer_once_in_its_last_step_and_its_answer_line() -> None:
    assert found(P, *GOLD) == [(len(GOLD) - 2, len(GOLD) - 1, ANSWER)]


def test_an_answer_after_other_words_is_another_candidate_and_a_changed_one_too() -> None:
    said = [*GOLD, "Wait : look again\n", f"The answer is {ANSWER}\n", f"The answer is {OTHER}"]
    n = len(GOLD)
    assert found(P, *said) == [(n - 2, n - 1, ANSWER), (n + 1, n + 1, ANSWER), (n + 2, n + 2, OTHER)]


def test_another_name_or_a_number_in_passing_is_no_answer() -> None:
    others = [line for line in GOLD[:-2]]
    assert found(P, *others, f"{TARGET} is not {ANSWER}\n", f"is The answer {ANSWER} ?\n") == []


def test_leading_zeros_change_no_answer() -> None:
    assert found(P, f"The answer is 00{ANSWER}") == [(0, 0, ANSWER)]


@pytest.mark.parametrize(
    ("texts", "wanted"),
    [
        ([r"So it is $\boxed{12}$."], [(0, 0, "12")]),
        (["The answer is 12.", "Hmm.", "Thus the answer is 13"], [(0, 0, "12"), (2, 2, "13")]),
        (["We get 3*4 = 12.\n", "Check.\n", r"\boxed{12.0}"], [(0, 0, "12"), (2, 2, "12")]),
        (["2*3 = 6\n", "6+6 = 12\n", "#### 12"], [(1, 2, "12")]),
        (["2*3 = 6\n", "that is all"], []),
        ([r"Fill in \boxed{\phantom{2}}.", r"\boxed{?}", r"\boxed{12}"], [(2, 2, "12")]),
        (["", "nothing"], []),
    ],
)
def test_general_text(texts: list[str], wanted: list[tuple[int, int, str]]) -> None:
    assert found(Q, *texts) == wanted


def test_a_verifier_reads_the_same_answer_from_the_statement() -> None:
    judge = registry.find("verifier", "math_equal").make
    said = ["We get 3*4 = 12.\n", "Or not.\n", r"\boxed{13}", "No.", r"Rather \boxed{12}"]
    assert [judge(Q, c.statement).outcome for c in candidates(Q, said)] == ["pass", "fail", "pass"]
    chain_judge = registry.find("verifier", "procedural").make
    assert [chain_judge(P, c.statement).outcome for c in candidates(P, GOLD)] == ["pass"]


@settings(max_examples=100)
@given(st.lists(st.sampled_from(["wait\n", f"The answer is {ANSWER}\n", f"The answer is {OTHER}\n"]), max_size=12))
def test_candidates_are_in_order_and_no_step_is_in_two(texts: list[str]) -> None:
    some = candidates(P, texts)
    assert all(c.first <= c.last for c in some) and all(a.last < b.first for a, b in pairwise(some))
    assert sum(c.last - c.first + 1 for c in some) == sum("answer" in t for t in texts)
    assert all(a.value != b.value or b.first > a.last + 1 for a, b in pairwise(some))


def test_the_last_answer_of_400_recorded_solutions_gets_the_verdict_of_their_label() -> None:
    if not RECORDED.is_file():
        pytest.skip("the recorded attempts ../shared/recorded/math_cot_x8.jsonl are not here")
    judge = registry.find("verifier", "math_equal").make
    agree = total = early = 0
    for row in map(json.loads, RECORDED.read_text().splitlines()):
        asked = user(row["question"], verifier="math_equal", answer=row["gt"])
        for text, right in zip(row["code"], row["score"], strict=True):
            some = candidates(asked, segment(text, "paragraphs"))
            total += 1
            early += len(some) > 1
            agree += bool(some) and judge(asked, some[-1].statement).outcome == ("pass" if right else "fail")
    assert (total, agree) == (400, 400) and early == 42


# ---- reflections


@pytest.mark.parametrize(
    ("before", "after", "wanted"),
    [
        (("1", "pass"), ("1", "pass"), "right_to_right"),
        (("1", "pass"), ("2", "fail"), "right_to_wrong"),
        (("2", "fail"), ("1", "pass"), "wrong_to_right"),
        (("2", "fail"), ("2", "fail"), "same_wrong"),
        (("2", "fail"), ("3", "fail"), "other_wrong"),
        (("2", "unknown"), ("1", "pass"), "unknown"),
        (("1", "pass"), ("2", "unknown"), "unknown"),
    ],
)
def test_every_kind_of_reflection(before: tuple, after: tuple, wanted: str) -> None:  # type: ignore[type-arg]
    assert reflection(before, after) == wanted


# ---- thought and conclusion


def test_a_closing_tag_within_a_step_cuts_it_and_loses_no_character() -> None:
    steps = [Step(text="a\n"), Step(text="b</think>c\n"), Step(text="d</think>")]
    parts = thinking(steps, "</think>")
    assert parts is not None
    assert ([s.text for s in parts[0]], [s.text for s in parts[1]]) == (["a\n", "b"], ["</think>c\n", "d</think>"])
    assert thinking(steps, "") == (tuple(steps), ())
    assert thinking(steps, "</thought>") is None, "a missing tag is told, and no part is guessed at"
    assert thinking([Step(text="</think>c")], "</think>") == ((), (Step(text="</think>c"),))
