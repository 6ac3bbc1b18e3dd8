"""How much of a trace comes after its first right answer, and how much it hesitates (Self-Braking, arXiv:2505.14604).

    reasoning efficiency   steps up to the end of the first right solution / all steps
    marker share           words of overthinking markers / all words
    score                  0.9 * (1 - reasoning efficiency) + 0.1 * marker share; above 0.2 a trace overthinks

Markers are counted as whole words: there is no "but" in "button". Words stand for tokens, as no tokenizer is at hand.
"""

import re
from collections.abc import Sequence

MARKERS = (
    "wait", "but", "however", "hmm", "alternatively", "actually", "hold on", "let me check", "double check",
    "double-check", "verify", "again", "another way",
)  # fmt: skip
"""Words that open another round of thought, in lower case; our own list, a parameter wherever it is used."""
BETA = 0.9
"""Weight of the reasoning efficiency in the score."""

_WORD = re.compile(r"\w+(?:[-'\u2019]\w+)*")


def marker_share(text: str, markers: Sequence[str] = MARKERS) -> float:
    """Share of the words of `text` that are markers, from 0 to 1; 0 for no words. A marker may be of several words."""
    words = _WORD.findall(text.lower())
    patterns = sorted({tuple(_WORD.findall(m.lower())) for m in markers} - {()}, key=lambda p: (-len(p), p))
    count = at = 0
    while at < len(words):
        size = next((len(p) for p in patterns if tuple(words[at : at + len(p)]) == p), 0)
        count += size
        at += size or 1
    return count / len(words) if words else 0.0


def overthinking(first: int, texts: Sequence[str], markers: Sequence[str] = MARKERS, beta: float = BETA) -> float:
    """The score of the steps `texts` whose first right solution takes the first `first` of them, from 0 to 1.

    Raises ValueError where there are fewer steps than that, or none.
    """
    if not 0 < first <= len(texts):
        raise ValueError(
            f"the first solution takes {first} of {len(texts)} steps: it takes at least one and at most all"
        )
    return beta * (1 - first / len(texts)) + (1 - beta) * marker_share("".join(texts), markers)
