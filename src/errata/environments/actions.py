"""What of an agent's words is its action, and what of its text is thought."""

import re

_MARK = re.compile(r"^[ \t>*]*action[ \t]*:[ \t]*", re.IGNORECASE | re.MULTILINE)


def action_of(text: str) -> str:
    """The action in an agent's turn, white space made one: what follows the last `Action:`, else the last line.

    Of what follows `Action:` the first line counts. Empty where the text says nothing.
    """
    return " ".join(text[action_at(text) :].strip().partition("\n")[0].split())


def action_at(text: str) -> int:
    """Where the part of a turn begins that holds its action: the line of the last `Action:`, else the last line."""
    marks = list(_MARK.finditer(text))
    if marks and text[marks[-1].end() :].strip():
        return marks[-1].end()
    return text.rstrip().rfind("\n") + 1
