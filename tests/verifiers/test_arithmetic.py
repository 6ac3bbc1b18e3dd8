"""Equations of a text: what is wrong is found, and what cannot be read is never called wrong."""

import operator
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from errata.verifiers.arithmetic import LONGEST_TEXT, equations, first_false


def said(text: str) -> list[bool]:
    return [e.holds for e in equations(text)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("3 + 4 = 7", [True]),
        ("3 + 4 = 8", [False]),
        ("A = ((-9 + -4 - -3 + -5) - (-5 * 3 + -2 * 8)) = ((-11) - (-31)) = 20.", [False, True]),
        ("2 + 2 = 4 = 5", [True, False]),
        ("So 10/4 = 2.5 and 10/4 = 2.6.", [True, False]),
        (r"\( \frac{1}{2} \cdot 10 = 5 \) and \[ 3 \times 4 = 13 \]", [True, False]),
        (r"$\frac{3 + 1}{2} = 2$, $5 \div 2 = 3.5$", [True, False]),
        ("It costs $1,200 + $300 = $1,500, or 1,200 * 2 = 2,300", [True, False]),
        ("20% of 50 = 10; 20/50 * 100 = 40%; 0.4 * 100 = 41%", [True, True, False]),
        ("2^3^2", []),
        ("2^10 = 1024 and 2^(-1) = 0.5 and (-2)^2 = 4 and 2**3 = 9", [True, True, True, False]),
        ("100/3 = 33.33, 33.33 * 3 = 100, 2/3 = 0.67, 2/3 = 0.66, 2/3 = 0.7", [True] * 5),
        ("10 / 3 = 3 rounded, 10 / 3 = 5", [True, False]),
        ("3 x 4 = 12, 3x4 = 13", [True, False]),
        ("[2 * {3 + (4 - 1)}] = 12", [True]),
        ("2(3 + 4) = 14 and (2)(3) = 7", [True, False]),
        (r"\boxed{3 + 4} = \boxed{7}", [True]),
        ("<<48/2=24>>24 clips, <<48/2=25>>", [True, False]),
        ("(which is 3 * 4 = 12) and (3 * 4 = 11)", [True, False]),
        ("3 * 4 = 12 (as 3 + 3 = 6 shows)", [True, True]),
        ("- 3 + 4 = 7", [True]),
        ("1. 3 + 4 = 7", [True]),
        ("7 \u2212 2 \u00d7 3 = 1", [True]),
        ("3 + 4\n= 7\n&= 8", [True, False]),
        (r"90^\circ + 45^\circ = 135^\circ", [True]),
        ("the sum is -3 + 5 = 2", [True]),
    ],
)
def test_equations_are_read_and_computed(text: str, expected: list[bool]) -> None:
    assert said(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "x + 3 = 5", "2x = 4", "3 + 4 = 5x", "3 + 4 = 2 * y", "f(3) = 10", "f(3) + 1 = 10", "5! = 120 and 3 + 5! = 8",
        r"\sqrt{16} = 5", r"3 + \sqrt{16} = 5", r"= 2\pi", r"3 + 4 = 2\pi", "|3 - 5| = 7", r"\binom{5}{2} = 3",
        "the sum of 3 and 4 * 2 = 14", "half of 20 + 2 = 11", "7 * 8 = 1 (mod 11)", r"7 + 8 \equiv 4, 7 + 8 = 4",
        "101_2 = 5 and 1 + 1 = 10_2", "1 + 2 + ... + 10 = 55", r"1 + \ldots + 10 = 55", "3 : 4 = 6 : 9",
        "apples - 3 = 4", "5 + 5 = 2 boxes * 5", "10 + 5 = 3 pm", "$1 - $0.25 = 75 cents", "3 + 4 != 8", "3 + 4 <= 8",
        "3 + 4 >= 8", "3 + 4 == 8", r"2\frac{1}{2} = 1", "5 1/2 = 3", "6/2(1+2) = 1", "-3^2 = 9", "2^0.5 = 7",
        "9^9^9 = 3", "9^99999999 = 3", "0^-1 = 3", "1/0 = 3", "1/(2 - 2) = 1", "3 + = 4", "(3 + 4 = (8",
        r"\frac12 = 3", r"\frac{1}{0} = 3", "3 + 4 =", "= 7", "==", "", "3 + 4 = 7 hundred and = 3", "441 (20) = 4",
        r"21^2 = 440 (-20)^2", "sum(3 + 4) = 8", "log 8 + 1 = 4", "20kg + 3kg = 24kg", "3 = 4", "year 5 = 6",
        "(3 + 4] = 8", "-3 apples + 5 = 9", "3 + 4 = 8\u221a2", "3 + \u221a4 = 6", "2\u00b2 + 1 = 6",
        "ivory is lotus times hazel = 7 times 10 so ivory is 4",
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_never_wrong(text: str) -> None:
    assert all(said(text))


def test_the_first_false_equation_is_found_with_its_step() -> None:
    found = first_false(["We add.", "3 + 4 = 7", "7 * 2 = 15 and 1 + 1 = 3", "1 + 1 = 5"])
    assert found is not None
    assert (found[0], found[1].left, found[1].right) == (2, "7 * 2", "15")
    assert first_false(["3 + 4 = 7", "words"]) is None and first_false([]) is None


@pytest.mark.parametrize(
    "text",
    [
        "(" * 5_000 + "1" + ")" * 5_000 + " = 2", "1" * 5_000 + " + 1 = 2", " + ".join("1" * 5_000) + " = 2",
        "2^4096^4096 = 2", "*".join(["9^999"] * 50) + " = 2", "1 = " * 4_000, "-" * 9_000 + "1 = 2",
        "1 + 1 = 3" + " " * LONGEST_TEXT, "\\" * 9_999 + " = 3", "{,}" * 5_000 + "= 3", "^" * 9_000 + " 1 = 3",
    ],
)  # fmt: skip
def test_a_monstrous_text_is_skipped_in_no_time(text: str) -> None:
    assert all(said(text))


@settings(max_examples=300, deadline=None)
@given(st.text(alphabet="0123456789+-*/^()[]{}=.,% x\\frac\n$abc", max_size=60))
def test_no_text_is_too_odd(text: str) -> None:
    assert all(isinstance(e.holds, bool) for e in equations(text))


EXPRESSIONS = st.recursive(
    st.integers(-20, 20).map(lambda n: (str(n) if n >= 0 else f"({n})", Fraction(n))),
    lambda inner: st.tuples(inner, st.sampled_from("+-*"), inner).map(
        lambda t: (
            f"({t[0][0]} {t[1]} {t[2][0]})",
            {"+": operator.add, "-": operator.sub, "*": operator.mul}[t[1]](t[0][1], t[2][1]),
        )
    ),
    max_leaves=12,
)


@settings(max_examples=200, deadline=None)
@given(EXPRESSIONS, st.integers(-3, 3))
def test_a_computed_value_holds_and_every_other_whole_number_fails(made: tuple[str, Fraction], by: int) -> None:
    text, value = made
    if any(sign in text for sign in "+*") or " - " in text:
        assert said(f"We find {text} = {int(value) + by}.") == [by == 0]
