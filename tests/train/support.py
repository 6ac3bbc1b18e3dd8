"""Rows of a recipe that splices, a tokenizer for them, and which of their tokens should be trained, said once more."""

import re
from pathlib import Path
from typing import Any

from transformers import AutoTokenizer

from errata.engines.pocket import shipped
from errata.records.rows import SftRow

SPLICED: dict[str, Any] = {
    "name": "rounds",
    "version": 1,
    "seed": 5,
    "source": {"use": "procedural", "with": {"count": 40, "operations": [3, 5], "distractors": [0, 1]}},
    "engines": {
        "student": {"use": "pocket", "sampling": {"temperature": 1.0, "max_tokens": 120}},
        "teacher": {"use": "oracle"},
    },
    "stages": [
        {"use": "sample", "with": {"n": 3, "steps": "chain"}},
        {"use": "verify", "with": {"options": {"strict": True}}},
        {"use": "critique", "with": {"prompt": "chains_critique", "most": 2}},
        {"use": "revise", "with": {"prompt": "chains_revise", "n": 2, "steps": "chain"}},
        {"name": "verify_revisions", "use": "verify", "with": {"of": "revise", "options": {"strict": True}}},
        {"use": "splice", "with": {"lead": "There may be an error : ", "locations": ["teacher"], "most": 2}},
        {"name": "verify_splices", "use": "verify", "with": {"of": "splice"}},
        {"use": "pair"},
    ],
    "exports": [{"use": "sft"}, {"use": "dpo"}],
}
"""The student has never seen a spliced solution, so its loss on one is high at first and falls fast. It has words for
this lead, and none for others."""


def tokenizer(folder: Path | None = None) -> Any:
    """That of the pocket student."""
    return AutoTokenizer.from_pretrained(str(folder or shipped()))


def labelled(row: SftRow, vocabulary: dict[str, int]) -> tuple[list[int], list[bool]]:
    """Token ids of a row, and which are trained, by the pocket model's rules alone: a word or line break is a token."""
    ids: list[int] = []
    trained: list[bool] = []
    for i, message in enumerate(row.messages):
        ids.append(vocabulary[f"<|{message.role}|>"])
        trained.append(False)
        spans = [s for s in row.spans if s.message == i]
        for word in re.finditer(r"\n|[^ \n]+", message.content):
            ids.append(vocabulary[word[0]])
            trained.append(any(s.train and s.start <= word.start() and word.end() <= s.end for s in spans))
        ids.append(vocabulary["<|end|>"])
        trained.append(bool(spans) and max(spans, key=lambda s: s.end).train)
    return ids, trained
