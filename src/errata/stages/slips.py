"""Slips: typed errors made by rule in one step of an attempt, of natural text as of chains. Pure functions of text.

    result      another number than the one that the step ends with
    operand     another number to go on from; the student concludes
    operator    another operator to go on from
    sign        plus for minus, or a result of the other sign
    unit        another unit after a number
    copied      a number of the problem, copied wrong
    dropped     a step left out, and the one after it said all the same
    swapped     two neighbouring steps in the other order
    premature   the answer stated from an intermediate result
    plausible_detour   a needless computation, wrong, before the step

Not all of these are errors wherever they are made: a stage has to prove it.
"""

import random
import re
from collections.abc import Iterator, Sequence
from typing import Literal, NamedTuple

from errata import chains
from errata.records.types import Attempt, Problem

Kind = Literal[
    "result", "operand", "operator", "sign", "unit", "copied", "dropped", "swapped", "premature", "plausible_detour"
]
_NUMBER = re.compile(r"(?<![\w.])\d+(?![\w.]*\d)")
_LONGEST = 15
"""Digits beyond which a number is no number to slip on."""
_OPERATORS = (("plus", "minus", "times"), ("+", "-", "*"))
_SIGNS = (("plus", "minus"), ("+", "-"))
_UNITS = (
    "seconds minutes hours days weeks months years", "mm cm m km", "millimeters centimeters meters kilometers",
    "inches feet yards miles", "mg g kg", "grams kilograms", "ounces pounds", "ml liters", "cents dollars",
    "degrees radians",
)  # fmt: skip


class Slip(NamedTuple):
    """Wrong words in the place of a step: its index, the kind of slip, and the text as far as it is written."""

    step: int
    kind: str
    text: str
    unfinished: bool = False
    """Whether the step ends with the slip, so that the student goes on within it and draws the wrong conclusion."""
    more: tuple[str, ...] = ()
    """Steps of the attempt that follow it as they are."""
    ends: bool = False
    """Whether the attempt ends with it."""


def slip(draw: random.Random, attempt: Attempt, kinds: Sequence[Kind], problem: Problem | None = None) -> Slip | None:
    """One slip of these kinds at a step before the answer; None where no step has room for one.

    `problem` is needed for `copied` and `plausible_detour`.
    """
    texts = [s.text for s in attempt.steps]
    found = [
        s for i in range(len(texts) - 1) for kind in kinds for s in _slips(draw, i, texts, kind, problem)
    ]  # fmt: skip
    return draw.choice(found) if found else None


def _slips(draw: random.Random, at: int, texts: Sequence[str], kind: Kind, problem: Problem | None) -> Iterator[Slip]:
    text, made = texts[at], None
    if kind in ("operator", "sign"):
        made = _operator(draw, at, text, kind)
    elif kind in ("result", "operand"):
        made = _number(draw, at, text, kind)
    elif kind == "unit":
        made = _unit(draw, at, text)
    elif kind == "copied" and problem is not None:
        made = _copied(draw, at, text, problem.text)
    elif kind == "dropped" and at + 2 < len(texts):
        made = Slip(at, kind, texts[at + 1])
    elif kind == "swapped" and at + 2 < len(texts):
        made = Slip(at, kind, texts[at + 1], more=(text,))
    elif kind == "premature" and at > 0:
        made = _premature(at, texts)
    elif kind == "plausible_detour" and problem is not None:
        made = _detour(draw, at, texts, problem)
    if made is not None and (made.more or made.text.strip() != text.strip()):
        yield made


def _numbers(text: str) -> list[re.Match[str]]:
    return [n for n in _NUMBER.finditer(text) if len(n[0]) <= _LONGEST]


def _number(draw: random.Random, at: int, text: str, kind: Kind) -> Slip | None:
    numbers = _numbers(text)
    if len(numbers) < (1 if kind == "result" else 2):
        return None
    found = numbers[-1] if kind == "result" else draw.choice(numbers[:-1])
    value = int(found[0])
    wrong = text[: found.start()] + str(value + draw.choice([d for d in (-2, -1, 1, 2) if value + d >= 0]))
    return Slip(at, kind, wrong + text[found.end() :]) if kind == "result" else Slip(at, kind, wrong, True)


def _operator(draw: random.Random, at: int, text: str, kind: Kind) -> Slip | None:
    """Another operator in the place of the step's last one, from which its result is computed."""
    for family in _OPERATORS if kind == "operator" else _SIGNS:
        places = [found for word in family for found in re.finditer(rf"(?<!\S){re.escape(word)}(?!\S)", text)]
        if places:
            last = max(places, key=lambda found: found.start())
            other = draw.choice([word for word in family if word != last[0]])
            return Slip(at, kind, text[: last.start()] + other, True)
    numbers = _numbers(text) if kind == "sign" else []
    if not numbers or int(numbers[-1][0]) == 0:
        return None
    start = numbers[-1].start()
    negative = re.search(r"(?:^|[\s=($])-$", text[:start])
    return Slip(at, kind, text[: start - 1] + text[start:] if negative else f"{text[:start]}-{text[start:]}")


def _unit(draw: random.Random, at: int, text: str) -> Slip | None:
    """The last unit that follows a number, exchanged for another of its kind."""
    for family in map(str.split, _UNITS):
        places = list(re.finditer(rf"(?<=\d )(?:{'|'.join(family)})\b", text))
        if places:
            last = places[-1]
            other = draw.choice([u for u in family if u != last[0]])
            return Slip(at, "unit", text[: last.start()] + other + text[last.end() :])
    return None


def _copied(draw: random.Random, at: int, text: str, problem: str) -> Slip | None:
    """A number of the problem replaced by another of its numbers, or by one digit more or less."""
    given = sorted({n[0] for n in _numbers(problem)})
    mine = [n for n in _numbers(text)[:-1] if n[0] in given]
    if not mine:
        return None
    found = draw.choice(mine)
    others = [g for g in given if g != found[0]] or [found[0] + "0"]
    return Slip(at, "copied", text[: found.start()] + draw.choice(others), True)


def _premature(at: int, texts: Sequence[str]) -> Slip | None:
    """The attempt's own answer sentence with the last result before this step."""
    before, answer = _numbers(texts[at - 1]), _numbers(texts[-1])
    if not before or not answer:
        return None
    last = answer[-1]
    return Slip(at, "premature", texts[-1][: last.start()] + before[-1][0] + texts[-1][last.end() :], ends=True)


def _detour(draw: random.Random, at: int, texts: Sequence[str], problem: Problem) -> Slip | None:
    """A computation that nothing needs, with a result one off, and then the attempt's own step.

    Of a chain it is a definition that the target does not rest on; elsewhere a sum of two numbers of the problem.
    """
    end = texts[at][len(texts[at].rstrip()) :] or "\n"
    chain = chains.parse(problem.text)
    if chain is not None:
        rules, needed, known = [r for r in chain.rules if r.op], chains.needed(chain), chain.values()
        said = {words[0] for t in texts[:at] if (words := t.split())} | {r.name for r in chain.rules if not r.op}
        spare = [r for r in rules if r not in needed and r.name in known and set(r.operands) <= said]
        if not spare:
            return None
        head, value = chains.step_text(draw.choice(spare), known, chain.modulus).rsplit(" ", 1)
        wrong = (int(value) + draw.randrange(1, chain.modulus)) % chain.modulus
        return Slip(at, "plausible_detour", f"{head} {wrong}{end}", more=(texts[at],))
    given = sorted({int(n[0]) for n in _numbers(problem.text)})
    if len(given) < 2:
        return None
    a, b = draw.sample(given, 2)
    said_so = f"Note that {a} + {b} = {a + b + draw.choice((-1, 1))}.{end}"
    return Slip(at, "plausible_detour", said_so, more=(texts[at],))
