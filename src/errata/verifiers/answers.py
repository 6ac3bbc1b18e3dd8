r"""Answers that need no algebra: a number, an exact text, a letter of a multiple choice.

Recorded attempts show the forms that are met:

    Johnny invested $20 + $10 = $<<20+10=30>>30 ... \nA: 90
    Thus, the answer is \boxed{\text{(B)}}.
"""

import re
from typing import Literal

from errata.records.types import Problem
from errata.registry import verifier
from errata.verifiers.base import Judgement
from errata.verifiers.judgements import judged, quoted, unknown
from errata.verifiers.readings import Number, boxed, numbers, read_number, stated

LETTERS = "ABCDEFGHIJ"

_LONGEST = 200
"""Characters of a statement in which its letters must stand."""

_LETTER = rf"(?:\(([{LETTERS}])\)|([{LETTERS}])(?![A-Za-z'\u2019]))"
_LEADING = re.compile(
    rf"[\W_]*?(?:(?i:option|choice)\s+)?[*$\s]*{_LETTER}((?:[\W_]*?(?:,|/|\bor\b|\band\b|&)[\W_]*?{_LETTER})*)"
)
_WORD = re.compile(r"[ \t]+(?!because|since|as\b|for\b|and\b|or\b|which|where|is\b)[a-z]")
_TEXT = re.compile(r"\\(?:text|mathrm|textbf|mathbf|textrm|mbox)\s*\{([^{}]*)\}")


@verifier(version=1)
def number(
    problem: Problem, text: str, *, after: str = "", missing: Literal["unknown", "fail"] = "unknown"
) -> Judgement:
    """The final number of the text equals the reference exactly.

    `after` is a marker, e.g. "A:", after whose last occurrence the answer stands; without one the usual places are read
    and, failing those, the last number of the text. `missing` is what a text without the marker gets: `fail` only where
    every author was bound to end with it.
    """
    wanted = _reference_number(problem.answer or "", after)
    if wanted is None:
        return unknown(f"the reference {problem.answer!r} is no number")
    if after and after not in text:
        return Judgement(outcome=missing, evidence=f"{after!r} does not occur")
    place = stated(text, after)
    if place.text is None and (after or boxed(text)):
        return unknown(place.why)
    found = read_number(place.text) if place.text is not None else next(iter(numbers(text)[-1:]), None)
    if found is None:
        return unknown(f"no number can be read in {quoted(place.text or text[-80:])}")
    return judged(found.equals(wanted), f"{str(found)[:80]} for {str(wanted)[:80]}")


@verifier(version=1)
def exact(problem: Problem, text: str, *, after: str = "", ignore_case: bool = False) -> Judgement:
    """The text, or what follows the last `after` in it, is the reference but for white space."""
    wanted = " ".join((problem.answer or "").split())
    if not wanted:
        return unknown("the problem has no reference answer")
    if after and after not in text:
        return unknown(f"{after!r} does not occur")
    found = " ".join((text.rpartition(after)[2] if after else text).split())
    if not found:
        return unknown("the text is empty")
    same = found.casefold() == wanted.casefold() if ignore_case else found == wanted
    return judged(same, quoted(found))


@verifier(version=1)
def choice(problem: Problem, text: str, *, after: str = "") -> Judgement:
    """The final letter, A to J, is the reference; several different ones are unknown."""
    wanted = re.fullmatch(rf"\W*([{LETTERS}])\W*", _bare((problem.answer or "").upper()))
    if not wanted:
        return unknown(f"the reference {problem.answer!r} is no letter from A to J")
    place = stated(text, after)
    if place.text is None and (after or boxed(text)):
        return unknown(place.why)
    found = _letters(_bare(place.text)) if place.text is not None else _last_letters(_bare(text))
    if len(found) != 1:
        several = f"several letters: {', '.join(sorted(found))}" if found else "no letter can be read"
        return unknown(f"{several} in {quoted(place.text or text[-80:])}")
    return judged(found == {wanted[1]}, ", ".join(found))


def _letters(segment: str) -> set[str]:
    """The letters that `segment` begins with; a bare A or I that begins a phrase is an article or a pronoun."""
    segment = segment[:_LONGEST]
    if re.fullmatch(rf"\W*[{LETTERS.lower()}]\W*", segment):
        segment = segment.upper()
    m = _LEADING.match(segment)
    if not m or (m[2] and m[2] in "AI" and not m[3] and _WORD.match(segment, m.end())):
        return set()
    return {m[1] or m[2], *(a or b for a, b in re.findall(_LETTER, m[3]))}


def _last_letters(text: str) -> set[str]:
    """The letter that is the whole last line, or all bracketed letters of that line."""
    lines = text.strip().splitlines()
    if not lines:
        return set()
    if re.fullmatch(rf"\W*[{LETTERS}{LETTERS.lower()}]\W*", lines[-1]):
        return _letters(lines[-1])
    return set(re.findall(rf"\(([{LETTERS}])\)", lines[-1]))


def _bare(text: str) -> str:
    """`text` without the LaTeX commands that only change its type."""
    return _TEXT.sub(r"\1", text)


def _reference_number(answer: str, after: str) -> Number | None:
    """A reference may be a bare number or a whole gold solution with the same marker."""
    place = stated(answer, after) if after and after in answer else stated(answer)
    return read_number(answer if place.text is None else place.text)
