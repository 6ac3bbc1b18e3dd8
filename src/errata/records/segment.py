"""Cut a text into steps without losing a character: joined, the steps are the text.

White space between two steps belongs to the step before it, so that a step ends where the next one begins to say
something. Leading white space belongs to the first step.
"""

import re
from collections.abc import Iterator
from typing import Literal, get_args

Rule = Literal["lines", "chain", "sentences", "paragraphs", "actions"]
"""`chain` is `lines` under the name that the procedural family uses: one step of a chain a line. `actions` cuts a plan:
step i ends with its action i, and what is no action, such as the fence around a plan, belongs to a step that has one.
"""

RULES: tuple[str, ...] = get_args(Rule)

_LINE = re.compile(r"\n\s*")
_PARAGRAPH = re.compile(r"\n[^\S\n]*\n\s*")
_SENTENCE = re.compile(r"\n\s*|[.!?]+[\"')\]\u201d\u2019]*\s+")
ACTION = re.compile(r"\(\s*[A-Za-z][\w-]*(?:\s+[\w-]+)*\s*\)")
"""An action of a plan in PDDL: `(unstack b3 b1)`."""
_ACTION = re.compile(rf"{ACTION.pattern}\s*")
_UNFINISHED = re.compile(r"(?:^|\W)(?:Mr|Mrs|Ms|Dr|Prof|St|vs|cf|approx|e\.g|i\.e)\.\s+\Z|(?:^|\n)\s*\d+\.\s+\Z")
"""A full stop that ends no sentence: a title, an abbreviation, or the number of an item in a list."""


def segment(text: str, rule: str) -> tuple[str, ...]:
    """The steps of `text` by `rule` (one of RULES); none is blank unless all of `text` is, and `""` has none.

    Raises ValueError for an unknown rule.
    """
    if rule not in RULES:
        raise ValueError(f"no rule is called {rule!r}: there are {', '.join(RULES)}")
    steps: list[str] = []
    start = 0
    for end in _ends(text, rule):
        if text[start:end].strip():
            steps.append(text[start:end])
            start = end
    rest = text[start:]
    if rule == "actions" and steps and ACTION.search(text):
        steps[-1] += rest
    elif rest.strip() or (rest and not steps):
        steps.append(rest)
    elif rest:
        steps[-1] += rest
    return tuple(steps)


def _ends(text: str, rule: str) -> Iterator[int]:
    """Where steps may end; every place follows white space, or an action in brackets.

    A line's indentation stays with the line that it indents, so a cut falls after the last line break.
    """
    if rule == "actions" and ACTION.search(text):
        yield from (found.end() for found in _ACTION.finditer(text))
        return
    pattern = {"paragraphs": _PARAGRAPH, "sentences": _SENTENCE}.get(rule, _LINE)
    for found in pattern.finditer(text):
        line_break = found[0].rfind("\n")
        before = max(0, found.start() - 12)
        if rule == "sentences" and line_break < 0 and _UNFINISHED.search(text, before, found.end()):
            continue
        yield found.start() + line_break + 1 if line_break >= 0 else found.end()
