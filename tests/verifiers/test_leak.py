"""What a critique gives away, and what only looks as if it did."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from errata import chains
from errata.records.types import Message, Problem
from errata.verifiers.leak import leaked, leaks, masked

CHAIN = """All values are modulo 11
birch is amber plus 6
cedar is birch times amber
amber is 5
What is cedar ?"""


def problem(answer: str | None, text: str = "How many are left?", solution: tuple[str, ...] = ()) -> Problem:
    return Problem(
        id="p", messages=(Message(role="user", content=text),), verifier="v", answer=answer, solution=solution
    )


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        # a long answer, wherever it stands by itself
        ("1250", "You forgot the tax, it comes to 1250 in all"),
        ("1250", "so 1,250 dollars"),
        ("1,250", "so 1250 dollars"),
        ("1250", "so 1250.00 dollars"),
        ("1250", "that is $1250."),
        ("12.50", "they pay $12.5 each"),
        ("Paris", "No: it is paris"),
        ("x^2+1", "you should have found x^2+1 here"),
        # a short one, where the text asserts it
        ("7", "the answer is 7"),
        ("7", "The answer:7"),
        ("7", "the correct result is **7**"),
        ("7", "the result should be\n7"),
        ("7", "the value must be 7, since 3 plus 4 is more than 6"),
        ("7", "it should be 7 minus nothing? no, it should be 7"),
        ("7", "so the total of 7 is what you want"),
        ("7", "2 + 5 = 7"),
        ("7", "2 + 5 =7"),
        ("7", "x=7"),
        ("7", "which gives 7 and not 9"),
        ("7", "that equals $7.00"),
        ("7", r"hence \boxed{7}"),
        ("7", "the answer is not 5 but 7"),
        ("7", "the answer is seven."),
        ("-7", "the result is -7"),
        ("42", "you get 42 apples"),
        ("3/4", "the answer is 3/4"),
        ("B", "the answer is B"),
        ("B", "the answer is (B)"),
        ("yes", "the answer is Yes"),
        ("3", "cedar is 3"),  # what the problem of the chain asks for
    ],
)
def test_given_away(answer: str, text: str) -> None:
    found = leaked(problem(answer, CHAIN), text)
    assert found is not None and found.startswith("the reference answer") and "\n" not in found


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        # the procedural family's own critiques
        ("5", "Step 2 is wrong : amber is not 5"),
        ("3", "Step 1 is wrong : 2 plus 6 is not 3"),
        ("2", "Step 2 is wrong : 2 plus 6 is not 3"),
        ("6", "Wait : Step 3 is wrong : 2 plus 6 is not 3"),
        ("3", "Step 3 is wrong : it is not the value of cedar"),
        ("7", "Step 7 is wrong : cedar is birch times amber"),
        ("3", "Step 3 is wrong : the answer is missing"),
        ("6", "Step 1 is wrong : birch is amber plus 6"),
        # steps and other places that are counted
        ("3", "the result of step 3 is off"),
        ("3", "the value in line 3 is off"),
        ("4", "the value of steps 3 and 4"),
        ("1", "the solution of problem 1 is longer"),
        # numbers that are computed with
        ("2", "the result of 2 plus 6 is off"),
        ("6", "the result of 2 plus 6 is off"),
        ("2", "the product 2 * 6 is off"),
        ("6", "the product 2 * 6 is off"),
        ("6", "the value of 10 - 6 is off"),
        ("10", "the value of 10 - 6 is off"),
        # denied
        ("7", "the result is not 7"),
        ("7", "the result isn't 7"),
        ("7", "the total should not be 7"),
        ("7", "the answer is never 7"),
        ("7", "the value 5 instead of 7"),
        # a part of another number or word
        ("7", "the answer is 17"),
        ("7", "the answer is 7.5"),
        ("7", "the answer is 0.7"),
        ("7", "the answer is -7"),
        ("7", "the answer is 7,500"),
        ("7", "the answer is 7th in the list"),
        ("7", "the answer is 7/2"),
        ("125", "look at 1250 again"),
        ("125", "look at 125.5 again"),
        # words that happen to be answers
        ("A", "the answer is a number"),
        ("B", "the answer is below zero"),
        ("yes", "yes, you forgot the tax"),
        ("True", "it is true that you carried the one"),
        ("2", "the sum of the two is off"),
        ("1", "the solution is one of three"),
        # nothing to give away
        ("7", ""),
        ("7", " \n "),
        ("7", "Look at the second step again."),
    ],
)
def test_not_given_away(answer: str, text: str) -> None:
    assert leaked(problem(answer, CHAIN.replace("cedar ?", "cedar ?")), text) is None


def test_a_number_of_the_problem_itself_leaks_only_as_the_answer() -> None:
    p = problem("100", "A train of 100 seats has 250 guests. How many stand?")
    assert leaked(p, "The train has 100 seats, use that") is None
    assert leaked(p, "The answer is 100") is not None
    assert leaked(problem("150", p.text), "so 150 of them stand") is not None


def test_what_is_asked_for_must_not_be_said() -> None:
    p = problem("5", CHAIN)
    assert leaked(p, "amber is 5") is None, "amber is given"
    assert leaked(p, "cedar is 5") is not None
    assert leaked(problem("5"), "cedar is 5") is None, "no chain asks for it"


def test_gold_steps() -> None:
    steps = ("birch is amber plus 6 = 5 plus 6 so birch is 0", "The answer is 0", "short")
    p = problem(None, CHAIN, steps)
    assert leaked(p, "Wait:  birch is amber\nplus 6 = 5 plus 6 so birch is 0") == f"the gold step {steps[0]!r}"
    assert leaked(p, "birch is amber plus 6") is None
    assert leaked(p, "that is too short") is None, "too little to be told from anything else"
    assert leaked(problem(None), "The answer is 0") is None, "no reference, nothing to give away"


def test_hostile_answers_and_texts_are_data() -> None:
    for answer in ("(", "[a-", "\\", ".*", "$5", "a|b", "{", "\u0660"):
        assert leaked(problem(answer), f"the answer is {answer}") is not None
        leaked(problem(answer), "((" * 50)
    assert leaked(problem(".*"), "the answer is anything") is None
    assert leaked(problem("7"), "= " * 20_000 + "8") is None


@settings(max_examples=300, deadline=None)
@given(st.integers(0, 10**9))
def test_the_familys_own_critiques_never_leak_and_its_answers_always_do(seed: int) -> None:
    rng = random.Random(seed)
    chain = chains.generate(rng, rng.randint(1, 7), rng.randint(0, 3))
    gold = chains.solve(chain)
    p = problem(chains.answer(gold[-1]), chains.question(chain), tuple(gold))
    kind = rng.choice([k for k in chains.KINDS if k != "format"])
    steps = chains.slip(rng, chain, kind)
    if steps is not None:
        said = chains.critique(chains.first_error(chain, steps))
        assert leaked(p, f"Wait : {said}") is None, said
    for said in (gold[-1], gold[rng.randrange(len(gold))], f"it should be {p.answer}", f"{chain.target} is {p.answer}"):
        assert leaked(p, f"Wait : {said}") is not None, said


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        ("0.75", "the probability is 75%"),
        ("0.75", r"hence \frac{3}{4} of them"),
        ("0.75", r"hence \dfrac{3}{4} of them"),
        ("3/4", "so 0.75 of them"),
        ("3/4", "the answer is three quarters."),
        ("3/4", "so seventy-five percent, no less"),
        (r"\frac{3}{4}", "so 6/8 of them"),
        ("1250", "it comes to 1.25 thousand"),
        ("1250", "so one thousand two hundred and fifty."),
        ("768", "that makes seven hundred sixty-eight."),
        ("42", "the result is forty-two."),
        ("-7", "the result is minus seven"),
        ("2 1/2", "the answer is 2.5"),
        ("2.5", "so 2 1/2 of them"),
    ],
)
def test_equal_numbers_in_figures_and_words_are_the_answer(answer: str, text: str) -> None:
    found = leaked(problem(answer), text)
    assert found is not None and found.startswith("the reference answer")


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        ("0.75", "7/5 is not what you want"),
        ("0.5", "the train is 1/3 full"),
        ("75", "0.75 of them"),
        ("7", "in 7 steps you lose the sign"),
        ("7", "seven steps are too many"),
        ("1", "one of them is wrong"),
        ("768", "look at 7680 and 76.8 and -768 again"),
        ("0.75", "divide 3 by 4/0"),
    ],
)
def test_other_numbers_are_not(answer: str, text: str) -> None:
    assert leaked(problem(answer), text) is None


@pytest.mark.parametrize(
    "text",
    ["the correct answer is something else", "The expected result should be larger", "unlike the reference solution",
     "see the answer key", "it is 5, as given", "as stated in the answer", "the ground truth differs"],
)  # fmt: skip
def test_talk_of_a_reference_is_found_where_it_is_asked_for(text: str) -> None:
    p = problem("1250")
    assert leaked(p, text) is None
    assert [found.rule for found in leaks(p, text, phrases=True)] == ["phrase"]


@pytest.mark.parametrize(
    "text",
    ["the correct answer is not reached", "amber is 7 as given in the problem", "your answer is off",
     "the correct operation is a product", "refer to the third line", "solve it by the given rule"],
)  # fmt: skip
def test_other_talk_is_not(text: str) -> None:
    assert not leaks(problem("1250"), text, phrases=True)


def test_words_in_a_row_of_a_gold_step_unless_they_are_known() -> None:
    gold = "Tom gains on Bob by fifteen miles in every hour of the race"
    p = problem(None, "Tom and Bob race.", (gold,))
    said = "Remember that Tom gains on Bob by fifteen miles in every hour, do you not?"
    (found,) = leaks(p, said, words=6)
    assert said[found.start : found.end] == "Tom gains on Bob by fifteen miles in every hour"
    assert not leaks(p, said) and not leaks(p, said, words=12)
    assert not leaks(p, said, [gold], words=6), "what the attempt says is no secret"
    assert not leaks(problem(None, gold, (gold,)), said, words=6), "nor what the problem says"


@settings(max_examples=200, deadline=None)
@given(st.lists(st.sampled_from(["so 1250 it is", "**1,250**", "`1250`", "look", "\n", "the correct answer is", "."])))
def test_masked_text_holds_no_leak_and_keeps_all_else(parts: list[str]) -> None:
    text, p = " ".join(parts), problem("1250")
    found = leaks(p, text, phrases=True)
    hidden = masked(text, found, "[...]")
    assert not leaks(p, hidden, phrases=True)
    assert ("[...]" in hidden) == bool(found) and (found or hidden == text)
    assert all(0 <= f.start < f.end <= len(text) for f in found)
