"""What both kinds of training are told, and what both tell."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from errata.train.examples import Examples

_SOME = 10


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How long, how fast and by how much at once."""

    out: Path
    epochs: float
    steps: int
    """Updates, in place of epochs; 0 for those of the epochs."""
    batch: int
    """Rows of one update: those at once on a device, times `accumulate`."""
    accumulate: int
    learning_rate: float
    seed: int


def arguments(settings: Settings) -> dict[str, Any]:
    """The arguments of TRL's configurations: nothing is reported to anyone, nothing but the result is saved."""
    gpu = torch.cuda.is_available()
    return {
        "output_dir": str(settings.out), "num_train_epochs": settings.epochs, "max_steps": settings.steps or -1,
        "per_device_train_batch_size": settings.batch, "per_device_eval_batch_size": settings.batch,
        "gradient_accumulation_steps": settings.accumulate, "learning_rate": settings.learning_rate,
        "lr_scheduler_type": "cosine", "warmup_steps": 0.05, "weight_decay": 0.0, "max_grad_norm": 1.0,
        "seed": settings.seed, "data_seed": settings.seed, "use_cpu": not gpu, "bf16": gpu,
        "gradient_checkpointing": gpu, "logging_steps": 1, "save_strategy": "no", "report_to": "none",
        "disable_tqdm": True, "dataloader_pin_memory": gpu,
    }  # fmt: skip


def report(rows: Examples, log: Sequence[dict[str, Any]], before: float | None, after: float | None) -> dict[str, Any]:
    """Rows, updates and losses; `before` and `after` are those on what was held out."""
    losses = [float(entry["loss"]) for entry in log if "loss" in entry]
    some = max(1, len(losses) // _SOME)
    return {
        "rows": len(rows.train),
        "rows_held_out": len(rows.held_out),
        "rows_left_out": dict(rows.left_out),
        "updates": len(losses),
        "loss_first": _mean(losses[:some]),
        "loss_last": _mean(losses[-some:]),
        "held_out_loss_before": before,
        "held_out_loss_after": after,
    }


def _mean(values: Sequence[float]) -> float:
    return round(sum(values) / len(values), 6)
