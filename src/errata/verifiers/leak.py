"""Does a critique or reflection give away what its maker was shown: the reference answer or the gold steps?

The rules err on the side of finding a leak: a splice that is dropped for nothing costs one row, a leak teaches a model
to know what it cannot know. What the attempt itself says is no secret: a critique may quote it. What the rules cannot
see is a paraphrase ("one less than eight"), which only an engine that is asked for the answer can find.
"""

import re
from collections.abc import Iterable, Iterator
from fractions import Fraction
from typing import Literal, NamedTuple

from errata import chains
from errata.records.types import Problem
from errata.verifiers.numerals import spelled
from errata.verifiers.readings import Number, read_number

_SHORT = 3
"""Answers below this length occur by chance; they leak only where the text asserts them."""

_LEAST_STEP = 12
"""Gold steps up to this length say too little to be told from anything else."""

_ASSERTS = re.compile(
    r"(?:\b(?:answer|result|total|sum|product|value|solution|conclusion|should be|must be|has to be|ought to be|"
    r"equals?|gets?|gives?|yields?|obtains?|comes to|boxed|actually|really)\b|=|\u2192|->)[^.!?;]{0,24}$",
    re.IGNORECASE,
)
"""Ends just before the answer where the text states it as one."""

_DENIES = re.compile(
    r"(?:\bnot|n['\u2019]t|\bnever|\binstead of|\brather than|\bcannot|\bno longer)"
    r"(?:\s+(?:be|equal|equals|to|the|exactly|simply|just|a|an))*\W*$",
    re.IGNORECASE,
)
"""Ends just before the answer where the text says that it is something else."""

_PLACE = re.compile(r"\b(?:steps?|lines?|equation|part|item|problem|question|modulo|mod)\s*[#(\[]?$", re.IGNORECASE)
_BEFORE = re.compile(r"(?:\b(?:plus|minus|times|by|and|over)\s+|[+*/^\u00d7\u00f7]\s*|\d\s+-\s*|-)$")
_AFTER = re.compile(
    r"\s*(?:(?:plus|minus|times|divided|over)\b|and\s+\d|[+*/^\u00d7\u00f7]\s*\w|-\s*(?:\d|[a-z]\b))", re.IGNORECASE
)
"""The number counts steps, or is computed with."""

_COMMON = frozenset("yes no true false none valid invalid".split())
"""Answers that any text may hold."""

_SPOKEN_OF = re.compile(
    r"\b(?:the|its|your)\s+(?:correct|right|true|expected|actual|reference|intended)\s+(?:final\s+|overall\s+)?"
    r"(?:answer|result|value|solution|total|number)\s*"
    r"(?:is|was|would be|should be|must be|has to be|should have been|equals|comes to|=|:)"
    r"(?!\s+(?:not\b|never\b|missing\b|unknown\b|unclear\b|different\b|reached\b|obtained\b|found\b|given by\b))"
    r"(?P<rest>(?:(?![.;!?)](?:\s|$)).){0,60})"
    r"|\b(?:reference|gold|official)\s+(?:answer|solution|steps?)\b|\banswer\s+key\b|\bground[\s-]truth\b"
    r"|\b(?:as|which is)\s+(?:given|provided|stated|shown)\s+(?:in|by)\s+the\s+(?:reference|answer|solution|key)\b"
    r"|\bas\s+given\b(?!\s+(?:in|by|above|at|for|here|earlier|to)\b)",
    re.IGNORECASE,
)
"""Talks of the answer or solution as of something that its writer was shown, whatever it says of it."""

_NUMERAL = re.compile(
    r"(?<![\w.,\\])(?<![-\u2212](?=[\d.$]))(?P<sign>(?<![\w)\]])[-\u2212])?\$?"
    r"(?:\\[dt]?frac\s*\{(?P<top>\d{1,18})\}\s*\{(?P<bottom>\d{1,18})\}"
    r"|(?:(?P<whole>\d{1,18})\s+)?(?P<over>\d{1,18})\s?/\s?(?P<under>\d{1,18})"
    r"|(?P<plain>\d{1,3}(?:,\d{3}){1,6}(?:\.\d{1,18})?|\d{1,18}(?:\.\d{1,18})?|\.\d{1,18}))"
    r"(?:\s*(?P<scale>hundred|thousand|million|billion)\b)?(?P<percent>\s*(?:\\?%|percent\b|per cent\b))?"
    r"(?![\w]|[.,]\d|/\d)",
    re.IGNORECASE,
)
_SCALES = {"hundred": 10**2, "thousand": 10**3, "million": 10**6, "billion": 10**9}

Rule = Literal["answer", "gold_step", "gold_words", "phrase"]


class Leak(NamedTuple):
    """A place of a text that gives something away: its characters, the rule that found it, and what it is."""

    start: int
    end: int
    rule: Rule
    what: str


def leaked(problem: Problem, text: str, known: Iterable[str] = ()) -> str | None:
    """What `text` gives away of the problem's privileged answer or solution, or None.

    A long answer leaks wherever it stands by itself; a short one, such as `7`, and one that the problem itself mentions
    leak where they are stated as an answer, in figures, in words or as an equal number. A gold step leaks where it
    stands word for word. `known` are texts that are no secret, such as the steps of the attempt that is spoken of.
    """
    return next((found.what for found in leaks(problem, text, known)), None)


def leaks(
    problem: Problem, text: str, known: Iterable[str] = (), *, phrases: bool = False, words: int = 0
) -> tuple[Leak, ...]:
    """Every place of `text` that gives something away, in order; see `leaked`.

    With `phrases`, also talk of a reference ("the correct answer is", "as given"), whatever it says. With `words`, also
    so many words in a row of a gold step that stand neither in the problem nor in `known`.
    """
    plain = _plain(text)
    quiet = tuple(_plain(k).text for k in known)
    said = plain.text
    for quote in sorted({q for q in quiet if len(q) > _LEAST_STEP}, key=len, reverse=True):
        said = said.replace(quote, "\0" * len(quote))
    found = [
        *_answers(problem, said, quiet),
        *_gold_steps(problem, said),
        *(_gold_words(problem, said, quiet, words) if words else ()),
        *((Leak(*m.span(), "phrase", f"talk of a reference: {m[0].strip()!r}") for m in _SPOKEN_OF.finditer(said))
          if phrases else ()),
    ]  # fmt: skip
    return tuple(f._replace(start=plain.places[f.start], end=plain.places[f.end - 1] + 1) for f in sorted(found))


def masked(text: str, found: Iterable[Leak], placeholder: str) -> str:
    """`text` with a placeholder in the place of every leak; what overlaps shares one."""
    kept, at = [], 0
    for leak in sorted(found):
        if leak.start >= at:
            kept += [text[at : leak.start], placeholder]
        at = max(at, leak.end)
    return "".join([*kept, text[at:]])


class _Plain(NamedTuple):
    """A text without emphasis and with single blanks, and where each of its characters stands in the original."""

    text: str
    places: list[int]


def _plain(text: str) -> _Plain:
    kept: list[str] = []
    places: list[int] = []
    for piece in re.finditer(r"\*\*|`|\s+|[^\s*`]+|\*", text):
        if piece[0] in ("**", "`"):
            continue
        if piece[0].isspace():
            if kept and kept[-1] != " ":
                kept.append(" ")
                places.append(piece.start())
            continue
        kept += piece[0]
        places += range(*piece.span())
    if kept and kept[-1] == " ":
        kept.pop(), places.pop()
    return _Plain("".join(kept), places)


def _answers(problem: Problem, said: str, quiet: tuple[str, ...]) -> Iterator[Leak]:
    answer = " ".join((problem.answer or "").split())
    if not answer:
        return
    value = _value(answer)
    mentioned = [" ".join(problem.text.split()), *quiet]
    chance = len(answer) < _SHORT or answer.lower() in _COMMON or any(_has(t, answer, value) for t in mentioned)
    told = f"the reference answer {answer!r}"
    exact = set(_standing(answer, said))
    for start, end in sorted(exact):
        if not chance:
            yield Leak(start, end, "answer", told)
        elif _asserted(problem, said, start, end):
            yield Leak(start, end, "answer", f"{told}, stated as such")
    for start, end in sorted(set(_equal(value, said)) - exact):
        other = said[start:end]
        # A small whole number is met by chance; a fraction, decimal or percentage that equals the answer is not.
        plain = chance or (other.isdigit() and len(other) < _SHORT)
        if not plain or _asserted(problem, said, start, end):
            yield Leak(start, end, "answer", f"{told} as {other!r}")


def _gold_steps(problem: Problem, said: str) -> Iterator[Leak]:
    for step in problem.solution:
        gold = " ".join(step.split())
        if len(gold) > _LEAST_STEP:
            for found in re.finditer(re.escape(gold), said):
                yield Leak(*found.span(), "gold_step", f"the gold step {gold!r}")


def _gold_words(problem: Problem, said: str, quiet: tuple[str, ...], n: int) -> Iterator[Leak]:
    """Runs of n or more words of a gold step; signs count as words."""
    secret = {gram for step in problem.solution for gram in _grams(_tokens(step), n)}
    secret -= {gram for text in (problem.text, *quiet) for gram in _grams(_tokens(text), n)}
    places = [(m.group().lower(), m.span()) for m in _TOKEN.finditer(said)]
    start, end = -1, -1
    for i, gram in enumerate(_grams([word for word, _ in places], n)):
        if gram not in secret:
            continue
        if places[i][1][0] > end and end >= 0:
            yield Leak(start, end, "gold_words", f"words of a gold step: {said[start:end]!r}")
            start = -1
        start = places[i][1][0] if start < 0 else start
        end = places[i + n - 1][1][1]
    if end >= 0:
        yield Leak(start, end, "gold_words", f"words of a gold step: {said[start:end]!r}")


_TOKEN = re.compile(r"\w+|[^\w\s\0]")


def _tokens(text: str) -> list[str]:
    return [word.lower() for word in _TOKEN.findall(text)]


def _grams(words: list[str], n: int) -> Iterator[tuple[str, ...]]:
    return (tuple(words[i : i + n]) for i in range(len(words) - n + 1))


def _value(answer: str) -> Number | None:
    """The answer as a number, where it is one and nothing else."""
    bare = answer.strip("$ ")
    found = _NUMERAL.fullmatch(bare)
    return _number(found) if found else read_number(bare) if re.fullmatch(r"[-+\d.,/ ]+%?", bare) else None


def _number(found: re.Match[str]) -> Number | None:
    top, bottom = found["top"] or found["over"], found["bottom"] or found["under"]
    if bottom and not int(bottom):
        return None
    value = Fraction(int(top), int(bottom)) if top and bottom else Fraction((found["plain"] or "0").replace(",", ""))
    value = (value + int(found["whole"] or 0)) * _SCALES.get((found["scale"] or "").lower(), 1)
    return Number(-value if found["sign"] else value, bool(found["percent"]))


def _equal(value: Number | None, said: str) -> Iterator[tuple[int, int]]:
    """Where a number stands that equals the answer: as a fraction, decimal, percentage or LaTeX."""
    if value is None:
        return
    for found in _NUMERAL.finditer(said):
        number = _number(found)
        if number is not None and value.equals(number):
            yield found.span()


def _has(text: str, answer: str, value: Number | None) -> bool:
    return next(_standing(answer, text), None) is not None or next(_equal(value, text), None) is not None


def _forms(answer: str) -> Iterator[str]:
    """Patterns of the ways to write an answer: as it is, and a number with and without separators, sign and words."""
    yield re.escape(answer)
    number = re.fullmatch(r"[-+]?\$?(\d[\d,]*)(\.\d+)?", answer)
    value = _value(answer)
    for words in spelled(value.value) if value and not value.percent else ():
        # As a word, the number must end its clause: "one of the two" counts, and states nothing.
        yield words + r"(?=\s*(?:$|[.,;:!?)]))"
    if number is None:
        return
    sign, whole, rest = "-" if answer.startswith("-") else "", number[1].replace(",", ""), number[2] or ""
    rest = rest.rstrip("0").rstrip(".")
    tail = re.escape(rest) + "0*" if rest else r"(?:\.0+)?"
    for digits in {whole, f"{int(whole[:18]):,}" if len(whole) <= 18 else whole}:
        yield rf"{sign}\$?{re.escape(digits)}{tail}"


def _standing(answer: str, text: str) -> Iterator[tuple[int, int]]:
    """Where the answer stands by itself, as no part of a longer word or number. One letter must have its own case."""
    flags = re.NOFLAG if len(answer) == 1 else re.IGNORECASE
    for form in _forms(answer):
        for found in re.finditer(rf"(?<![\w.,])(?<![-\u2212](?=\d)){form}(?![\w]|[.,]\d)", text, flags):
            yield found.span()


def _asserted(problem: Problem, text: str, start: int, end: int) -> bool:
    """Whether the text says that this is the answer, and does not deny it, count steps or compute with it."""
    before, after = text[max(0, start - 48) : start], text[end : end + 16]
    if any(rule.search(before) for rule in (_DENIES, _PLACE, _BEFORE)) or _AFTER.match(after):
        return False
    return bool(_ASSERTS.search(before)) or _is_target(problem, before)


def _is_target(problem: Problem, before: str) -> bool:
    """Whether what is asked for is said to be what follows, as in `heron is 8`."""
    chain = chains.parse(problem.text)
    return chain is not None and re.search(rf"\b{re.escape(chain.target)} is $", before) is not None
