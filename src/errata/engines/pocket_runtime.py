"""The batched decoder of the pocket engine: ragged rows in fixed slots, so that no row depends on its neighbours.

Every call of the model has one of a few fixed shapes: a prompt is read alone, padded to a bucket, into the keys and
values of its slot; then all slots advance by one token at a time, empty ones included. Keys and values are updated in
place. A row's tokens are drawn from its own counter-based generator, with probabilities in float64. So a row has the
same bits alone or among others, in any slot and in any order.
"""

from collections import OrderedDict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from errata.engines.base import Sampling

BUCKETS = (32, 64, 96, 128, 192, 256, 384, 512, 640)
"""Lengths that prompts are padded to."""
REMEMBERED = 48
"""Prompts whose keys and values are kept, for the next samples of the same prompt."""


@dataclass(slots=True, eq=False)
class Row:
    """One reply in the making."""

    prompt: tuple[int, ...]
    sampling: Sampling
    seed: int
    limit: int
    """Most tokens of the reply, at least 1."""
    logprobs: list[float] | None = None
    """Log-probabilities of `tokens` or, of a row to score, of the prompt's; None if nobody wants them."""
    scored: int = 0
    """If above 0, nothing is decoded: the prompt's tokens from here on are scored, and the row has ended."""
    tokens: list[int] = field(default_factory=list)
    slot: int = -1
    ended: bool = False
    """Whether the last token is the end-of-turn token, or all is scored."""


@dataclass(frozen=True, slots=True)
class _Prefill:
    """What reading one prompt left behind."""

    logits: NDArray[np.float32]
    cache: dict[str, NDArray[np.float32]]


Floats = NDArray[np.float64]


def draw(logits: NDArray[np.float32], temperature: Floats, top_p: Floats, uniform: Floats) -> list[int]:
    """One token a row: logits [rows, vocabulary], the others [rows]; each row is computed by itself.

    Temperature 0 takes the highest logit, the lowest index on ties. Otherwise the token is where `uniform` (0 to 1)
    falls in the cumulated probabilities; `top_p` < 1 keeps the fewest tokens whose probabilities reach it.
    """
    greedy = temperature <= 0
    x = logits.astype(np.float64) / np.where(greedy, 1.0, temperature)[:, None]
    p = np.exp(x - x.max(axis=1, keepdims=True))
    if (top_p < 1).any():
        order = np.argsort(-p, axis=1, kind="stable")
        ranked = np.take_along_axis(p, order, axis=1)
        before = np.cumsum(ranked, axis=1) - ranked
        kept = (before < top_p[:, None] * p.sum(axis=1, keepdims=True)) | (top_p >= 1)[:, None]
        kept[:, 0] = True
        np.put_along_axis(p, order, np.where(kept, ranked, 0.0), axis=1)
    cumulated = np.cumsum(p, axis=1)
    drawn = (cumulated <= uniform[:, None] * cumulated[:, -1:]).sum(axis=1)
    tokens: list[int] = np.where(greedy, logits.argmax(axis=1), np.minimum(drawn, logits.shape[1] - 1)).tolist()
    return tokens


def own(logits: NDArray[np.float32], token: int) -> float:
    """Log-probability of `token` under the model itself, logits [vocabulary]: temperature 1, nothing cut off."""
    x = logits.astype(np.float64) - logits.max()
    return float(x[token] - np.log(np.exp(x).sum()))


class Decoder:
    """Slots of one onnxruntime session; used by one thread at a time."""

    def __init__(self, *, folder: Path, slots: int, threads: int, end: int) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 3
        # A waiting thread that spins takes the core that the event loop needs.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        self._session: Any = onnxruntime.InferenceSession(
            str(folder / "model.onnx"), options, providers=["CPUExecutionProvider"]
        )
        shapes = {i.name: i.shape for i in self._session.get_inputs() if i.name.startswith("past_")}
        _, heads, positions, width = next(iter(shapes.values()))
        self.positions: int = positions
        self._vocabulary: int = self._session.get_outputs()[0].shape[1]
        self._end = end
        self._cache = {
            name.removeprefix("past_"): np.zeros((slots, heads, self.positions, width), np.float32) for name in shapes
        }
        self._prefills: OrderedDict[tuple[int, ...], _Prefill] = OrderedDict()
        self._rows: list[Row | None] = [None] * slots
        self._ids = np.zeros((slots, 1), np.int64)
        self._lengths = np.zeros(slots, np.int32)
        self._logits = np.zeros((slots, self._vocabulary), np.float32)
        self._temperature = np.zeros(slots)
        self._top_p = np.ones(slots)
        self._uniform = np.zeros((slots, self.positions))
        self._total = np.array(self.positions, np.int32)
        self._binding = self._bind(self._ids, self._lengths, self._total, self._logits, slice(None))

    def _bind(
        self,
        ids: NDArray[np.int64],
        lengths: NDArray[np.int32],
        total: NDArray[np.int32],
        logits: NDArray[np.float32],
        slots: slice,
    ) -> Any:
        """Tie the model's inputs and outputs to the memory of these arrays, which must outlive the binding."""
        binding = self._session.io_binding()
        cache = {name: array[slots] for name, array in self._cache.items()}
        inputs: dict[str, NDArray[Any]] = {"input_ids": ids, "lengths_k": lengths, "total": total}
        for name, array in {**inputs, **{f"past_{n}": a for n, a in cache.items()}}.items():
            binding.bind_input(name, "cpu", 0, array.dtype.type, array.shape, array.ctypes.data)
        for name, array in {"logits": logits, **{f"present_{n}": a for n, a in cache.items()}}.items():
            binding.bind_output(name, "cpu", 0, array.dtype.type, array.shape, array.ctypes.data)
        return binding

    @property
    def free(self) -> int:
        return self._rows.count(None)

    def admit(self, row: Row) -> None:
        """Give `row` a free slot, read its prompt and draw its first token, or score it."""
        row.slot = slot = self._rows.index(None)
        self._rows[slot] = row
        if row.scored:
            before = self.logits(row.prompt, slot)[row.scored - 1 : -1]
            row.logprobs = [own(at, token) for at, token in zip(before, row.prompt[row.scored :], strict=True)]
            row.ended = True
            return
        self._temperature[slot], self._top_p[slot] = row.sampling.temperature, row.sampling.top_p
        generator = np.random.Generator(np.random.Philox(key=row.seed))
        self._uniform[slot, : row.limit] = generator.random(row.limit)
        logits = self._read(row.prompt, slot)
        one = slice(slot, slot + 1)
        token = draw(logits[None], self._temperature[one], self._top_p[one], self._uniform[one, 0])
        self._append(row, token[0], logits)

    def _read(self, prompt: tuple[int, ...], slot: int) -> NDArray[np.float32]:
        """Fill the slot's keys and values from the prompt; the logits [vocabulary] after its last token."""
        size = len(prompt)
        known = self._prefills.get(prompt)
        if known is None:
            logits = self.logits(prompt, slot)[-1].copy()
            kept = {n: a[slot, :, :size].copy() for n, a in self._cache.items()}
            known = self._prefills[prompt] = _Prefill(logits, kept)
            if len(self._prefills) > REMEMBERED:
                self._prefills.popitem(last=False)
        else:
            self._prefills.move_to_end(prompt)
            for name, array in self._cache.items():
                array[slot, :, :size] = known.cache[name]
        return known.logits

    def logits(self, prompt: tuple[int, ...], slot: int = 0) -> NDArray[np.float32]:
        """Logits [positions, vocabulary] of the whole prompt, read into an unused slot."""
        bucket = next(b for b in (*BUCKETS, self.positions) if b >= len(prompt))
        ids = np.zeros((1, bucket), np.int64)
        ids[0, : len(prompt)] = prompt
        logits = np.zeros((bucket, self._vocabulary), np.float32)
        last, total = np.array([len(prompt) - 1], np.int32), np.array(bucket, np.int32)
        self._session.run_with_iobinding(self._bind(ids, last, total, logits, slice(slot, slot + 1)))
        return logits[: len(prompt)]

    def step(self) -> None:
        """One more token for every row."""
        self._session.run_with_iobinding(self._binding)
        at = [len(r.tokens) if r else 0 for r in self._rows]
        uniform = self._uniform[np.arange(len(at)), at]
        tokens = draw(self._logits, self._temperature, self._top_p, uniform)
        for row, token in zip(self._rows, tokens, strict=True):
            if row is not None:
                self._append(row, token, self._logits[row.slot])

    def last_logits(self, row: Row) -> NDArray[np.float32]:
        """What the row's last token was drawn from, after a step: [vocabulary], overwritten by the next step."""
        found: NDArray[np.float32] = self._logits[row.slot]
        return found

    def _append(self, row: Row, token: int, logits: NDArray[np.float32]) -> None:
        row.tokens.append(token)
        if row.logprobs is not None:
            row.logprobs.append(own(logits, token))
        row.ended = token == self._end
        self._ids[row.slot, 0] = token
        self._lengths[row.slot] = len(row.prompt) + len(row.tokens) - 1

    def release(self, row: Row) -> None:
        """Free the row's slot."""
        self._rows[row.slot] = None
        self._ids[row.slot, 0], self._lengths[row.slot] = 0, 0
        self._temperature[row.slot], self._top_p[row.slot] = 0.0, 1.0
