"""Does a critique or reflection give away what its maker was shown: the reference answer or the gold steps?

The rules err on the side of finding a leak: a splice that is dropped for nothing costs one row, a leak teaches a model
to know what it cannot know. What they cannot see is a paraphrase ("one less than eight").
"""

import re
from collections.abc import Iterator

from errata import chains
from errata.records.types import Problem

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

_WORDS = (
    "zero - two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen "
    "eighteen nineteen twenty"
).split()


def leaked(problem: Problem, text: str) -> str | None:
    """What `text` gives away of the problem's privileged answer or solution, or None.

    A long answer leaks wherever it stands by itself; a short one, such as `7`, and one that the problem itself mentions
    leak where they are stated as an answer. A gold step leaks where it stands word for word.
    """
    plain = " ".join(re.sub(r"\*\*|`", "", text).split())
    if not plain:
        return None
    answer = " ".join((problem.answer or "").split())
    if answer:
        chance = len(answer) < _SHORT or answer.lower() in _COMMON or _mentions(problem.text, answer)
        for start, end in _standing(answer, plain):
            if not chance:
                return f"the reference answer {answer!r}"
            if _asserted(problem, plain, start, end):
                return f"the reference answer {answer!r}, stated as such"
    for step in problem.solution:
        gold = " ".join(step.split())
        if len(gold) > _LEAST_STEP and gold in plain:
            return f"the gold step {gold!r}"
    return None


def _forms(answer: str) -> Iterator[str]:
    """Patterns of the ways to write an answer: as it is, and a number with and without separators, sign and words."""
    yield re.escape(answer)
    number = re.fullmatch(r"[-+]?\$?(\d[\d,]*)(\.\d+)?", answer)
    if number is None:
        return
    sign, whole, rest = "-" if answer.startswith("-") else "", number[1].replace(",", ""), number[2] or ""
    rest = rest.rstrip("0").rstrip(".")
    tail = re.escape(rest) + "0*" if rest else r"(?:\.0+)?"
    for digits in {whole, f"{int(whole[:18]):,}" if len(whole) <= 18 else whole}:
        yield rf"{sign}\$?{re.escape(digits)}{tail}"
    if not sign and not rest and len(whole) < _SHORT and int(whole) < len(_WORDS):
        # As a word, the number must end its clause: "one of the two" counts, and states nothing.
        yield _WORDS[int(whole)] + r"(?=\s*(?:$|[.,;:!?)]))"


def _standing(answer: str, text: str) -> Iterator[tuple[int, int]]:
    """Where the answer stands by itself, as no part of a longer word or number. One letter must have its own case."""
    flags = re.NOFLAG if len(answer) == 1 else re.IGNORECASE
    for form in _forms(answer):
        for found in re.finditer(rf"(?<![\w.,])(?<![-\u2212](?=\d)){form}(?![\w]|[.,]\d)", text, flags):
            yield found.span()


def _mentions(text: str, answer: str) -> bool:
    return next(_standing(answer, " ".join(text.split())), None) is not None


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
