"""Cuts: what stays is the trace's own, what goes is masked or gone, and every cut trace ends in its conclusion."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from errata.errors import RecipeError
from errata.records.types import Additions, Attempt
from errata.stages.base import steps_of
from errata.stages.truncate import truncate
from tests.stages.support import World, attempt, chain_of, chains, codes, episode, problem, run

P = problem(8, operations=5)
CHAIN = chain_of(P)
GOLD = chains.solve(CHAIN)
ANSWER = GOLD[-1].split()[-1]
WRONG = f"The answer is {(int(ANSWER) + 1) % 11}"
RIGHT = f"The answer is {ANSWER}"
LEAD = "Wait, look again."
STOP = "It is time to stop."
THREE = [*GOLD, LEAD, *GOLD, "But is it so?", *GOLD]
"""Three right solutions, with words between them."""


def cut(lines: list[str], outcome: Any = "pass", **options: Any) -> Additions:
    return run(truncate, episode(P, attempt(P, lines), outcomes=[outcome]), World(), **options)


def only(found: Additions) -> Attempt:
    assert len(found.attempts) == 1 and not found.drops, codes(found.drops)
    return found.attempts[0]


# ---- after the i-th candidate


@pytest.mark.parametrize("at", [0, 1, 2])
def test_a_cut_after_the_ith_answer_keeps_i_reflections_word_for_word(at: int) -> None:
    a = only(cut(THREE, at=at))
    end = [len(GOLD), 2 * len(GOLD) + 1, len(THREE)][at]
    assert a.text == "\n".join(THREE[:end])
    assert (a.kind, a.fork_step, a.parent) == ("truncated", end, attempt(P, THREE).id)
    assert {t.name: t.value for t in a.tags} == {"cut": "candidate", "reflections": str(at)}
    assert all(s.train for s in a.steps)


def test_an_answer_without_its_line_gets_the_conclusion() -> None:
    a = only(cut([*GOLD[:-1], LEAD, *GOLD], at=0))
    assert a.text == "\n".join(GOLD)
    assert (a.steps[-1].role, a.steps[-1].source, a.steps[-2].source) == ("answer", "template", "student")


def test_traces_with_too_few_answers_are_left_out_with_the_reason() -> None:
    assert codes(cut(THREE, at=3).drops) == ["few_candidates"]
    assert codes(cut(THREE, at=0, least=4).drops) == ["few_candidates"]
    assert codes(cut(["nothing"], at=0).drops) == ["few_candidates"]
    assert len(cut(THREE, at=0, least=3).attempts) == 1


def test_a_wrong_first_answer_is_cut_after_as_it_stands_and_judged_by_the_step_after() -> None:
    a = only(cut([WRONG, LEAD, *GOLD], at=0))
    assert a.text == WRONG


def test_only_whole_attempts_with_the_outcome_are_cut() -> None:
    assert not cut(THREE, outcome="fail").attempts
    short = replace(attempt(P, THREE), complete=False)
    found = run(truncate, episode(P, short, outcomes=["pass"]), World())
    assert codes(found.drops) == ["incomplete"]


# ---- SBT-E


def test_exact_keeps_two_right_solutions_a_masked_tail_the_stop_and_the_conclusion() -> None:
    a = only(cut(THREE, rule="exact", at=1, tail=2, stop=STOP))
    end = 2 * len(GOLD) + 1
    assert a.text == "\n".join([*THREE[: end + 2], STOP, RIGHT])
    assert [s.train for s in a.steps] == [True] * end + [False] * 2 + [True] * 2
    assert [s.role for s in a.steps[end:]] == ["tail", "tail", "reflection", "answer"]


def test_exact_counts_right_solutions_alone() -> None:
    a = only(cut([*GOLD, LEAD, WRONG, LEAD, *GOLD, LEAD, *GOLD], rule="exact", at=1, stop=STOP))
    assert a.text == "\n".join([*GOLD, LEAD, WRONG, LEAD, *GOLD, STOP, RIGHT])


@pytest.mark.parametrize("rule", ["exact", "dynamic"])
def test_a_trace_that_does_not_overthink_is_left_as_it_is(rule: str) -> None:
    assert codes(cut([*GOLD, RIGHT], rule=rule).drops) == ["not_overthinking"]
    assert codes(cut(THREE, rule=rule, over=0.7).drops) == ["not_overthinking"]
    assert codes(cut([WRONG, LEAD, WRONG], rule=rule).drops) == ["none_right"]


# ---- SBT-D


def test_dynamic_masks_from_the_threshold_and_stops_a_little_later() -> None:
    plain = ["some more words"] * 20
    a = only(cut([*GOLD, *plain], rule="dynamic", stop=STOP))
    n = len(GOLD)
    kept = next(k for k in range(n, 99) if 0.9 * (1 - n / k) >= 0.2)
    stopped = next(k for k in range(n, 99) if 0.9 * (1 - n / k) >= 0.25)
    assert n < kept < stopped < n + 20
    assert a.text == "\n".join([*GOLD, *plain[: stopped - n], STOP, RIGHT])
    assert [s.train for s in a.steps] == [True] * kept + [False] * (stopped - kept) + [True] * 2


def test_dynamic_concludes_even_if_the_trace_ends_before_it_is_stopped() -> None:
    n = len(GOLD)
    a = only(cut([*GOLD, *["some more words"] * 4], rule="dynamic", stop=STOP, slack=0.5))
    assert a.text == "\n".join([*GOLD, *["some more words"] * 4, STOP, RIGHT])
    assert [s.train for s in a.steps][n:] == [True, True, False, False, True, True]


# ---- with a closing tag


def tagged(said: str, **options: Any) -> Additions:
    return run(truncate, episode(P, attempt(P, said), outcomes=["pass"]), World(), close="</think>", **options)


@pytest.mark.parametrize("rule", ["candidate", "exact", "dynamic"])
def test_every_cut_closes_the_thought_once_with_the_traces_own_conclusion(rule: str) -> None:
    own = f"</think>\n\nIt comes out.\n{RIGHT}"
    a = only(tagged("\n".join(THREE) + own, rule=rule, stop=STOP))
    assert a.text.count("</think>") == 1 and a.text.endswith(f"\n{own}")
    assert (STOP in a.text) and a.text.index(STOP) < a.text.index("</think>")


def test_a_cut_after_another_answer_does_not_take_the_traces_conclusion() -> None:
    a = only(tagged(f"{WRONG}\n{LEAD}\n{RIGHT}\n</think>\n{RIGHT}", rule="candidate"))
    assert a.text == f"{WRONG}\n</think>\n\n{WRONG}"


def test_a_trace_without_the_tag_is_left_out_and_not_guessed_at() -> None:
    assert codes(tagged("\n".join(THREE)).drops) == ["no_close_tag"]


# ---- all rules


LINES = st.lists(st.sampled_from([*GOLD, LEAD, WRONG, RIGHT, "but words"]), max_size=14)


@settings(max_examples=60, deadline=None)
@given(LINES, st.sampled_from(["candidate", "exact", "dynamic"]), st.integers(0, 2), st.integers(0, 3))
def test_a_cut_begins_as_its_trace_and_its_masked_words_are_the_traces_next(
    lines: list[str], rule: str, at: int, tail: int
) -> None:
    whole = "\n".join(lines)
    start = replace(attempt(P, ""), steps=steps_of(whole, "lines", "student"))
    found = run(truncate, episode(P, start, outcomes=["pass"]), World(), rule=rule, at=at, tail=tail, stop=STOP)
    assert len(found.attempts) + len(found.drops) == 1
    for a in found.attempts:
        own = "".join(s.text for s in a.steps if s.source == "student").rstrip()
        assert whole.startswith(own), "kept and masked words are the trace's, in its order, from its start"
        assert [s.role for s in a.steps if not s.train] == ["tail"] * sum(not s.train for s in a.steps)
        assert a.text.rstrip().splitlines()[-1].startswith("The answer is ")
        assert STOP in a.text and not a.text.endswith("\n")


@pytest.mark.parametrize("wrong", [{"over": 0.0}, {"over": 1.0}, {"slack": -0.1}])
def test_thresholds_that_are_none_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(RecipeError, match="over"):
        cut(THREE, **wrong)
