"""The procedural family: one definition of right and wrong, whatever the text."""

import random
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from errata import chains
from errata.chains import Chain, Finding, Rule

SLIPS = [k for k in chains.KINDS if k != "format"]
seeds = st.integers(0, 10**9)


def chain(seed: int, most: int = 12) -> Chain:
    rng = random.Random(seed)
    return chains.generate(rng, rng.randint(1, most), rng.randint(0, 3), rng.choice([2, 7, 11, 23]))


@settings(max_examples=200, deadline=None)
@given(seeds)
def test_parse_is_the_inverse_of_question_wherever_it_stands(seed: int) -> None:
    made = chain(seed)
    text = chains.question(made)
    assert chains.parse(text) == made and chains.question(chains.parse(text) or made) == text
    assert chains.parse(f"Solve this.\n\n{text}\n\nThink step by step.") == made


@settings(max_examples=200, deadline=None)
@given(seeds)
def test_the_gold_solution_is_right_needs_every_step_and_computes_exactly(seed: int) -> None:
    made = chain(seed)
    steps = chains.solve(made)
    assert chains.first_error(made, steps) is None
    assert chains.first_error(made, [f"  {s} \n" for s in steps]) is None, "outer spaces do not count"
    # An independent evaluation of the definitions, by Python itself.
    rules = {r.name: str(r).split(" is ")[1] for r in made.rules}

    def value(word: str) -> int:
        if word.isdigit():
            return int(word)
        parts = rules[word].split()
        left = value(parts[0])
        if len(parts) == 1:
            return left
        right = value(parts[2])
        return {"plus": left + right, "minus": left - right, "times": left * right}[parts[1]]

    assert chains.answer(steps[-1]) == str(value(made.target) % made.modulus)
    # Without any one of its steps, the solution has an error.
    for i in range(len(steps)):
        assert chains.first_error(made, steps[:i] + steps[i + 1 :]) is not None
    assert len(steps) == len(chains.needed(made)) + 1


@settings(max_examples=200, deadline=None)
@given(seeds, st.sampled_from(SLIPS))
def test_a_slip_is_found_at_its_step_with_its_kind(seed: int, kind: str) -> None:
    made = chain(seed, most=7)
    steps = chains.slip(random.Random(seed), made, kind)
    if steps is None:
        return
    gold = chains.solve(made)
    found = chains.first_error(made, steps)
    if found is None:
        # A slip may land on the truth: dropping the only step that could wait, say.
        assert chains.answer(steps[-1]) == chains.answer(gold[-1])
        return
    assert steps[: found.step] == gold[: found.step], "before the error, every step is gold's"
    assert found.step == len(steps) or found.step >= len(gold) or steps[found.step] != gold[found.step]
    if kind == "order":
        # A step left out shows where its value is missed, or at the answer.
        assert found.kind in ("order", "premature")
    else:
        assert found.kind == kind


def test_every_kind_of_slip_has_room_in_the_family() -> None:
    found: Counter[str] = Counter()
    for seed in range(150):
        rng = random.Random(seed)
        made = chains.generate(rng, rng.randint(2, 7), 1)
        for kind in SLIPS:
            steps = chains.slip(rng, made, kind)
            error = chains.first_error(made, steps) if steps else None
            found[error.kind if error else "-"] += 1
    assert all(found[kind] > 20 for kind in SLIPS), found


BIRCH = "All values are modulo 11\nbirch is amber plus 6\n"
BASE = chains.parse(f"{BIRCH}cedar is birch times amber\namber is 7\nWhat is cedar ?")
RIGHT = ("birch is amber plus 6 = 7 plus 6 so birch is 2", "cedar is birch times amber = 2 times 7 so cedar is 3")


@pytest.mark.parametrize(
    ("steps", "found"),
    [
        ([*RIGHT, "The answer is 3"], None),
        ([*RIGHT, "The answer is 3", "and so on"], None),
        ([*RIGHT], Finding(2, "premature", "the answer is missing")),
        ([], Finding(0, "premature", "the answer is missing")),
        ([*RIGHT, "The answer is 4"], Finding(2, "answer", "it is not the value of cedar")),
        ([RIGHT[0], "The answer is 3"], Finding(1, "premature", "cedar is not known yet")),
        ([RIGHT[1]], Finding(0, "order", "birch is not known yet")),
        (["birch is amber plus 6 = 5 plus 6 so birch is 0"], Finding(0, "operand", "amber is not 5")),
        (["birch is amber plus 6 = 7 plus 5 so birch is 1"], Finding(0, "operand", "6 is not 5")),
        (["birch is amber plus 6 = 7 plus 6 so birch is 3"], Finding(0, "arithmetic", "7 plus 6 is not 3")),
        (["birch is amber plus 6 = 7 plus 6 so birch is 13"], Finding(0, "arithmetic", "7 plus 6 is not 13")),
        (["birch is amber minus 6 = 7 minus 6 so birch is 1"], Finding(0, "definition", "birch is amber plus 6")),
        (["birch is amber plus 6 = 7 minus 6 so birch is 1"], Finding(0, "definition", "birch is amber plus 6")),
        (["birch is amber plus 6 = 7 plus 6 so cedar is 2"], Finding(0, "definition", "birch is amber plus 6")),
        (["daisy is amber plus 6 = 7 plus 6 so daisy is 2"], Finding(0, "definition", "daisy is not given")),
        (["Let me think"], Finding(0, "format", "it is no step")),
        ([""], Finding(0, "format", "it is no step")),
        (["birch is amber plus 6 = 7 plus 6 so birch is 2."], Finding(0, "format", "it is no step")),
        (["birch is 2"], Finding(0, "format", "it is no step")),
    ],
)
def test_findings_word_for_word(steps: list[str], found: Finding | None) -> None:
    assert BASE is not None and chains.first_error(BASE, steps) == found


def test_a_right_step_that_nothing_needs_and_one_that_is_repeated_are_no_errors() -> None:
    made = chains.parse(f"{BIRCH}fern is amber times 2\namber is 7\nWhat is birch ?")
    assert made is not None
    spare = "fern is amber times 2 = 7 times 2 so fern is 3"
    assert chains.first_error(made, [spare, RIGHT[0], RIGHT[0], "The answer is 2"]) is None


@pytest.mark.parametrize(
    ("text", "stated"),
    [
        ("The answer is 3", "3"), ("no\nThe answer is 3\nThe answer is 4", "4"), ("The answer is 3.", "3"),
        ("The answer is 007", "007"), ("The answer is", None), ("the answer is 3", None), ("The answer is -3", None),
        ("The answer is three", None), ("", None), ("The  answer is 3", None),
    ],
)  # fmt: skip
def test_answer_reads_the_last_statement(text: str, stated: str | None) -> None:
    assert chains.answer(text) == stated


def test_what_a_teacher_says_counts_from_1() -> None:
    assert chains.critique(None) == "Every step is right"
    assert chains.critique(Finding(2, "operand", "amber is not 5")) == "Step 3 is wrong : amber is not 5"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "All values are modulo 11\nWhat is cedar ?",
        "All values are modulo 11\namber is 7\nWhat is cedar ?",
        "All values are modulo 0\namber is 7\nWhat is amber ?",
        "All values are modulo 11\namber is birch plus 1\nbirch is amber plus 1\nWhat is amber ?",
        "All values are modulo 11\namber is amber plus 1\nWhat is amber ?",
        "All values are modulo 11\namber was 7\nWhat is amber ?",
        "All values are modulo 11\namber is 7 divided 2\nWhat is amber ?",
        "All values are modulo eleven\namber is 7\nWhat is amber ?",
    ],
)
def test_what_is_no_chain_is_none(text: str) -> None:
    assert chains.parse(text) is None


def test_chains_that_cannot_be_made_are_refused() -> None:
    rng = random.Random(0)
    for operations, distractors in ((0, 0), (1, -1), (16, 0), (12, 8)):
        with pytest.raises(ValueError, match="no chain"):
            chains.generate(rng, operations, distractors)


def test_what_a_seed_gives_is_fixed() -> None:
    made = chains.generate(random.Random(20), 2, 1)
    assert chains.question(made) == chains.question(chains.generate(random.Random(20), 2, 1))
    assert len({chains.question(chains.generate(random.Random(i), 5, 2)) for i in range(200)}) == 200


words = st.sampled_from(
    [*chains.NAMES[:4], "is", "plus", "times", "=", "so", "The answer is", "7", "11", "\u0663", "\u00b2", "\n", " ",
     "What is amber ?", "All values are modulo 11\n", "\x00", "9" * 40]
)  # fmt: skip
hostile = st.lists(words | st.text(max_size=6), max_size=25).map(" ".join)


@settings(max_examples=400, deadline=None)
@given(seeds, hostile)
def test_hostile_text_never_raises(seed: int, text: str) -> None:
    made = chain(seed, most=4)
    found = chains.first_error(made, text.split("\n"))
    assert found is None or (found.kind in chains.KINDS and 0 <= found.step <= len(text.split("\n")))
    chains.critique(found)
    chains.answer(text)
    parsed = chains.parse(text)
    assert parsed is None or chains.first_error(parsed, chains.solve(parsed)) is None
    parsed = chains.parse(f"All values are modulo 11\n{text}\nWhat is amber ?")
    assert parsed is None or chains.first_error(parsed, chains.solve(parsed)) is None


LONG = "9" * 5000


@pytest.mark.parametrize(
    "steps",
    [[f"The answer is {LONG}"], [RIGHT[0].replace("7", LONG)], [RIGHT[0].replace("birch is 2", f"birch is {LONG}")]],
)
def test_numbers_that_python_does_not_convert_are_wrong_and_no_crash(steps: list[str]) -> None:
    assert BASE is not None
    found = chains.first_error(BASE, [*([] if len(steps[0]) > 6000 else RIGHT), *steps])
    assert found is not None


def test_problems_that_python_does_not_convert_are_none() -> None:
    for text in (f"modulo {LONG}\namber is 7", f"modulo 11\namber is {LONG}"):
        assert chains.parse(f"All values are {text}\nWhat is amber ?") is None


def test_rules_print_as_they_are_read() -> None:
    assert str(Rule("amber", "7")) == "amber is 7" and Rule("amber", "7").operands == ()
    assert str(Rule("a", "b", "plus", "3")) == "a is b plus 3" and Rule("a", "b", "plus", "3").operands == ("b",)
