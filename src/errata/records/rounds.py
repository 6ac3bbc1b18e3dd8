"""The account of an iteration, `rounds.json`: a line for each finished round, added at the end and never altered."""

from typing import Any

from msgspec import Struct

from errata.records.schema import record_schema


class Training(Struct, frozen=True, kw_only=True):
    """One run of a training command that ended well."""

    name: str
    """The folder of the new model, in the folder of trained models."""
    command: str
    """As the recipe has it; placeholders tell what it was given, and no path of a machine stands here."""
    start: str
    """Digest or commit of the model that it started from."""
    revision: str
    """Digest of the model that it wrote, as its engine tells it."""
    exit: int
    seconds: float
    metrics: dict[str, Any]
    """The last line of its output that is a JSON object; empty where there is none."""


class Round(Struct, frozen=True, kw_only=True):
    """One round: the dataset that a student's revision made, and the revision trained on it."""

    iteration: str
    """Digest of what the rounds have in common: the first one's pipeline version and the `iterate` block."""
    round: int
    """From 1."""
    changes: tuple[str, ...]
    """The entry of `sets` that the round kept to."""
    dataset: str
    """Path of the version, relative to the output folder."""
    version: str
    content_hash: str
    student: str
    """The role that is trained."""
    before: str
    """Digest or commit of the model that made the dataset."""
    after: str
    """Digest of the model that the next round works with."""
    trained_on: tuple[str, ...]
    """Versions that the training read."""
    training: Training


def rounds_schema() -> dict[str, Any]:
    """JSON Schema of `rounds.json`."""
    body = {
        "format": {"const": 1},
        "rounds": {"type": "array", "items": record_schema(Round)},
        "seal": {"type": "string", "pattern": "^[0-9a-f]{64}$"},
    }
    return {"type": "object", "properties": body, "required": [*body], "additionalProperties": False}
