"""Numbers in English words: forty-two, three quarters, one hundred and five, seventy-five percent."""

from collections.abc import Iterator
from fractions import Fraction

_ONES = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen "
    "eighteen nineteen"
).split()
_TENS = "- - twenty thirty forty fifty sixty seventy eighty ninety".split()
_PARTS = {2: "hal(?:f|ves)", 3: "thirds?", 4: "(?:quarter|fourth)s?", 5: "fifths?", 6: "sixths?", 8: "eighths?",
          10: "tenths?"}  # fmt: skip
_MOST = 10_000
_HUNDRED = 100


def spelled(value: Fraction) -> Iterator[str]:
    """Patterns, without anchors, of the ways to say a number below ten thousand in words; nothing for others.

    A fraction of small parts is said in parts, and what is a whole number of hundredths also in percent.
    """
    sign, size = (r"(?:minus|negative)\s+" if value < 0 else ""), abs(value)
    if size >= _MOST:
        return
    if size.denominator == 1:
        # A bare "one" is a word for anything.
        if size != 1 or sign:
            yield sign + _whole(int(size))
        return
    if size < 1 and size.denominator in _PARTS and size.numerator < len(_ONES):
        count = "(?:one|an?)" if size.numerator == 1 else _ONES[size.numerator]
        yield rf"{sign}{count}[\s-]{_PARTS[size.denominator]}"
    if size < 1 and (size * _HUNDRED).denominator == 1:
        yield rf"{sign}{_whole(int(size * _HUNDRED))}\s+per\s?cent"


def _whole(n: int) -> str:
    thousands, rest = divmod(n, 1000)
    hundreds, small = divmod(rest, 100)
    words = []
    if thousands:
        words.append(rf"{_small(thousands)}\s+thousand")
    if hundreds:
        words.append(rf"{_ONES[hundreds]}\s+hundred")
    if small or not words:
        words.append((r"(?:and\s+)?" if words else "") + _small(small))
    return r",?\s+".join(words)


def _small(n: int) -> str:
    if n < len(_ONES):
        return _ONES[n]
    tens, one = divmod(n, 10)
    return _TENS[tens] + (rf"[\s-]?{_ONES[one]}" if one else "")
