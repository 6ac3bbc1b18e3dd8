"""Circles are found, and long solutions of real models are none."""

import json
import random
from pathlib import Path

import pytest

from errata.engines.repetition import CHARACTERS, looped
from tests.runners.support import ROOT

RECORDED = ROOT.parent / "shared/recorded"


@pytest.mark.parametrize("piece", ["so on and on\n", "x", "27 ", "I am sure. It is so.\n" * 9 + "\n", "a  " * 15 + "b"])
def test_copies_at_the_end_are_found(piece: str) -> None:
    begun = "First we add 2 and 2, which is 4.\n"
    copies = max(3, -(-CHARACTERS // len(piece)))
    assert f"it ends in {copies} copies of " in looped(begun + piece * copies)
    assert looped(begun + piece * copies + piece[: len(piece) // 2]), "the last copy may be cut"
    assert not looped(begun + piece * 2 + "The answer is 4"), "nor is twice, or in the middle, a circle"


def test_a_text_that_says_nothing_new_is_found() -> None:
    drawn = random.Random(1)
    lines = ["wait, let me check that once more, ", "hmm, I think that this is right, ", "so the answer must be 7, "]
    text = "".join(drawn.choice(lines) for _ in range(400))
    assert "deflate" in looped(text)


@pytest.mark.parametrize("text", ["", "The answer is 4", "-" * (CHARACTERS - 1), "1, 2, 3, 4, " * 2, "ab" * 60])
def test_short_repetitions_are_none(text: str) -> None:
    assert looped(text) == ""


def test_a_probe_that_stands_everywhere_costs_no_time() -> None:
    # The piece is longer than the places tried: it is let through, and soon.
    assert looped(("=" * 100 + "\n" + " " * 100 + "x") * 2 + " " * 100) == ""


@pytest.mark.parametrize(
    ("file", "loops"), [("gsm8k_model_solutions", 2), ("math_cot_x8", 0), ("tau_airline_gpt4o", 0)]
)
def test_of_real_models_texts_only_circles_are_found(file: str, loops: int) -> None:
    path = RECORDED / f"{file}.jsonl"
    if not path.is_file():
        pytest.skip("the recorded examples are not there")
    found = [said for text in texts(path) if (said := looped(text))]
    assert len(found) == loops, found


def texts(path: Path) -> list[str]:
    found: list[str] = []

    def walk(value: object) -> None:
        if isinstance(value, str):
            found.append(value)
        elif isinstance(value, dict | list):
            for part in value.values() if isinstance(value, dict) else value:
                walk(part)

    for line in path.read_text().splitlines():
        walk(json.loads(line))
    return found
