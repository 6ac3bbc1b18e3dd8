"""What a world may answer: values that are no such answer are refused before anything is made of them."""

import math
from typing import Any, Literal

from errata.environments.base import Turn

LONGEST = 1 << 16
"""Characters of the longest observation; what is longer is a flood."""

Question = Literal["valid_actions", "gold_actions", "distance", "checks"]
"""What a session may ask of its world beside to act; each is a method without arguments."""


class Flood(Exception):
    """An answer that is larger than any may be."""


class Nonsense(Exception):
    """An answer of the wrong type or out of its range."""


def checked_text(text: Any) -> str:
    """`text` if it is an observation. Raises Nonsense or Flood."""
    if not isinstance(text, str):
        raise Nonsense(f"an observation is a text, not {type(text).__name__}")
    if len(text) > LONGEST:
        raise Flood(f"an observation of {len(text)} characters is longer than {LONGEST}")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise Nonsense(f"a text that cannot be stored: {error}") from error
    return text


def checked_turn(turn: Any) -> Turn:
    """`turn` if it is one that can be stored. Raises Nonsense or Flood."""
    if not isinstance(turn, Turn):
        raise Nonsense(f"step returns a Turn, not {type(turn).__name__}")
    checked_text(turn.observation)
    reward = _number(turn.reward, "a reward")
    if not 0 <= reward <= 1:
        raise Nonsense(f"a reward lies in 0..1, not at {reward}")
    if {type(turn.done), type(turn.valid), type(turn.changed)} != {bool}:
        raise Nonsense("done, valid and changed are True or False")
    return turn


def checked_answer(question: Question, value: Any) -> Any:
    """`value` if it answers the question. Raises Nonsense or Flood."""
    if question == "distance":
        if value is not None and not _number(value, "a distance") >= 0:
            raise Nonsense(f"a distance is 0 or more, not {value}")
        return value
    if question == "checks":
        if not isinstance(value, dict) or {type(v) for v in value.values()} - {bool}:
            raise Nonsense("checks are names with True or False")
        for name in value:
            checked_text(name)
        return value
    if value is None and question == "gold_actions":
        return None
    if not isinstance(value, tuple | list):
        raise Nonsense(f"actions are a tuple of texts, not {type(value).__name__}")
    return tuple(checked_text(action) for action in value)


def _number(value: Any, what: str) -> float:
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise Nonsense(f"{what} is a number, not {type(value).__name__}")
    if math.isnan(value):
        raise Nonsense(f"{what} is a number, not NaN")
    return value
