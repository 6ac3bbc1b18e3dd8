"""What a verifier says: pass, fail or unknown, and why. It never calls a model and never raises for a bad answer."""

from msgspec import Struct

from errata.records.types import Check, Outcome


class Judgement(Struct, frozen=True, kw_only=True, gc=False):
    """A verdict before it is attached to its target. An answer that cannot be read is unknown, not wrong."""

    outcome: Outcome
    score: float | None = None
    """In 0..1 where the verifier grades."""
    checks: tuple[Check, ...] = ()
    evidence: str = ""
    """The answer that was read, or why none was."""
