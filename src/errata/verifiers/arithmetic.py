r"""Every equation of a text, read and computed exactly: `(3 + 4) * 2 = 7 * 2 = 15` holds once and fails once.

It reads numbers (decimals, thousands separators, money, percentages), + - * / ^ and their printed and LaTeX forms,
fractions and nested brackets, and chains `a = b = c`. Whatever else stands beside an equals sign (a letter, a unit
within a sum, a root, a remainder) makes that equation unreadable: it is skipped, never called wrong. Rounded results
hold. Nothing is evaluated as code, and sizes are bounded.
"""

import re
from collections.abc import Sequence
from fractions import Fraction
from itertools import takewhile
from typing import NamedTuple

LONGEST_TEXT = 20_000
"""Characters of a step beyond which it is not read."""
LONGEST_SIDE = 400
"""Tokens of one side of an equation."""
LONGEST_NUMBER = 60
"""Digits of one number."""
LARGEST_BITS = 4_096
"""Size of a power's result."""
DEEPEST = 60
"""Brackets within brackets."""
ROUNDING = Fraction(1, 1_000)
"""Relative error that decimals excuse: each may have been rounded before."""

_WHOLE_IS_MODULAR = re.compile(r"\\equiv|\u2261|\\[pb]?mod\b|\bmod(?:ulo)?\b|_\{?\d", re.IGNORECASE)
_NORMAL = tuple(
    (re.compile(pattern), plain)
    for pattern, plain in (
        (r"\\(?:text|mathrm|textbf|mathbf|textrm|mbox|textit)\s*\{[^{}]*\}", " unit "),
        (r"\\\\", "\n"),
        (r"\^\s*\{?\s*\\circ\s*\}?|\u00b0|\\degree", ""),
        (r"\{,\}", ","),
        (r"\\(?:[()\[\],;:! ]|left\b|right\b|[qd]?quad\b|displaystyle\b|boxed\b|[bB]igg?[lr]?\b)", " "),
        (r"\\([%$])", r"\1"),
        (r"\\(?:times|cdot|ast)(?![a-zA-Z])|[\u00d7\u00b7\u22c5\u2217]", "*"),
        (r"\\div(?![a-zA-Z])|\u00f7", "/"),
        (r"\\[dtc]?frac(?![a-zA-Z])", " \\\\frac "),
        (r"[\u2212\u2013]", "-"),
        (r"(?<=[0-9)])\*\*(?=[0-9(])", "^"),
        (r"\*\*|`|[$\u20ac\u00a3\u20b9]", ""),
        (r"(?m)^[ \t]*[-*\u2022][ \t]+", "\n"),
        (r"(?<=[0-9)%])(?:[ \t]+[xX][ \t]+|[xX])(?=[0-9])", "*"),
        (r"[ \t]*percent\b", "%"),
        (r"%[ \t]*of\b(?=[ \t]*[0-9(])", "%*"),
        (r"[ \t]*\n\s*(?:&[ \t]*)?(?==)|&[ \t]*(?==)", " "),
        (r"(?<==)\s*&?\s*", " "),
    )
)
_TOKEN = re.compile(
    r"(?P<number>[0-9]{1,3}(?:,[0-9]{3})+(?![0-9])(?:\.[0-9]+)?|[0-9]+(?:\.[0-9]+)?|\.[0-9]+)|(?P<word>[^\W\d_]+)"
    r"|(?P<frac>\\frac)|(?P<command>\\[a-zA-Z]+)|(?P<space>[ \t]+)"
    r"|(?P<other_relation>[!<>:\u2260\u2264\u2265]=+|=[=<>]+|<<|>>|[<>])|(?P<equals>=)"
    r"|(?P<sign>[-+*/^()\[\]{}%])|(?P<end>[.,;:?\n\"'\u201c\u201d\u2018\u2019]+)|(?P<bad>.)",
    re.DOTALL,
)
_OPEN, _CLOSE = {"(": ")", "[": "]", "{": "}"}, {")": "(", "]": "[", "}": "{"}
_COMPUTES_BEFORE = frozenset(
    "of plus minus times by half twice double triple thrice quarter third over less than more root squared sin "
    "cos tan log ln sqrt lim max min gcd lcm base add adding subtract subtracting from to between into per not".split()
)
"""Words that make the number after them part of something larger."""
_COMPUTES_AFTER = frozenset(
    "plus minus times divided multiplied over squared cubed hundred thousand million billion dozen dozens percent "
    "percents cents cent am pm o mod remainder r choose factorial pi".split()
)
"""Words that make the number before them part of something larger, or another number."""


class Unreadable(ValueError):
    """A side of an equation holds what is no plain arithmetic."""


class Equation(NamedTuple):
    """Two sides that a text calls equal, as they were read, and whether they are."""

    left: str
    right: str
    holds: bool


class _Token(NamedTuple):
    kind: str
    text: str
    glued: bool
    """Whether no space stands before it."""


class _Side(NamedTuple):
    """One side of an equation that can be computed."""

    text: str
    values: tuple[Fraction, ...]
    """Its value; a second one where percent signs may or may not mean hundredths."""
    places: int | None
    """Decimal places of a side that is one number; None for a side that is computed."""
    decimal: bool
    """Whether a decimal stands in it."""


def equations(text: str) -> tuple[Equation, ...]:
    """Every equation of `text` whose two sides can be read, in order; none of a text that counts in remainders."""
    if len(text) > LONGEST_TEXT or "=" not in text or _WHOLE_IS_MODULAR.search(text):
        return ()
    found: list[Equation] = []
    for chain in _chains(_tokens(text)):
        for i in range(len(chain) - 1):
            left, right = _left(chain[i], i == 0), _right(chain[i + 1])
            if left is not None and right is not None:
                found.append(Equation(left.text, right.text, _equal(left, right)))
    return tuple(found)


def first_false(steps: Sequence[str]) -> tuple[int, Equation] | None:
    """The first step (0-based) with an equation that does not hold, and that equation; None where all hold."""
    for i, step in enumerate(steps):
        wrong = next((e for e in equations(step) if not e.holds), None)
        if wrong is not None:
            return i, wrong
    return None


def _tokens(text: str) -> list[_Token]:
    for pattern, plain in _NORMAL:
        text = pattern.sub(plain, text)
    made: list[_Token] = []
    glued = False
    for found in _TOKEN.finditer(text):
        kind = found.lastgroup or "bad"
        if kind != "space":
            made.append(_Token(kind, found[0], glued))
        glued = kind != "space"
    return made


def _chains(tokens: list[_Token]) -> list[list[list[_Token]]]:
    """The text cut at its equals signs; another relation, such as <, begins a new chain."""
    chains: list[list[list[_Token]]] = [[[]]]
    for token in tokens:
        if token.kind == "other_relation":
            chains.append([[]])
        elif token.kind == "equals":
            chains[-1].append([])
        else:
            chains[-1][-1].append(token)
    return chains


def _plain(token: _Token) -> bool:
    return token.kind in ("number", "sign", "frac")


def _left(part: list[_Token], first: bool) -> _Side | None:
    """The expression that a part ends with. One number alone counts only where nothing stands before it."""
    start = len(part)
    while start and _plain(part[start - 1]):
        start -= 1
    start = _after_open(part, start)
    run, before = part[start:], part[start - 1] if start else None
    if before is not None:
        joined = before.kind in ("command", "bad", "number") or before.text in _CLOSE or before.text in "+-*/^%"
        if joined or (before.kind == "word" and (_computes(part[:start]) or (run and run[0].glued))):
            return None
        # `apples - 3` subtracts; `is -3 + 5` does not.
        if run and run[0].text == "-" and before.kind == "word" and (len(run) < 2 or not run[1].glued):
            return None
    side = _side(run)
    return None if side is not None and side.places is not None and (first or start) else side


def _computes(before: list[_Token]) -> bool:
    """Whether the last of these words makes what follows it part of something larger: `sum of 3 and`, a letter."""
    word = before[-1].text.lower()
    if word != "and":
        return len(word) < 2 or word in _COMPUTES_BEFORE
    clause = takewhile(lambda t: t.kind != "end", reversed(before[:-1]))
    return any(t.text.lower() in _COMPUTES_BEFORE for t in clause)


def _after_open(part: list[_Token], start: int) -> int:
    """Past the last bracket of the run that is not closed in it: `(3 * 4` is read as `3 * 4`."""
    depth = 0
    for i in range(len(part) - 1, start - 1, -1):
        depth += (part[i].text in _CLOSE) - (part[i].text in _OPEN)
        if depth < 0:
            return i + 1
    return start


def _right(part: list[_Token]) -> _Side | None:
    """The expression that a part begins with, where what follows it is no part of it."""
    end, opened = 0, []
    while end < len(part) and _plain(part[end]):
        if part[end].text in _OPEN:
            opened.append(end)
        elif part[end].text in _CLOSE:
            if not opened:
                break
            opened.pop()
        end += 1
    if opened and end < len(part):
        # A remark in brackets after the number.
        end = opened[0]
        if part[end].glued or end == 0:
            return None
    return None if _goes_on(part[end:]) else _side(part[:end])


def _goes_on(rest: list[_Token]) -> bool:
    """Whether what follows an expression may belong to it: a letter, a root, or a unit that is computed with."""
    if not rest or rest[0].kind == "end" or rest[0].text in _OPEN:
        return False
    if rest[0].kind != "word":
        return rest[0].text not in _CLOSE
    if rest[0].glued or len(rest[0].text) < 2 or rest[0].text.lower() in _COMPUTES_AFTER:
        return True
    after = next((t for t in rest if t.kind != "word"), None)
    return after is not None and after.kind in ("sign", "frac", "bad") and after.text not in "()[]{}"


def _side(run: list[_Token]) -> _Side | None:
    if not run or len(run) > LONGEST_SIDE:
        return None
    percent = any(t.text == "%" for t in run)
    try:
        values = tuple(_Parser(run, Fraction(1, hundred)).whole() for hundred in ((100, 1) if percent else (1,)))
    except Unreadable:
        return None
    numbers = [t.text for t in run if t.kind == "number"]
    alone = len(numbers) == 1 and not any(t.text in "+*/^" or t.kind == "frac" for t in run)
    places = len(numbers[0].partition(".")[2]) if alone else None
    text = "".join(t.text if t.glued else f" {t.text}" for t in run).strip()
    return _Side(text, values, places, any("." in n for n in numbers))


def _equal(left: _Side, right: _Side) -> bool:
    return any(_close(a, b, left, right) for a in left.values for b in right.values)


def _close(a: Fraction, b: Fraction, left: _Side, right: _Side) -> bool:
    """Equal, or one side is the other rounded (or cut) to its own last place, or decimals in them were rounded."""
    if a == b:
        return True
    gap = abs(a - b)
    rounded = [Fraction(1, 10**s.places) for s in (left, right) if s.places is not None]
    whole = a.denominator == 1 and b.denominator == 1 and not (left.decimal or right.decimal)
    if rounded and not whole and gap < max(rounded):
        return True
    return (left.decimal or right.decimal) and gap <= ROUNDING * max(abs(a), abs(b))


class _Parser:
    """Recursive descent over the tokens of one side. Raises Unreadable where they are no whole expression."""

    def __init__(self, tokens: list[_Token], percent: Fraction) -> None:
        self._tokens, self._percent = tokens, percent
        self._at = self._depth = 0

    def whole(self) -> Fraction:
        value = self._sum()
        if self._at < len(self._tokens):
            raise Unreadable(self._peek())
        return value

    def _peek(self) -> str:
        return self._tokens[self._at].text if self._at < len(self._tokens) else ""

    def _take(self, *texts: str) -> str:
        found = self._peek()
        if found and found in texts:
            self._at += 1
            return found
        return ""

    def _sum(self) -> Fraction:
        self._depth += 1
        if self._depth > DEEPEST:
            raise Unreadable("too deep")
        value = self._product()
        while sign := self._take("+", "-"):
            term = self._product()
            value = _bounded(value + term if sign == "+" else value - term)
        self._depth -= 1
        return value

    def _product(self) -> Fraction:
        value = self._signed()
        divided = False
        while True:
            if self._take("*"):
                value, divided = _bounded(value * self._signed()), False
            elif self._take("/"):
                by = self._signed()
                if by == 0:
                    raise Unreadable("a division by zero")
                value, divided = _bounded(value / by), True
            elif self._peek() in ("(", "[", "{"):
                if divided or not self._tokens[self._at].glued:
                    raise Unreadable("6/2(3) has two readings, and `441 (20)` may be two things")
                value = _bounded(value * self._power())
            else:
                return value

    def _signed(self) -> Fraction:
        minus = 0
        while self._take("-"):
            minus += 1
        start = self._at
        value = self._power()
        powers = any(t.text == "^" for t in self._tokens[start : self._at])
        if minus and powers and self._tokens[start].text not in _OPEN:
            raise Unreadable("-3^2 has two readings")
        return -value if minus % 2 else value

    def _power(self) -> Fraction:
        base = self._atom()
        if not self._take("^"):
            return base
        exponent = self._atom() if self._peek() != "-" else self._signed()
        if self._peek() == "^" or exponent.denominator != 1 or abs(exponent) > LARGEST_BITS:
            raise Unreadable("a power that is not whole")
        n = int(exponent)
        bits = max(base.numerator.bit_length(), base.denominator.bit_length()) * abs(n)
        if bits > LARGEST_BITS or (base == 0 and n <= 0):
            raise Unreadable("a power that is too large")
        return base**n

    def _atom(self) -> Fraction:
        if self._at >= len(self._tokens):
            raise Unreadable("it ends too early")
        token = self._tokens[self._at]
        self._at += 1
        if token.kind == "number":
            value = _number(token.text)
            if self._at < len(self._tokens) and self._tokens[self._at].kind in ("number", "frac"):
                raise Unreadable("two numbers side by side")
        elif token.kind == "frac":
            above, below = self._group(), self._group()
            if below == 0:
                raise Unreadable("a division by zero")
            value = above / below
        elif token.text in _OPEN:
            value = self._sum()
            if not self._take(_OPEN[token.text]):
                raise Unreadable("a bracket is not closed")
        else:
            raise Unreadable(token.text)
        return value * self._percent if self._take("%") else value

    def _group(self) -> Fraction:
        """An argument of a fraction, in braces."""
        if not self._take("{"):
            raise Unreadable("a fraction without braces")
        value = self._sum()
        if not self._take("}"):
            raise Unreadable("a brace is not closed")
        return value


def _number(text: str) -> Fraction:
    if len(text) > LONGEST_NUMBER:
        raise Unreadable("a number that is too long")
    return Fraction(text.replace(",", ""))


def _bounded(value: Fraction) -> Fraction:
    if max(value.numerator.bit_length(), value.denominator.bit_length()) > LARGEST_BITS:
        raise Unreadable("a number that is too large")
    return value
