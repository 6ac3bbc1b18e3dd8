r"""Answers written in LaTeX, taken apart without a parser: lists, tuples and intervals, units, number bases, equations.

(-\infty, 2]    x = 3 \text{ or } x = -3    12 \text{ cm}^2    1011_2    \$3{,}250
"""

import re
from typing import NamedTuple

from errata.verifiers.readings import MINUS

_SYMBOLS = str.maketrans(
    {
        "\u03c0": r"\pi ",
        "\u221e": r"\infty ",
        "\u00d7": r"\times ",
        "\u00b7": r"\cdot ",
        "\u2264": r"\le ",
        "\u2265": r"\ge ",
        "\u222a": r"\cup ",
        "\u00b1": r"\pm ",
        "\u00b0": r"^\circ ",
        "\u00b2": "^2",
        "\u00b3": "^3",
        "\u00a0": " ",
        "~": " ",
    }
)
_PLAIN = (
    (re.compile(r"^\s*(?:\\\(|\\\[|\$\$?)(.*?)(?:\\\)|\\\]|\$\$?)[\s.]*$", re.DOTALL), r"\1"),
    (re.compile(r"(?<=[0-9])\s*(?:\{,\}|,\\!|\\,)\s*(?=[0-9]{3}(?![0-9]))"), ","),
    (re.compile(r"\\(?:left|right|[bB]igg?[lrm]?|displaystyle|textstyle|limits)(?![a-zA-Z])\.?"), ""),
    (re.compile(r"(?<!\\)\\(?:[,;:!> ]|q?quad(?![a-zA-Z]))"), " "),
    (re.compile(r"\\[dtc]frac(?![a-zA-Z])"), r"\\frac"),
    (re.compile(r"\\(?:mathrm|textrm|textbf|textit|mbox|mathbf|operatorname|rm)\s*\{"), r"\\text{"),
    (re.compile(r"\\(?:leq|leqslant)(?![a-zA-Z])"), r"\\le"),
    (re.compile(r"\\(?:geq|geqslant)(?![a-zA-Z])"), r"\\ge"),
    (re.compile(r"\\text\{\s*(?:\\%|%|percent)\s*\}|(?<![\\a-zA-Z])percent\b"), r"\\%"),
    (re.compile(r"\\degrees?(?![a-zA-Z])|\^\s*\{\s*\\circ\s*\}|\\text\{\s*degrees?\s*\}"), r"^\\circ "),
    (re.compile(r"(?<=[0-9}])\s*degrees?\b"), r"^\\circ "),
    (re.compile(r"\s+"), " "),
)
_END = re.compile(r"[\s.,;:]+$")


def plain(text: str) -> str:
    """One spelling for what LaTeX spells in several ways; meaning is kept."""
    text = text.translate(MINUS).translate(_SYMBOLS)
    for pattern, replacement in _PLAIN:
        text = pattern.sub(replacement, text)
    text = _END.sub("", text.replace("**", "").strip())
    return text[1:-1].strip() if text.startswith("{") and _closes(text, len(text)) else text


def tight(text: str) -> str:
    r"""`text` without spaces, `\text` and braces around single characters: equal strings are equal answers."""
    text = re.sub(r"\\text\s*\{([^{}]*)\}", r"\1", text)
    text = re.sub(r"(?<=[a-zA-Z0-9}])\{(\w)\}|(?<=[\^_])\{(\w)\}", r"\1\2", text) if "\\frac" not in text else text
    return re.sub(r"\\?\s", "", text)


class Sequence(NamedTuple):
    """Several answers in one. Brackets are those around all of them; a bare list or a set in braces has none."""

    parts: tuple[str, ...]
    brackets: str = ""

    @property
    def ordered(self) -> bool:
        return bool(self.brackets)


_OPEN, _CLOSE = "([{", ")]}"
_BRACKETS = ((r"\{", r"\}", ""), (r"\langle", r"\rangle", "()"), ("(", ")", "()"), ("[", "]", "[]"))
_AND = re.compile(r"(?:,\s*)?(?:\\text\s*\{\s*(?:,?\s*(?:and|or),?)\s*\}|(?<![a-zA-Z\\])(?:and|or)(?![a-zA-Z]))")


def sequence(text: str) -> Sequence:
    r"""The parts of a list, set, tuple or interval; `\pm` makes two of one."""
    brackets, inner = "", text.strip()
    for opening, closing, kind in _BRACKETS:
        if inner.startswith(opening) and _closes(inner, len(inner)) and len(inner) > len(opening) + len(closing):
            if inner.endswith(closing):
                brackets, inner = kind, inner[len(opening) : -len(closing)]
                break
            if kind and inner[-1] in ")]":
                brackets, inner = inner[0] + inner[-1], inner[1:-1]
                break
    parts = [p for part in _split(_AND.sub(",", inner)) for p in _both_signs(part)]
    if brackets and len(parts) < 2:
        return Sequence((text,))
    return Sequence(tuple(parts), brackets)


def _closes(text: str, end: int) -> bool:
    """Whether the bracket that `text` begins with stays open up to `end`."""
    depth = 0
    tokens = list(re.finditer(r"\\langle|\\rangle|\\[a-zA-Z]+|\\?[()\[\]{}]", text[:end]))
    for found in tokens:
        mark = found[0].lstrip("\\")
        depth += (mark in (*_OPEN, "langle")) - (mark in (*_CLOSE, "rangle"))
        if depth <= 0:
            return found.end() == end
    return False


def _split(text: str) -> list[str]:
    """`text` cut at its commas and semicolons outside of all brackets."""
    parts, depth, start = [], 0, 0
    for i, c in enumerate(text):
        depth += (c in _OPEN) - (c in _CLOSE)
        if c in ",;" and depth == 0:
            parts.append(text[start:i])
            start = i + 1
    return [p.strip() for p in (*parts, text[start:]) if p.strip()]


def _both_signs(part: str) -> tuple[str, ...]:
    return (part.replace(r"\pm", "+"), part.replace(r"\pm", "-")) if part.count(r"\pm") == 1 else (part,)


class Measure(NamedTuple):
    """A value and its unit, empty where there is none."""

    value: str
    unit: str = ""


_UNIT_TEXT = re.compile(r"(?:\s*/?\s*\\text\s*\{[^{}]*\}(?:\s*\^\s*\{?-?[0-9]\}?)?)+$")
_UNIT_WORDS = re.compile(r"(?<=[0-9}])\s*((?!and\b|or\b)[a-zA-Z]{2,}(?:[ /]+[a-zA-Z]+)*(?:\s*\^\s*\{?[0-9]\}?)?)$")
_MARK = re.compile(r"\s*(\^\s*\\circ(?:\s*C|\s*F)?|\\?%)$")
_CURRENCY = re.compile(r"^([-+]?)\s*(?:\\\$|\$|\\pounds|[\u20ac\u00a3\u00a5\u20b9])\s*")
_ABBREVIATIONS = {
    "centimeter": "cm", "centimetre": "cm", "meter": "m", "metre": "m", "kilometer": "km", "kilometre": "km",
    "millimeter": "mm", "inche": "in", "inch": "in", "feet": "ft", "foot": "ft", "yard": "yd", "mile": "mi",
    "hour": "h", "hr": "h", "minute": "min", "second": "s", "sec": "s", "gram": "g", "kilogram": "kg", "pound": "lb",
    "liter": "l", "litre": "l", "gallon": "gal", "dollar": "$", "unit": "",
}  # fmt: skip


def measure(text: str) -> Measure:
    """The value and the unit of an answer such as `12 cm` or `50%`; a letter of algebra is no unit."""
    found = _CURRENCY.match(text)
    if found:
        return Measure(found[1] + text[found.end() :], "$")
    for pattern in (_MARK, _UNIT_TEXT, _UNIT_WORDS):
        found = pattern.search(text)
        if found and text[: found.start()].strip() and not _function(found[0]):
            return Measure(text[: found.start()].strip(), _unit(found[0]))
    return Measure(text)


def _function(words: str) -> bool:
    return bool(re.search(r"\b(?:sin|cos|tan|log|ln|exp|sqrt|pi|mod)\b", words))


def _unit(text: str) -> str:
    """A name that two spellings of one unit share."""
    words = re.sub(r"\\text|[{}\\^.]", " ", text).lower().split()
    names = [_ABBREVIATIONS.get(w.rstrip("s") or w, w.rstrip("s") or w) for w in words]
    powers = {"square": "2", "sq": "2", "cubic": "3"}
    power = next((powers[n] for n in names if n in powers), "")
    return "".join(n for n in names if n not in powers and n != "per") + power


_NAME = (
    r"(?:\\text\s*\{[^{}]*\}|\\?[a-zA-Z]+'*(?:_\{?\w+\}?)?|\\(?:vec|mathbf|overline|angle)\s*\{?\w+\}?)"
    r"(?:\^\{-1\})?(?:\(\s*[a-zA-Z](?:\s*,\s*[a-zA-Z])*\s*\))?"
)
_NAMES = re.compile(rf"\s*(?:{_NAME}|\(\s*{_NAME}(?:\s*,\s*{_NAME})+\s*\))\s*")
_EQUALS = re.compile(r"(?<![<>!\\:])=(?!=)|\\in(?![a-zA-Z])|\\approx(?![a-zA-Z])")


class Equation(NamedTuple):
    """What stands between the equality signs; `name` is the variable or function that the first side is, or empty."""

    sides: tuple[str, ...]
    name: str = ""


def equation(text: str) -> Equation:
    """An answer such as `x = 5`; one side where there is no equality sign outside of brackets."""
    depth, cuts, start = 0, [], 0
    signs = {m.start(): m.end() for m in _EQUALS.finditer(text)}
    for i, c in enumerate(text):
        depth += (c in _OPEN) - (c in _CLOSE)
        if depth == 0 and i in signs:
            cuts.append(text[start:i].strip())
            start = signs[i]
    sides = tuple(s for s in (*cuts, text[start:].strip()) if s) or ("",)
    named = len(sides) > 1 and _NAMES.fullmatch(sides[0])
    return Equation(sides, tight(sides[0]) if named else "")


class Based(NamedTuple):
    """The digits of a number and the base written under them; None where none is."""

    digits: str
    base: int | None

    @property
    def value(self) -> int | None:
        try:
            return int(self.digits, self.base or 10)
        except ValueError:
            return None


_BASED = re.compile(r"([0-9A-Fa-f]+)\s*(?:_\s*\{?\s*(?:\\text\s*\{\s*)?([0-9]{1,2}|two|three|eight|ten)\s*\}{0,2})?")
_WORDS = {"two": 2, "three": 3, "eight": 8, "ten": 10}


def based(text: str) -> Based | None:
    """A whole number with or without the base under it, at most 36."""
    found = _BASED.fullmatch(text)
    if not found or len(found[1]) > 200:
        return None
    base = (_WORDS.get(found[2]) or int(found[2])) if found[2] else None
    return Based(found[1].upper(), base) if base is None or 2 <= base <= 36 else None


_NOT_PROSE = re.compile("and|or|(?:arc)?(?:sin|cos|tan)h?|cot|sec|csc|log|exp|sqrt|max|min|gcd|lcm|det|mod")


def words(text: str) -> str | None:
    """The words of an answer that is no formula, in lower case and without punctuation; None for a formula."""
    if re.search(r"\\(?!text\b)[a-zA-Z]", text):
        return None
    bare = re.sub(r"\\text\s*\{([^{}]*)\}", r" \1 ", text)
    whole = re.fullmatch(r"\s*\\text\s*\{[^{}]*\}\s*", text) is not None
    letter = re.fullmatch(r"\W*([A-Za-z])\W*", bare)
    if letter:
        return letter[1].upper() if whole or (bare.strip() != letter[1] and letter[1].isupper()) else None
    prose = [w for w in re.findall(r"[A-Za-z]{3,}", bare) if not _NOT_PROSE.fullmatch(w.lower())]
    if not prose and not (whole and re.search("[A-Za-z]", bare)):
        return None
    return " ".join(re.findall(r"[a-z0-9]+", bare.lower()))
