"""Small models of fixed families of problems, from nothing: word tokens, a Llama, batches, and the optimizers.

The scripts under data/ that made the models which errata ships differ in their data alone; the rest is here.
"""

import random
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers
from torch import Tensor, distributed, nn
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

SPECIAL = ("<|pad|>", "<|unk|>", "<|system|>", "<|user|>", "<|assistant|>", "<|end|>")
"""The first tokens of every vocabulary."""
TEMPLATE = (
    "{% for m in messages %}{{ '<|' + m['role'] + '|>' + m['content'] }}"
    "{% if not (loop.last and continue_final_message is defined and continue_final_message) %}<|end|>{% endif %}"
    "{% endfor %}{% if add_generation_prompt %}<|assistant|>{% endif %}"
)


class Turn(NamedTuple):
    """One message of a conversation to train on."""

    role: str
    text: str
    train: bool = False


def tokenizer(words: Sequence[str], positions: int, marks: str = "") -> PreTrainedTokenizerFast:
    """Word-level tokens; a line break is a word of its own, and text of single spaces survives the round trip.

    Each character of `marks` is a word of its own too, without a space before it. The names of roles are no special
    tokens, which decoding skips: the decoder must see one to know that no space joins the words after it to those
    before it, when a server decodes a reply after its prompt.
    """
    vocabulary = {w: i for i, w in enumerate((*SPECIAL, "\n", *marks, *words))}
    made = Tokenizer(models.WordLevel(vocabulary, unk_token="<|unk|>"))
    splits = [pre_tokenizers.Split("\n", "isolated"), pre_tokenizers.Split(" ", "removed")]
    joins = [decoders.Replace(Regex(" ?\n ?"), "\n")]
    for mark in marks:
        splits.append(pre_tokenizers.Split(mark, "isolated"))
        joins.append(decoders.Replace(f" {mark}", mark))
    made.pre_tokenizer = pre_tokenizers.Sequence(splits)
    made.add_tokens([AddedToken(f"<|{r}|>", normalized=False, special=False) for r in ("system", "user", "assistant")])
    made.decoder = decoders.Sequence(
        [
            decoders.WordPiece(prefix="##", cleanup=False),
            decoders.Fuse(),
            decoders.Replace(Regex(r" ?<\|(system|user|assistant)\|> ?"), ""),
            *joins,
        ]
    )
    untyped: Any = PreTrainedTokenizerFast
    fast: PreTrainedTokenizerFast = untyped(
        tokenizer_object=made,
        pad_token="<|pad|>",
        unk_token="<|unk|>",
        eos_token="<|end|>",
        model_max_length=positions,
        clean_up_tokenization_spaces=False,
    )
    fast.chat_template = TEMPLATE
    return fast


def llama(vocabulary: int, *, width: int, layers: int, positions: int) -> LlamaForCausalLM:
    """A model of so many layers with heads of 32, which vLLM can run on a CPU; its embeddings are tied."""
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=vocabulary,
            hidden_size=width,
            intermediate_size=3 * width,
            num_hidden_layers=layers,
            num_attention_heads=width // 32,
            num_key_value_heads=width // 32,
            head_dim=32,
            max_position_embeddings=positions,
            tie_word_embeddings=True,
            bos_token_id=None,
            eos_token_id=SPECIAL.index("<|end|>"),
            pad_token_id=0,
            rms_norm_eps=1e-5,
        )
    )


class Row(NamedTuple):
    """A conversation as tokens, and which of them are targets."""

    ids: list[int]
    train: list[bool]


class Encoder:
    """Turns to rows. Raises KeyError for a word that the vocabulary does not have."""

    def __init__(self, made: PreTrainedTokenizerFast, marks: str = "") -> None:
        self._vocabulary = made.get_vocab()
        inside = re.escape(marks)
        self._words = re.compile(rf"\n|[{inside}]|[^ \n{inside}]+" if marks else r"\n|[^ \n]+")

    def __call__(self, turns: Sequence[Turn]) -> Row:
        """The end of a turn that is trained on is a target too."""
        row = Row([], [])
        for role, text, train in turns:
            ids = [self._vocabulary[w] for w in self._words.findall(text)]
            row.ids.extend((self._vocabulary[f"<|{role}|>"], *ids, self._vocabulary["<|end|>"]))
            row.train.extend((False, *[train] * (len(ids) + 1)))
        return row


def batches(rng: random.Random, rows: list[Row], tokens: int) -> Iterator[tuple[Tensor, Tensor]]:
    """The rows by length, in batches of about `tokens` tokens: ids and labels, which are -100 off the targets."""
    rows.sort(key=lambda r: len(r.ids))
    groups: list[list[Row]] = [[]]
    for row in rows:
        if groups[-1] and (len(groups[-1]) + 1) * len(row.ids) > tokens:
            groups.append([])
        groups[-1].append(row)
    rng.shuffle(groups)
    for group in groups:
        width = len(group[-1].ids)
        x = torch.zeros(len(group), width, dtype=torch.long)
        y = torch.full((len(group), width), -100)
        for i, row in enumerate(group):
            x[i, : len(row.ids)] = torch.tensor(row.ids)
            y[i, : len(row.ids)] = torch.tensor([a if t else -100 for a, t in zip(row.ids, row.train, strict=True)])
        yield x, y


class Muon(torch.optim.Optimizer):
    """Momentum, orthogonalised by Newton-Schulz iterations (Jordan et al. 2024), for the matrices of the layers."""

    def __init__(self, params: list[nn.Parameter], lr: float) -> None:
        super().__init__(params, {"lr": lr})

    def step(self, closure: None = None) -> None:
        """One update."""
        with torch.no_grad():
            for group in self.param_groups:
                for p in group["params"]:
                    self._move(p, group["lr"])

    def _move(self, p: nn.Parameter, rate: float) -> None:
        m = self.state[p].setdefault("momentum", torch.zeros_like(p)).lerp_(p.grad, 0.05)
        x = p.grad.lerp(m, 0.95)
        tall = x.shape[0] > x.shape[1]
        x = x.T if tall else x
        x = x / (x.norm() + 1e-7)
        for _ in range(5):
            s = x @ x.T
            x = 3.4445 * x + (-4.7750 * s + 2.0315 * s @ s) @ x
        x = x.T if tall else x
        p.mul_(1 - rate * 0.01)
        p.add_(x, alpha=-rate * max(1, p.shape[0] / p.shape[1]) ** 0.5)


class Updates:
    """Muon for the matrices of the layers, AdamW for the rest."""

    def __init__(self, model: LlamaForCausalLM) -> None:
        matrices = [p for n, p in model.named_parameters() if p.ndim == 2 and "layers" in n]
        rest = [p for n, p in model.named_parameters() if p.ndim != 2 or "layers" not in n]
        self._model = model
        self._optimizers = [(Muon(matrices, 0.02), 0.02), (torch.optim.AdamW(rest, lr=4e-3, betas=(0.9, 0.95)), 4e-3)]

    def __call__(self, x: Tensor, y: Tensor, factor: float) -> float:
        """One update on a batch, at this factor on the base rates; the loss before it."""
        loss = self._model(input_ids=x, labels=y).loss
        loss.backward()
        if distributed.is_initialized():
            for p in self._model.parameters():
                distributed.all_reduce(p.grad)
                p.grad /= distributed.get_world_size()
        nn.utils.clip_grad_norm_(self._model.parameters(), 1.0)
        for optimizer, peak in self._optimizers:
            for group in optimizer.param_groups:
                group["lr"] = peak * factor
            optimizer.step()
            optimizer.zero_grad()
        return float(loss.item())


def learning_rate(progress: float) -> float:
    """Factor on the base rates: a short warm-up, a plateau, and a linear decay over the last 40 %."""
    return min(1.0, progress / 0.01) * min(1.0, (1 - progress) / 0.4)


def save(model: LlamaForCausalLM, made: PreTrainedTokenizerFast, out: Path) -> None:
    """The folder that engines run, but for model.onnx."""
    out.mkdir(parents=True, exist_ok=True)
    model.save_pretrained(out, safe_serialization=True)
    made.save_pretrained(out)
