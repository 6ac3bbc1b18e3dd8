"""A model to train, and the folder that it is saved to: all that an engine needs to run it."""

import shutil
from pathlib import Path
from typing import Any, NamedTuple

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from errata.train.graph import export

_SHARED = ("tokenizer*", "chat_template*", "special_tokens_map.json", "added_tokens.json", "vocab*", "merges.txt")
"""Files that training does not change; they are copied byte for byte, so that every revision tokenizes alike."""


class Loaded(NamedTuple):
    """A model on the device that it is trained on."""

    model: Any
    tokenizer: Any


def load(name: str, dtype: str) -> Loaded:
    """The model in a folder, or of a name on the hub, with weights of this type."""
    tokenizer = AutoTokenizer.from_pretrained(name)
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    return Loaded(AutoModelForCausalLM.from_pretrained(name, dtype=getattr(torch, dtype)), tokenizer)


def save(loaded: Loaded, name: str, out: Path) -> None:
    """Write what `load(name)` gave, trained, to `out`; with a `model.onnx` where the first model had one."""
    out.mkdir(parents=True, exist_ok=True)
    loaded.model.save_pretrained(out, max_shard_size="1TB")
    if Path(name).is_dir():
        for path in (p for pattern in _SHARED for p in Path(name).glob(pattern)):
            shutil.copyfile(path, out / path.name)
    else:
        loaded.tokenizer.save_pretrained(out)
    if (Path(name) / "model.onnx").is_file():
        export(out)
