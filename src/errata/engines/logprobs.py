"""What engines make of log-probabilities: the tokens of a message as pieces of its text, and numbers fit to be kept.

A token that sets in before the message (` Hello` after a template's `Assistant:`) counts as the message's, for it tells
how likely its first characters are; its piece is what lies within the message.
"""

from collections.abc import Iterable, Sequence
from itertools import pairwise
from math import isfinite
from typing import Any, NamedTuple, NoReturn

from errata.engines.base import Request
from errata.errors import EngineError

DIGITS = 6
"""Decimals that are kept; engines differ from each other, and from themselves on other hardware, far before that."""
_FLOOR = -9000.0
"""Servers write -9999 where they mean minus infinity."""


class Pieces(NamedTuple):
    """The tokens of a message: the place of the first one among those of the prompt, and the text of each."""

    first: int
    texts: tuple[str, ...]


def refuse(request: Request, engine: str) -> None:
    """Raise EngineError `no_logprobs` if the request wants log-probabilities of an engine that has none."""
    if request.logprobs or request.score:
        raise EngineError("no_logprobs", f"{engine} gives no log-probabilities: ask an engine that is a model")


def scored(request: Request) -> str:
    """The message to score. Raises EngineError `unsupported` if there is none."""
    text = request.messages[-1].content
    if not request.continues or not text.strip():
        raise EngineError("unsupported", "only a last message of the assistant's that says something can be scored")
    return text


def numbers(values: Iterable[Any]) -> tuple[float, ...] | None:
    """Log-probabilities as they are kept, or None if any of them is none."""
    found = list(values)
    for v in found:
        if isinstance(v, bool) or not isinstance(v, int | float) or not isfinite(v) or not _FLOOR < v < 1e-3:
            return None
    return tuple(round(min(0.0, float(v)), DIGITS) + 0.0 for v in found)


def by_offsets(prompt: str, content: str, offsets: Sequence[tuple[int, int]]) -> Pieces:
    """Pieces of `content`, with which the rendered `prompt` ends, from where each token of the prompt begins and ends.

    Characters that no token holds, such as a space that the tokenizer removes, go with the token after them, and with
    the last one at the end. Raises EngineError `unsupported` for a template that changes the message.
    """
    begin = len(prompt) - len(content)
    if not prompt.endswith(content):
        _unsupported("the chat template does not end with the message as it is")
    first = next((i for i, (_, end) in enumerate(offsets) if end > begin), 0)
    if not first:
        _unsupported("no token comes before the message" if offsets else "the message has no tokens")
    ends = [0]
    for _, end in offsets[first:]:
        ends.append(max(ends[-1], end - begin))
    return Pieces(first, _cut(content, ends))


def by_texts(tokens: Sequence[str], content: str) -> Pieces:
    """Pieces of `content`, with which a prompt of these tokens ends, from the text of each token alone.

    Read from the end. Spaces around a token may be missing in its text, as words and SentencePiece leave them out.
    Raises EngineError `unsupported` where a token is not the text that it should be.
    """
    ends, left, first = [len(content)], len(content), len(tokens)
    while left and (rest := content[:left]).strip():
        first -= 1
        if first < 1:
            _unsupported("the prompt's tokens end before the message begins")
        token = tokens[first]
        if rest.endswith(token):
            left -= len(token)
        elif token.endswith(rest):
            left = 0
        elif token.strip() and rest.rstrip().endswith(token.strip()):
            ends[-1] = len(rest.rstrip()) if len(ends) > 1 else ends[-1]
            left = len(rest.rstrip()) - len(token.strip())
        else:
            _unsupported(f"the token {token!r:.40} is not how {rest[-20:]!r} ends")
        ends.append(left)
    return Pieces(first, _cut(content, [0, *ends[-2::-1]]))


def _cut(content: str, ends: list[int]) -> tuple[str, ...]:
    ends[-1] = len(content)
    return tuple(content[a:b] for a, b in pairwise(ends))


def _unsupported(why: str) -> NoReturn:
    raise EngineError("unsupported", f"the message's tokens cannot be told apart from its prompt's: {why}")
