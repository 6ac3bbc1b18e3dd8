"""The form of a hierarchical thought template: numbered steps, keys to the hard ones, what is general, the answer.

    <Step1>cedar is birch times amber ...</Step1>
    <Step2><Key>the order of a difference matters</Key> ...</Step2>
    <Generalized>Compute what is given first ...</Generalized>
    The answer is 3

It says nothing of whether the answer is right. Source: SuperCorrect's first stage (arXiv:2410.09008).
"""

import re

from errata.records.types import Check, Problem
from errata.registry import verifier
from errata.verifiers.base import Judgement

_TAG = re.compile(r"</?(?:Step\d+|Key|Generalized)>")
_WHOLE = re.compile(r"\s*((?:<Step\d+>.*?</Step\d+>\s*)*)(?:<Generalized>(.*?)</Generalized>)?(.*)", re.DOTALL)
_STEP = re.compile(r"<Step(\d+)>(.*?)</Step(\d+)>", re.DOTALL)
_KEY = re.compile(r"<Key>(.*?)</Key>", re.DOTALL)


@verifier(version=1)
def thought_template(problem: Problem, text: str) -> Judgement:
    """Whether `text` is a thought template; never unknown.

    Checks: `steps` come first, are not empty and are numbered from 1 without a gap; `keys` stand inside of steps, one
    after the other; one `generalized` follows them; and the `answer` follows that, outside of every block.
    """
    found = _WHOLE.fullmatch(text)
    steps, general, answer = found.groups() if found else ("", None, text)
    blocks = _STEP.findall(steps)
    numbers = [(int(first), int(last)) for first, _, last in blocks]
    bodies = [_KEY.sub("", body) for _, body, _ in blocks]
    keys = [key for _, body, _ in blocks for key in _KEY.findall(body)]
    right = {
        "steps": bool(blocks)
        and numbers == [(i, i) for i in range(1, len(blocks) + 1)]
        and all(map(str.strip, bodies)),
        "keys": not any(_TAG.search(part) for part in (*bodies, *keys)),
        "generalized": bool(general and general.strip()) and not _TAG.search(general or ""),
        "answer": bool(answer.strip()) and not _TAG.search(answer),
    }
    checks = tuple(Check(name=name, outcome="pass" if holds else "fail") for name, holds in right.items())
    broken = ", ".join(name for name, holds in right.items() if not holds)
    return Judgement(outcome="fail" if broken else "pass", checks=checks, evidence=broken)
