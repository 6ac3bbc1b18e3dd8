"""Cutting a text into steps loses nothing and makes no blank step."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from errata.records.segment import ACTION, RULES, segment

TEXTS = st.text(alphabet=st.sampled_from("ab1.!?)\"' \t\n\r\u2028\u00a0é"), max_size=60) | st.text(max_size=80)


@settings(deadline=None)
@given(TEXTS, st.sampled_from(RULES))
def test_the_joined_steps_are_the_text(text: str, rule: str) -> None:
    steps = segment(text, rule)
    assert "".join(steps) == text
    assert all(steps)
    if text.strip():
        assert all(step.strip() for step in steps)
    else:
        assert len(steps) == bool(text)


@settings(deadline=None)
@given(TEXTS, st.sampled_from(("lines", "chain", "paragraphs")))
def test_a_step_is_cut_no_further(text: str, rule: str) -> None:
    assert all(segment(step, rule) == (step,) for step in segment(text, rule))


def test_a_line_keeps_its_break_and_the_blank_lines_after_it() -> None:
    assert segment("\n a\n\n  b\r\nc", "lines") == ("\n a\n\n", "  b\r\n", "c")
    assert segment("a\nb\n", "chain") == segment("a\nb\n", "lines") == ("a\n", "b\n")


def test_paragraphs_end_at_blank_lines() -> None:
    assert segment("a\nb\n \n\nc\nd", "paragraphs") == ("a\nb\n \n\n", "c\nd")


def test_sentences_end_neither_in_numbers_nor_in_titles() -> None:
    text = 'Mr. Li pays 3.50 euros. "Is it enough?" Yes, e.g. today!\n1. Add. 2. Stop.'
    assert segment(text, "sentences") == (
        "Mr. Li pays 3.50 euros. ",
        '"Is it enough?" ',
        "Yes, e.g. today!\n",
        "1. Add. ",
        "2. ",
        "Stop.",
    )


def test_an_unknown_rule_says_what_exists() -> None:
    with pytest.raises(ValueError, match="no rule is called 'words': there are lines"):
        segment("a", "words")


PLANS = st.text(alphabet=st.sampled_from("ab ()-`\n"), max_size=40)


@settings(deadline=None)
@given(PLANS, st.lists(st.sampled_from(["(pick-up a)", "(stack a b)"]), min_size=1, max_size=4), PLANS)
def test_a_step_of_a_plan_ends_with_its_action(before: str, actions: list[str], after: str) -> None:
    text = before + "\n".join(actions) + after
    steps = segment(text, "actions")
    assert "".join(steps) == text and len(steps) == len(ACTION.findall(text))
    assert all(len(ACTION.findall(step)) == 1 for step in steps)


def test_a_plan_in_words_is_cut_into_lines() -> None:
    assert segment("pick up a\nput down a", "actions") == ("pick up a\n", "put down a")
