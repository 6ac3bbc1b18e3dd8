"""Preference training (DPO): chosen over rejected, against the model as it was, the loss on the replies alone."""

from typing import Any

from datasets import Dataset
from trl import DPOConfig, DPOTrainer

from errata.train.examples import Examples
from errata.train.model import Loaded
from errata.train.settings import Settings, arguments, report


def train(loaded: Loaded, rows: Examples, settings: Settings, *, beta: float) -> dict[str, Any]:
    """Train the model in place; what is known of it afterwards, as JSON can say it."""
    trainer = _Exact(
        model=loaded.model, args=DPOConfig(**arguments(settings), beta=beta, max_length=None),
        processing_class=loaded.tokenizer, train_dataset=Dataset.from_list(rows.train),
        eval_dataset=Dataset.from_list(rows.held_out) if rows.held_out else None,
    )  # fmt: skip
    before = trainer.evaluate()["eval_loss"] if rows.held_out else None
    trainer.train()
    after = trainer.evaluate()["eval_loss"] if rows.held_out else None
    return report(rows, trainer.state.log_history, before, after)


class _Exact(DPOTrainer):
    """Takes rows that are ids already."""

    def _prepare_dataset(self, dataset: Dataset, *_: Any) -> Dataset:
        return dataset
