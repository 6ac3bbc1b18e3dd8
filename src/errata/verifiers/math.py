r"""Mathematical equivalence: the final answer and the reference mean the same, however they are written.

    reference \frac{11}{13}, answer ... Thus, the probability is \boxed{\dfrac{22}{26}}.

What has an order, a unit or a base is compared part by part by the rules of `latex`; what is left, one formula against
another, by math-verify (sympy). A pass needs equality; a fail needs both answers to be read in full; all else is
unknown. math-verify's own time limits are off: they would turn a slow comparison into a wrong answer.
"""

import logging
import re
from collections.abc import Callable
from functools import lru_cache
from typing import Any

from errata.records.types import Outcome, Problem
from errata.registry import verifier
from errata.verifiers.base import Judgement
from errata.verifiers.judgements import quoted, unknown
from errata.verifiers.latex import based, equation, measure, plain, sequence, tight, words
from errata.verifiers.readings import Number, Stated, boxed, numbers, stated

_DEEPEST = 6
_LONGEST = 1000
_CONCLUSION = re.compile(
    r"(?:\b(?:is|are|be|equals?|get|have)|[:=])\s*"
    r"(?:\\\[(?P<a>(?:(?!\\[\[\]]).)+)\\\]|\$\$(?P<b>[^$]+)\$\$|\$(?P<c>[^$]+)\$|\\\((?P<d>(?:(?!\\[()]).)+)\\\))[\s.]*\Z",
    re.DOTALL,
)


@verifier(version=1, inline=False)
def math_equal(problem: Problem, text: str, *, after: str = "") -> Judgement:
    r"""The final answer equals the reference mathematically.

    The answer is what follows the last marker `after`; without one it is the last \boxed{...}, or what "the answer is"
    introduces, or the formula that the last sentence ends with.
    """
    reference = problem.answer or ""
    gold = (stated(reference, after) if after and after in reference else boxed(reference)) or Stated(reference)
    if not gold.text or not gold.text.strip():
        return unknown("the problem has no reference answer")
    found = stated(text, after)
    if found.text is None and not after and boxed(text) is None:
        found = _conclusion(text) or found
    if found.text is None:
        return unknown(found.why)
    if len(found.text) > _LONGEST:
        return unknown(f"an answer of {len(found.text)} characters is not read")
    outcome = same(plain(gold.text), plain(found.text))
    return Judgement(outcome=outcome, evidence=f"{quoted(found.text)} for {quoted(gold.text)}")


def warm_up() -> None:
    """Load sympy, which takes a second, before the clock of a first call starts."""
    _algebra("1", "x")


def _conclusion(text: str) -> Stated | None:
    """The formula with which the last sentence says what something is."""
    found = _CONCLUSION.search(text[-_LONGEST:])
    return Stated(next(g for g in found.groups() if g is not None).strip()) if found else None


def same(gold: str, pred: str, depth: int = 0) -> Outcome:
    """Whether two answers in the spelling of `latex.plain` mean the same."""
    if tight(gold) == tight(pred):
        return "pass"
    if depth > _DEEPEST or not pred or not gold:
        return "unknown"
    rules: tuple[Callable[[str, str, int], Outcome | None], ...] = (
        _numbers, _texts, _sequences, _bases, _measures, _equations,
    )  # fmt: skip
    for rule in rules:
        outcome = rule(gold, pred, depth + 1)
        if outcome is not None:
            return outcome
    return _algebra(gold, pred)


def _numbers(gold: str, pred: str, depth: int) -> Outcome | None:
    a, b = _number(gold), _number(pred)
    if a is None or b is None:
        return None
    if a.value == b.value:
        return "pass"
    lists, rounded = "," in gold and "," in pred, "." in gold + pred
    return None if lists or rounded else "fail"


def _number(text: str) -> Number | None:
    """A bare number: digits, sign, separators, a fraction of whole numbers."""
    if not re.fullmatch(r"[-+]?\s*(?:[0-9.,/ ]|\\frac\s*\{?[0-9]+\}?\s*\{?[0-9]+\}?)+", text):
        return None
    found = numbers(text)
    return found[0] if len(found) == 1 else None


def _texts(gold: str, pred: str, depth: int) -> Outcome | None:
    """Answers in words. Different single words differ; different phrases may mean the same."""
    if measure(gold).unit or measure(pred).unit or sequence(gold).ordered or sequence(pred).ordered:
        return None
    a, b = words(gold), words(pred)
    if a is None and b is None:
        return None
    a, b = a or tight(gold), b or tight(pred)
    if a.replace(" ", "").lower() == b.replace(" ", "").lower():
        return "pass"
    single = all(re.fullmatch("[A-Za-z]+", x) for x in (a, b))
    return "fail" if single and (len(a) == 1) == (len(b) == 1) else "unknown"


def _sequences(gold: str, pred: str, depth: int) -> Outcome | None:
    a, b = sequence(gold), sequence(pred)
    if max(len(a.parts), len(b.parts)) < 2 or re.search(r"\\cup|\\cap|[<>]|\\[lg]e(?![a-z])|\\begin", gold + pred):
        return None
    if len(a.parts) != len(b.parts):
        return "fail"
    in_order = _all([same(x, y, depth) for x, y in zip(a.parts, b.parts, strict=True)])
    if a.ordered and b.ordered:
        if in_order != "pass" or a.brackets == b.brackets:
            return in_order
        return "unknown" if {a.brackets, b.brackets} == {"()", "[]"} and r"\infty" not in gold else "fail"
    if in_order == "pass":
        return "pass"
    matched = _matched(a.parts, b.parts, depth)
    return "unknown" if (a.ordered or b.ordered) and matched == "pass" else matched


def _matched(gold: tuple[str, ...], pred: tuple[str, ...], depth: int) -> Outcome:
    """Whether the parts are the same in some order."""
    left, seen = list(pred), set[Outcome]()
    if len(left) > 12:
        return "unknown"
    for part in gold:
        outcomes: list[Outcome] = [same(part, other, depth) for other in left]
        if "pass" in outcomes:
            left.pop(outcomes.index("pass"))
        else:
            seen.add("unknown" if "unknown" in outcomes else "fail")
    return "fail" if "fail" in seen else "unknown" if seen else "pass"


def _bases(gold: str, pred: str, depth: int) -> Outcome | None:
    """Whole numbers with a base written under them; one base may be left out."""
    a, b = based(gold), based(pred)
    if a is None or b is None or (a.base is None and b.base is None):
        return None
    if a.base is None or b.base is None:
        if a.digits == b.digits:
            return "pass"
        return "unknown" if a.value == b.value else "fail"
    return "unknown" if a.value is None else "pass" if a.value == b.value else "fail"


def _measures(gold: str, pred: str, depth: int) -> Outcome | None:
    """Values with units. A unit on one side alone is taken as understood; different units are not converted."""
    a, b = measure(gold), measure(pred)
    if not a.unit and not b.unit and (a.value, b.value) == (gold, pred):
        return None
    if a.unit and b.unit and a.unit != b.unit:
        return "unknown"
    outcome = same(a.value, b.value, depth)
    if outcome == "pass" or a.unit == b.unit:
        return outcome
    factor = {"%": r"\frac{1}{100}", "circ": r"\frac{\pi}{180}"}.get(a.unit or b.unit)
    if factor is None or (factor.startswith(r"\frac{\pi") and r"\pi" not in a.value + b.value):
        return outcome
    left, right = (rf"({m.value}) \cdot {factor}" if m.unit else m.value for m in (a, b))
    return _algebra(left, right)


def _equations(gold: str, pred: str, depth: int) -> Outcome | None:
    """`x = 5` and `5`, or two of the kind; equations that give no value are left to algebra."""
    a, b = equation(gold), equation(pred)
    if len(a.sides) == 1 and len(b.sides) == 1:
        return None
    if a.name and b.name and len(a.sides) > 1 and len(b.sides) > 1:
        outcome = same(a.sides[-1], b.sides[-1], depth)
        return outcome if outcome != "pass" or a.name == b.name else "unknown"
    if len(a.sides) > 1 and len(b.sides) > 1:
        return None
    chain, other = (a, pred) if len(a.sides) > 1 else (b, gold)
    if not chain.name and same(chain.sides[0], chain.sides[-1], depth) != "pass":
        return "unknown"
    left, right = (chain.sides[-1], other) if chain is a else (other, chain.sides[-1])
    return same(left, right, depth)


def _all(outcomes: list[Outcome]) -> Outcome:
    return "fail" if "fail" in outcomes else "unknown" if "unknown" in outcomes else "pass"


def _algebra(gold: str, pred: str) -> Outcome:
    """One formula against another, by math-verify. What it cannot read, or fails to decide, is unknown."""
    import math_verify

    try:
        a, b = (_parsed(x) for x in (gold, pred))
        if a is None or b is None:
            return "unknown"
        if math_verify.verify([a], [b], timeout_seconds=None, allow_set_relation_comp=True, raise_on_error=True):
            return "pass"
        return "unknown" if _doubtful(a, b) else "fail"
    except Exception:  # sympy raises errors of every kind on odd input
        return "unknown"


@lru_cache(maxsize=1)
def _reader() -> Callable[[str], list[Any]]:
    """math-verify's parser for whole LaTeX answers; it may not pick a part of one, nor take a letter for a unit."""
    import math_verify
    from latex2sympy2_extended import NormalizationConfig

    logging.getLogger("math_verify").setLevel(logging.ERROR)  # it warns that its time limits are off
    spelling = NormalizationConfig(basic_latex=True, units=False, malformed_operators=True, nits=True, boxed="none")
    config = math_verify.LatexExtractionConfig(boxed_match_priority=-1, normalization_config=spelling)

    def read(text: str) -> list[Any]:
        found = math_verify.parse(
            f"${text}$", [config], fallback_mode="no_fallback", parsing_timeout=None, raise_on_error=True
        )
        return list(found)

    return read


def _parsed(text: str) -> Any:
    found = _reader()(text)
    return found[0] if found else None


def _doubtful(a: Any, b: Any) -> bool:
    """Whether two formulas that were not proved equal may be so: alike at sample points, or but for a letter's case."""
    import sympy

    if not isinstance(a, sympy.Expr) or not isinstance(b, sympy.Expr):
        return False
    ours, theirs = ({str(s) for s in x.free_symbols} for x in (a, b))
    if ours != theirs:
        return {s.lower() for s in ours} == {s.lower() for s in theirs}
    symbols = sorted(a.free_symbols, key=str)
    for k in (1, 2, 3):
        point = {s: sympy.Rational(7 * k + 3 * i + 1, 11) for i, s in enumerate(symbols)}
        gap = abs(complex(sympy.N((a - b).subs(point).doit())))
        if not gap <= 1e-9 * max(1.0, abs(complex(sympy.N(a.subs(point).doit())))):
            return False
    return True
