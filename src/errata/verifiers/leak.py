"""Does a critique or reflection give away what its maker was shown: the reference answer or the gold steps?"""

import re

from errata.records.types import Problem

_ASSERTED = r"(?:\banswer|result|total|value|solution|should be|must be|equals?|=|gets?|gives?)(?!\w)[^.\n]{0,24}?(?<![\w.])"
_SHORT = 3
"""Answers below this length occur by chance; they leak only where the text asserts them."""


def leaked(problem: Problem, text: str) -> str | None:
    """What `text` gives away of the problem's privileged answer or solution, or None.

    A long answer leaks wherever it stands by itself; a short one, such as `7`, where it is stated as an answer. A gold
    step leaks where it stands word for word.
    """
    plain = " ".join(text.split())
    if not plain:
        return None
    answer = " ".join((problem.answer or "").split())
    if answer:
        standing = rf"(?<![\w.]){re.escape(answer)}(?![\w]|\.\d)"
        if len(answer) >= _SHORT and re.search(standing, plain):
            return f"the reference answer {answer!r}"
        if re.search(_ASSERTED + re.escape(answer) + r"(?![\w]|\.\d)", plain, re.IGNORECASE):
            return f"the reference answer {answer!r}, stated as such"
    for step in problem.solution:
        gold = " ".join(step.split())
        if len(gold) > 12 and gold in plain:
            return f"the gold step {gold!r}"
    return None
