"""The overthinking score: markers are whole words, and the formula is the paper's."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from errata.verifiers.overthinking import marker_share, overthinking


@pytest.mark.parametrize(
    ("text", "share"),
    [
        ("Push the button, butter the rebuttal", 0.0),
        ("But wait", 1.0),
        ("but, I say: BUT.", 0.5),
        ("hold on a moment", 0.5),
        ("hold the door on", 0.0),
        ("let me check it", 0.75),
        ("await waiter waiting", 0.0),
        ("again-and-again", 0.0),
        ("", 0.0),
    ],
)
def test_markers_are_whole_words(text: str, share: float) -> None:
    assert marker_share(text) == pytest.approx(share)


def test_the_longest_marker_counts_and_no_word_twice() -> None:
    assert marker_share("let me check check", ["let me check", "check", "let me"]) == 1.0
    assert marker_share("wait wait on", ["wait on", "wait"]) == 1.0
    assert marker_share("some words", ["", "!"]) == 0.0


def test_the_score_is_the_formula() -> None:
    texts = ["one two three four\n"] * 3 + ["wait two three four\n"]
    assert overthinking(3, texts) == pytest.approx(0.9 * (1 - 3 / 4) + 0.1 * 1 / 16)
    assert overthinking(3, texts, markers=["two"], beta=0.5) == pytest.approx(0.5 * 0.25 + 0.5 * 4 / 16)
    assert overthinking(4, ["plain\n"] * 4) == 0.0


@settings(max_examples=100)
@given(st.integers(1, 20), st.integers(0, 20), st.floats(0, 1))
def test_a_score_is_from_0_to_1_and_grows_with_what_follows(first: int, more: int, beta: float) -> None:
    texts = ["plain words\n"] * (first + more)
    scores = [overthinking(first, texts[:k], beta=beta) for k in range(first, len(texts) + 1)]
    assert all(0 <= s <= 1 for s in scores) and scores == sorted(scores)


@pytest.mark.parametrize("first", [0, 3])
def test_a_solution_longer_than_its_trace_is_refused(first: int) -> None:
    with pytest.raises(ValueError, match="first solution"):
        overthinking(first, ["a", "b"])
