r"""The answers that a text states on its way: a long trace answers, checks itself, and answers again.

A candidate is a step, or steps in a row with one value, that states an answer to the problem:

    chains      "... so TARGET is 7", "The answer is 7"
    elsewhere   \boxed{7}, "#### 7", "the answer is 7"; and a step that ends in "= 7" where 7 is stated so elsewhere

What follows a candidate up to the next one is a reflection (arXiv:2510.08308), told by the two verdicts.
"""

import re
from collections.abc import Iterator, Sequence
from typing import Literal, NamedTuple

from msgspec.structs import replace

from errata import chains
from errata.records.types import Outcome, Problem, Step
from errata.verifiers.readings import read_number, stated

_RESULT = 40
"""Characters that may follow the last `=` of a step for what follows to be its result."""

Reflection = Literal["right_to_right", "same_wrong", "other_wrong", "wrong_to_right", "right_to_wrong", "unknown"]


class Candidate(NamedTuple):
    """An answer stated on the way."""

    first: int
    """0-based index of the step that states it."""
    last: int
    """Index of the last step in a row that states it."""
    value: str
    """The answer in a normal form: equal answers have equal values."""
    statement: str
    """Words from which a verifier reads the answer."""


def candidates(problem: Problem, texts: Sequence[str]) -> tuple[Candidate, ...]:
    """The answers stated by the steps `texts`, in order; one restated by the very next step is one candidate."""
    chain = chains.parse(problem.text)
    found = list(_of_chain(chain.target, texts) if chain else _of_text(texts))
    merged: list[Candidate] = []
    for one in found:
        if merged and merged[-1].value == one.value and one.first == merged[-1].last + 1:
            merged[-1] = one._replace(first=merged[-1].first)
        else:
            merged.append(one)
    return tuple(merged)


def reflection(before: tuple[str, Outcome], after: tuple[str, Outcome]) -> Reflection:
    """What a reflection did, from (value, verdict) of the answer before it and of the one after it."""
    (old, was), (new, now) = before, after
    if "unknown" in (was, now):
        return "unknown"
    if was == "fail" and now == "fail":
        return "same_wrong" if old == new else "other_wrong"
    words = {"pass": "right", "fail": "wrong"}
    return f"{words[was]}_to_{words[now]}"  # type: ignore[return-value]


def thinking(steps: Sequence[Step], close: str) -> tuple[tuple[Step, ...], tuple[Step, ...]] | None:
    """(steps before the tag `close`, steps from the tag on), a step that holds it cut in two; with no tag, all steps.

    None where the tag is asked for and does not occur, so that no thought is taken for a conclusion.
    """
    if not close:
        return tuple(steps), ()
    for i, step in enumerate(steps):
        # The last tag of a trace would be its own words about tags; the first closes the thought.
        at = step.text.find(close)
        if at >= 0:
            head = (replace(step, text=step.text[:at]),) if step.text[:at].strip() else ()
            return (*steps[:i], *head), (replace(step, text=step.text[at:]), *steps[i + 1 :])
    return None


def _of_chain(target: str, texts: Sequence[str]) -> Iterator[Candidate]:
    pattern = re.compile(rf"(?m)(?:^The answer is|\bso {re.escape(target)} is) (\d+)\s*$")
    for i, text in enumerate(texts):
        said = pattern.findall(text)
        if said:
            value = said[-1].lstrip("0") or "0"
            yield Candidate(i, i, value, f"The answer is {value}")


def _of_text(texts: Sequence[str]) -> Iterator[Candidate]:
    explicit = {i: said for i, text in enumerate(texts) if (said := stated(text).text) and not _blank(said)}
    values = {_normal(said) for said in explicit.values()}
    for i, text in enumerate(texts):
        if i in explicit:
            yield Candidate(i, i, _normal(explicit[i]), text)
        elif (result := _result(text)) and _normal(result) in values:
            yield Candidate(i, i, _normal(result), f"The answer is \\boxed{{{result}}}")


def _blank(said: str) -> bool:
    """Whether a box is there to be filled in: it holds no word or number."""
    return not re.search(r"\w", re.sub(r"\\phantom\s*\{[^{}]*\}", "", said))


def _result(text: str) -> str:
    """The number that a step ends with after `=`; empty where it ends otherwise."""
    _, equals, tail = text.rpartition("=")
    number = read_number(tail) if equals and len(tail.strip()) <= _RESULT else None
    return str(number) if number else ""


def _normal(said: str) -> str:
    number = read_number(said)
    return str(number) if number is not None else " ".join(said.casefold().split()).strip("$. ")
