"""Supervised fine-tuning: each token's loss counts by the weight of its span, and not at all where it is masked."""

from typing import Any

import torch
from datasets import Dataset
from trl import SFTConfig, SFTTrainer
from trl.trainer.sft_trainer import DataCollatorForLanguageModeling

from errata.exports.tokens import IGNORED
from errata.train.examples import Example, Examples
from errata.train.model import Loaded
from errata.train.settings import Settings, arguments, report


def train(loaded: Loaded, rows: Examples, settings: Settings) -> dict[str, Any]:
    """Train the model in place; what is known of it afterwards, as JSON can say it."""
    config = SFTConfig(
        **arguments(settings), max_length=None, packing=False, remove_unused_columns=False,
        # The rows are ids and labels already.
        dataset_kwargs={"skip_prepare_dataset": True},
    )  # fmt: skip
    kind = _Weighted if rows.weighted else SFTTrainer
    trainer = kind(
        model=loaded.model, args=config, processing_class=loaded.tokenizer, train_dataset=_dataset(rows.train, rows),
        eval_dataset=_dataset(rows.held_out, rows) if rows.held_out else None,
        data_collator=(_Collator if rows.weighted else DataCollatorForLanguageModeling)(loaded.tokenizer.pad_token_id),
    )  # fmt: skip
    before = trainer.evaluate()["eval_loss"] if rows.held_out else None
    trainer.train()
    after = trainer.evaluate()["eval_loss"] if rows.held_out else None
    labels = [label for row in rows.train for label in row["labels"]]
    return {
        **report(rows, trainer.state.log_history, before, after),
        "tokens": len(labels),
        "trained_tokens": sum(label != IGNORED for label in labels),
    }


def _dataset(rows: list[Example], of: Examples) -> Dataset:
    columns = ("input_ids", "labels", *(("weights",) if of.weighted else ()))
    return Dataset.from_list([{c: row[c] for c in columns} for row in rows])


class _Collator(DataCollatorForLanguageModeling):
    """Batches that keep the weights beside the labels."""

    def torch_call(self, examples: list[Example]) -> dict[str, Any]:
        weights = [torch.tensor(e["weights"]) for e in examples]
        batch: dict[str, Any] = super().torch_call([{k: e[k] for k in ("input_ids", "labels")} for e in examples])
        width = batch["labels"].shape[1]
        batch["weights"] = torch.stack([torch.nn.functional.pad(w, (0, width - len(w))) for w in weights])
        return batch


class _Weighted(SFTTrainer):
    """The mean over trained tokens of weight times negative log-likelihood."""

    def compute_loss(
        self, model: Any, inputs: dict[str, Any], return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        weights, labels = inputs.pop("weights")[:, 1:], inputs.pop("labels")[:, 1:]
        outputs = model(**inputs, use_cache=False)
        each = torch.nn.functional.cross_entropy(
            outputs.logits[:, :-1].float().transpose(1, 2), labels, ignore_index=IGNORED, reduction="none"
        )
        count = (labels != IGNORED).sum() if num_items_in_batch is None else num_items_in_batch
        loss = (each * weights).sum() / count
        return (loss, outputs) if return_outputs else loss
