"""What two solutions of one problem claim, set side by side: where one says what the other contradicts.

A claim gives a subject a value: `ivory is 4`, `total cost = $12`, `3 * 4 = 12`. Nothing here knows the problem.
"""

import re
from collections.abc import Iterator, Sequence
from fractions import Fraction
from typing import NamedTuple

from errata.verifiers.arithmetic import equations

_CLAIM = re.compile(
    r"(?P<subject>[^\W\d_][^\n=.,;:?!()]{0,80}?)\s*(?:=|\b(?:is|are|equals|was|were)\b)\s*\$?"
    r"(?P<value>-?(?:[0-9]{1,3}(?:,[0-9]{3})+|[0-9]{1,30})(?:\.[0-9]{1,30})?)(?![\w^(]|[.,/]\d|\s*[-+*/^=]|\s+"
    r"(?:plus|minus|times|over|more|less|divided|multiplied)\b)"
)
_NUMBER = re.compile(r"(?<![\w.])[0-9][0-9,]{0,40}(?:\.[0-9]{1,30})?")
_LINK = re.compile(r".*\b(?:so|then|thus|therefore|hence|and|that|get|have|which|means|find|gives|now|but|or)\b", re.I)
_ARTICLES = frozenset("the a an this final our its their his her".split())
_LONGEST_SUBJECT = 4


class Claim(NamedTuple):
    """A value that a step gives to something."""

    subject: str
    value: Fraction

    def __str__(self) -> str:
        return f"{self.subject} is {self.value}"


class Difference(NamedTuple):
    """The first step (0-based) of a solution that differs from another, and the claim that does."""

    step: int
    claim: Claim


def claims(step: str) -> tuple[Claim, ...]:
    """All claims of a step, its readable equations included."""
    return tuple(_claims(step))


def _claims(step: str) -> Iterator[Claim]:
    for found in _CLAIM.finditer(step[:20_000]):
        subject = _LINK.sub("", found["subject"])
        words = [w for w in re.findall(r"[^\W_]+", subject.lower()) if w not in _ARTICLES]
        # With a number or a sign in it, it is an equation, which is read below if it can be.
        if words and not re.search(r"[-+*/^\d]", subject):
            yield Claim(" ".join(words[-_LONGEST_SUBJECT:]), Fraction(found["value"].replace(",", "")))
    for equation in equations(step):
        number = equation.right.replace(",", "")
        if re.fullmatch(r"-?\d{1,60}(\.\d{1,60})?", number):
            yield Claim(equation.left.replace(" ", ""), Fraction(number))


def contradiction(steps: Sequence[str], others: Sequence[str]) -> Difference | None:
    """The first step that gives a subject a value which the other solution never gives it, though it gives it one."""
    told: dict[str, set[Fraction]] = {}
    for other in others:
        for claim in claims(other):
            told.setdefault(claim.subject, set()).add(claim.value)
    for i, step in enumerate(steps):
        for claim in claims(step):
            if claim.value not in told.get(claim.subject, {claim.value}):
                return Difference(i, claim)
    return None


def new_value(steps: Sequence[str], others: Sequence[str]) -> Difference | None:
    """The first step none of whose values is one that the other solution computes."""
    computed = {claim.value for other in others for claim in claims(other)}
    for i, step in enumerate(steps):
        mine = claims(step)
        if mine and computed and not any(claim.value in computed for claim in mine):
            return Difference(i, mine[-1])
    return None


def shared(steps: Sequence[str], others: Sequence[str]) -> int:
    """How many subjects both solutions speak of."""
    mine, theirs = ({c.subject for s in side for c in claims(s)} for side in (steps, others))
    return len(mine & theirs)


def used(step: str, later: Sequence[str], named: str) -> bool:
    """Whether what a step computes comes up in a later one: by its name where the text `named` (the problem) has it.

    Otherwise by its value; a step that computes nothing readable counts as used.
    """
    mine = claims(step)
    if not mine or not later:
        return True
    claim, after = mine[-1], "\n".join(later)
    if re.search(rf"\b{re.escape(claim.subject)}\b", named, re.IGNORECASE):
        return re.search(rf"\b{re.escape(claim.subject)}\b", after, re.IGNORECASE) is not None
    return any(Fraction(n.replace(",", "")) == abs(claim.value) for n in _NUMBER.findall(after))
