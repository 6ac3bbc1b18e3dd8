r"""Where a text states its final answer, and which number that is.

An answer that is stated twice differently, cut or part of a sum is not guessed at: it is no reading, hence unknown. The
places are tried in this order: after the caller's marker; the last `\boxed{...}`; the last `#### ...`; the last "answer
is ..." or "answer: ...".
"""

import re
from fractions import Fraction
from typing import NamedTuple

MINUS = str.maketrans({"\u2212": "-", "\u2013": "-", "\u2010": "-", "\u2011": "-"})
"""Characters that are printed for a minus sign."""

_BOX = re.compile(r"\\f?boxed\s*")
_HASHES = re.compile(r"####[ \t]*([^\n]*\S)")
_PHRASE = re.compile(r"(?i)\banswers?\b\**(?:[^.\n]{0,60}?\b(?:is|are)\b\**[ \t]*:?|[ \t]*[:=])(?:\*\*)?\s*")
_SENTENCE = re.compile(r"\.(?=\s|$)")
_DISPLAY = {"\\[": "\\]", "$$": "$$"}


class Stated(NamedTuple):
    """The words of a final answer; `text` is None where none can be read, and `why` says so."""

    text: str | None
    why: str = ""


class Number(NamedTuple):
    """An exact value; `percent` where a percent sign or word follows it."""

    value: Fraction
    percent: bool = False

    def equals(self, other: "Number") -> bool:
        """Equal as written, or with the percent sign of just one of them taken as a hundredth."""
        a, b = (n.value / 100 if n.percent and self.percent != other.percent else n.value for n in (self, other))
        return a == b or self.value == other.value

    def __str__(self) -> str:
        return f"{self.value}{'%' if self.percent else ''}"


def marked(text: str, marker: str) -> Stated:
    """The first line that is not blank after the last `marker`."""
    _, found, tail = text.rpartition(marker)
    if not found:
        return Stated(None, f"{marker!r} does not occur")
    lines = tail.strip().splitlines()
    return Stated(lines[0].strip()) if lines else Stated(None, f"nothing follows the last {marker!r}")


def boxed(text: str) -> Stated | None:
    r"""The content of the last `\boxed` or `\fbox`, its braces balanced; None where there is no box."""
    starts = list(_BOX.finditer(text))
    if not starts:
        return None
    start = starts[-1].end()
    if text[start : start + 1] != "{":
        word = re.match(r"\S[^\s$.,]*", text[start:])
        return Stated(word[0]) if word else Stated(None, "its last box is empty")
    depth = 0
    for found in re.finditer(r"\\[\\{}]|[{}]", text[start:]):
        depth += {"{": 1, "}": -1}.get(found[0], 0)
        if depth == 0:
            content = text[start + 1 : start + found.start()].strip()
            return Stated(content) if content else Stated(None, "its last box is empty")
    return Stated(None, "its last box is not closed")


def stated(text: str, after: str = "") -> Stated:
    """The final answer of `text`: after the last `after` where it is given, or else in one of the usual places."""
    if after:
        found = marked(text, after)
        return (boxed(found.text) or found) if found.text else found
    box = boxed(text)
    if box:
        return box
    hashes = _HASHES.findall(text)
    if hashes:
        return Stated(hashes[-1])
    phrases = list(_PHRASE.finditer(text))
    return _sentence(text[phrases[-1].end() :]) if phrases else Stated(None, "no final answer is stated")


def _sentence(rest: str) -> Stated:
    """The display formula or the sentence that `rest` begins with."""
    close = _DISPLAY.get(rest[:2])
    if close:
        content, found, _ = rest[2:].partition(close)
        return Stated(content.strip()) if found and content.strip() else Stated(None, "its final formula is not closed")
    line = rest.split("\n", 1)[0]
    end = _SENTENCE.search(line)
    sentence = line[: end.start()] if end else line
    return Stated(sentence.strip()) if sentence.strip() else Stated(None, "nothing follows the last 'answer'")


_DIGITS = r"[0-9]+(?:,[0-9]+)*"
_PLAIN = rf"(?:{_DIGITS}(?:\.[0-9]+)?|\.[0-9]+)"
_TOKEN = re.compile(
    r"(?P<sign>(?<![\w)\]}%.])[-+])?(?<![\w.^_])"
    rf"(?:(?P<whole>[0-9]+)\s+(?P<part>[0-9]+)/(?P<of>[0-9]+)|(?P<top>{_PLAIN})(?:\s?/\s?(?P<bottom>{_PLAIN}))?)"
    r"(?P<exp>[eE][-+]?[0-9]{1,3}(?!\w))?"
    r"(?P<scale>\s*(?:hundred|thousand|million|billion|trillion)\b)?(?P<percent>\s*(?:%|percent\b))?"
)
_SCALE = {"": 1, "hundred": 100, "thousand": 10**3, "million": 10**6, "billion": 10**9, "trillion": 10**12}
_LONGEST = 400
"""Digits beyond which a number is degenerate output, not an answer."""

_LATEX = (
    (re.compile(r"(?<=[0-9])\s*(?:\{,\}|,?\\[,!;]|[\u00a0\u2009\u202f])\s*(?=[0-9]{3})"), ","),
    (re.compile(r"\^\s*\{?\s*\\circ\s*\}?|\u00b0|\\degree"), " "),
    (re.compile(r"(?<=[0-9])\s*(?:\\times|\\cdot|\u00d7|\*)\s*10\s*\^\s*\{?\s*([-+]?[0-9]{1,3})\s*\}?"), r"e\1"),
    (re.compile(r"\\(?:text|mathrm|textbf|mathbf|textrm|mbox)\s*\{([^{}]*)\}"), r" \1 "),
    (re.compile(r"\\[dtc]?frac\s*(?:\{\s*([0-9]+)\s*\}|([0-9]))\s*(?:\{\s*([0-9]+)\s*\}|([0-9]))"), r" \1\2/\3\4"),
    (re.compile(r"(?<=[-+]) (?=[0-9]+/[0-9])"), ""),
    (re.compile(r"\\(?=[%$])"), ""),
    (re.compile(r"\\(?:[()\[\],;:! ]|left|right|quad|displaystyle)"), " "),
    (re.compile(r"[$\u20ac\u00a3\u00a5\u20b9]|\*\*"), ""),
)
_JOINED_BEFORE = re.compile(r"(?:[-+*/^_\u00d7\u00b7\u00f7\u221a!\\<>]|[a-zA-Z]\()\s*$")
_JOINED_AFTER = re.compile(
    r"\s*(?:[+*/^_\u00d7\u00b7\u00f7\u221a!\\\u03c0\u00b2\u00b3\u00b9\u2070-\u2079\u00bc-\u00be\u2150-\u215e]|-\s*[0-9a-zA-Z(])"
    r"|[.,:][0-9]|[a-zA-Z](?![a-zA-Z])|\("
)


def numbers(text: str) -> list[Number | None]:
    """Every number of `text` in order; None for one that is part of a formula or written in no known way."""
    for pattern, plain in _LATEX:
        text = pattern.sub(plain, text)
    text = text.translate(MINUS)
    return [_value(m) if _alone(text, m) else None for m in _TOKEN.finditer(text)]


def _alone(text: str, m: re.Match[str]) -> bool:
    before = text[max(0, m.start() - 8) : m.start()]
    return not _JOINED_BEFORE.search(before) and not _JOINED_AFTER.match(text, m.end())


def _value(m: re.Match[str]) -> Number | None:
    """The value of one number, None where its commas group no thousands, or it divides by zero, or it has no end."""
    if m.end() - m.start() > _LONGEST:
        return None
    top, bottom = _plain(m["top"] or m["part"]), _plain(m["bottom"] or m["of"] or "1")
    if top is None or not bottom:
        return None
    value = top / bottom + int(m["whole"] or 0)
    value *= _SCALE[(m["scale"] or "").strip()] * Fraction(10) ** int((m["exp"] or "e0")[1:])
    return Number(-value if m["sign"] == "-" else value, bool(m["percent"]))


def _plain(text: str) -> Fraction | None:
    if "," in text and not re.fullmatch(r"[0-9]{1,3}(?:,[0-9]{3})+(?:\.[0-9]+)?", text):
        return None
    return Fraction(text.replace(",", ""))


def read_number(text: str) -> Number | None:
    """The one number that `text` gives, that after its last `=` where it has one; None where it gives several."""
    found = numbers(text.rpartition("=")[2])
    first = found[0] if found else None
    same = first is not None and all(n is not None and n == first for n in found)
    return first if same and not _formula(text) else None


def _formula(text: str) -> bool:
    """Whether LaTeX commands or letters of algebra remain that give a number another meaning, e.g. a root."""
    for pattern, plain in _LATEX:
        text = pattern.sub(plain, text)
    return bool(re.search(r"\\[a-zA-Z]+|[\u221a\u03c0]", text.rpartition("=")[2]))
