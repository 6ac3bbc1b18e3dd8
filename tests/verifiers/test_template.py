"""The form of a thought template, and each way to break it."""

import pytest

from errata.records.types import Message, Problem
from errata.verifiers.template import thought_template

P = Problem(id="p", messages=(Message(role="user", content="?"),), verifier="exact")
WHOLE = (
    "<Step1>\na < b so c\n</Step1>\n<Step2>\n<Key>mind the sign</Key>\nd\n</Step2>\n"
    "<Generalized>first this\nthen that</Generalized>\nThe answer is 3"
)


def broken(text: str) -> list[str]:
    judged = thought_template(P, text)
    found = [c.name for c in judged.checks if c.outcome == "fail"]
    assert judged.outcome == ("fail" if found else "pass") and judged.evidence == ", ".join(found)
    return found


def test_a_whole_template_passes_with_or_without_keys_and_blank_lines() -> None:
    assert broken(WHOLE) == []
    assert broken(WHOLE.replace("<Key>mind the sign</Key>\n", "")) == []
    assert broken("\n" + WHOLE.replace("</Step1>\n", "</Step1>\n\n")) == []


@pytest.mark.parametrize(
    ("old", "new", "first"),
    [
        ("<Step2>", "<Step3>", "steps"),
        ("Step2>", "Step3>", "steps"),
        ("a < b so c", " ", "steps"),
        ("</Step1>", "", "steps"),
        ("</Step1>\n", "</Step1>\naside\n", "generalized"),
        ("</Step1>\n", "</Step1>\n<Key>x</Key>\n", "generalized"),
        ("<Key>mind", "<Key><Key>mind", "keys"),
        ("</Key>", "", "keys"),
        ("<Generalized>first this\nthen that</Generalized>", "", "generalized"),
        ("first this\nthen that", "", "generalized"),
        ("first this", "<Key>first</Key>", "generalized"),
        ("\nThe answer is 3", "", "answer"),
        ("The answer is 3", "<Key>The answer is 3</Key>", "answer"),
        ("The answer is 3", "<Generalized>again</Generalized>\nThe answer is 3", "answer"),
    ],
)
def test_each_rule_can_be_broken(old: str, new: str, first: str) -> None:
    assert old in WHOLE
    assert broken(WHOLE.replace(old, new))[0] == first


def test_any_text_is_judged() -> None:
    assert broken("") == ["steps", "generalized", "answer"]
    assert broken("The answer is 3") == ["steps", "generalized"]
