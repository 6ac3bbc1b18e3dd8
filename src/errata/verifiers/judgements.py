"""The two sentences that verifiers end with: a comparison that was made, or why none could be."""

from errata.verifiers.base import Judgement

_LONGEST = 160


def judged(same: bool, evidence: str) -> Judgement:
    """Pass or fail, with the answer that was read."""
    return Judgement(outcome="pass" if same else "fail", evidence=evidence)


def unknown(why: str) -> Judgement:
    """No verdict, with the reason."""
    return Judgement(outcome="unknown", evidence=why)


def quoted(text: str) -> str:
    """`text` in quotes, its middle left out where it is long."""
    return repr(text if len(text) <= _LONGEST else f"{text[: _LONGEST // 2]} ... {text[-_LONGEST // 2 :]}")
