"""Claims of steps, and where two solutions differ."""

from fractions import Fraction

import pytest

from errata.verifiers.claims import claims, contradiction, new_value, shared, used


@pytest.mark.parametrize(
    ("step", "expected"),
    [
        ("ivory is lotus times hazel = 7 times 10 so ivory is 4", [("ivory", 4)]),
        ("The answer is 3", [("answer", 3)]),
        ("So the total cost is $1,200.", [("total cost", 1200)]),
        ("x = 2.5 and y = 3", [("x", Fraction(5, 2)), ("y", 3)]),
        ("We get 3 * 4 = 12.", [("3*4", 12)]),
        ("x = 3 + 4", []),
        ("x is 5 times larger", []),
        ("nothing here", []),
    ],
)
def test_claims_are_read(step: str, expected: list[tuple[str, int]]) -> None:
    assert [(c.subject, c.value) for c in claims(step)] == expected


def test_the_first_contradiction_and_the_first_new_value() -> None:
    right = ["u is 3", "b is 4", "c is 12"]
    assert contradiction(["b is 4", "u is 3", "c is 12"], right) is None, "another order is no contradiction"
    found = contradiction(["d is 9", "b is 5", "u is 4"], right)
    assert found is not None and (found.step, str(found.claim)) == (1, "b is 5")
    new = new_value(["u is 3", "d is 9"], right)
    assert new is not None and new.step == 1 and new_value(["u is 4"], right) is None
    assert new_value(["u is 3"], ["words"]) is None
    assert shared(["u is 1", "z is 2"], right) == 1


def test_a_result_is_used_by_name_where_the_problem_names_it_and_else_by_value() -> None:
    named = "What is cedar ?\ncedar is amber plus 1\namber is 7"
    assert used("so amber is 7", ["cedar is amber plus 1"], named)
    assert not used("so amber is 7", ["cedar is 7 plus 1"], named), "the number stands there by chance"
    assert used("2 * 6 = 12", ["12 + 3 = 15"], "What?") and not used("2 * 6 = 12", ["so 3 * 5 = 15"], "What?")
    assert used("words", ["more"], "What?") and used("x is 3", [], "What?"), "the last step has nothing after it"
