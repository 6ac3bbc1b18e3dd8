"""What a verifier says: pass, fail or unknown, and why. It never calls a model and never raises for a bad answer."""

from dataclasses import dataclass

from errata.records.types import Check, Outcome


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """A verdict before it is attached to its target. An answer that cannot be read is unknown, not wrong."""

    outcome: Outcome
    score: float | None = None
    """In 0..1 where the verifier grades."""
    checks: tuple[Check, ...] = ()
    evidence: str = ""
    """The answer that was read, or why none was."""
