"""The embedded default engine: small Llamas on onnxruntime, on any CPU, with no key and no download.

One background thread decodes all requests together, slot by slot, and refills a slot as soon as it is free; a reply
never depends on what else was asked (see `pocket_runtime`).
"""

import asyncio
import functools
import hashlib
import json
import os
import threading
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import onnxruntime
from jinja2.sandbox import ImmutableSandboxedEnvironment
from tokenizers import Tokenizer

from errata.engines import base, logprobs, pocket_runtime
from errata.engines.base import Identity, Load, Reply, Request
from errata.engines.code import code_digest
from errata.engines.pocket_runtime import Decoder, Row
from errata.errors import EngineDown, EngineError, RecipeError
from errata.records.types import Finish
from errata.registry import FilePath, engine

FILES = ("config.json", "model.safetensors", "model.onnx", "tokenizer.json", "chat_template.jinja")


Model = Literal["student", "agent"]
_SHIPPED: Mapping[Model, tuple[str, str]] = {
    "student": ("pocket", "errata-pocket"),
    "agent": ("pocket_agent", "errata-pocket-agent"),
}
"""The models that come with errata: folder below data, and name."""


def shipped(model: Model = "student") -> Path:
    """The folder of a model that comes with errata: inside the package, or in the checkout it runs from."""
    package = Path(__file__).resolve().parents[1]
    inside = package / "data" / _SHIPPED[model][0]
    return inside if inside.is_dir() else package.parents[1] / "data" / _SHIPPED[model][0]


@functools.cache
def _digest(folder: Path) -> str:
    """Digest of the model's files, read once per process."""
    total = hashlib.sha256()
    for name in FILES:
        total.update(hashlib.sha256((folder / name).read_bytes()).digest())
    return total.hexdigest()[:40]


@dataclass(slots=True, eq=False)
class _Waiting:
    """A request on its way through the decoder."""

    row: Row
    prefix: str
    """The assistant's text that the reply continues, and its tokens."""
    prefix_ids: tuple[int, ...]
    pieces: tuple[str, ...]
    """The tokens of the message to score, as text."""
    loop: asyncio.AbstractEventLoop
    reply: "asyncio.Future[Reply]"


class Words:
    """Text to token ids and back, by the model's chat template and tokenizer."""

    def __init__(self, folder: Path) -> None:
        self._tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self._tokenizer.no_padding()
        self._tokenizer.no_truncation()
        environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True)
        self._template = environment.from_string((folder / "chat_template.jinja").read_text(encoding="utf-8"))

    def render(self, request: Request) -> str:
        """The conversation as the model reads it."""
        return self._template.render(
            messages=[{"role": m.role, "content": m.content} for m in request.messages],
            add_generation_prompt=not request.continues,
            continue_final_message=request.continues,
        )

    def encode(self, text: str) -> tuple[int, ...]:
        """Token ids of a text; nothing is added to them."""
        ids: list[int] = self._tokenizer.encode(text, add_special_tokens=False).ids
        return tuple(ids)

    def pieces(self, prompt: str, content: str) -> logprobs.Pieces:
        """The tokens of the message that a rendered prompt ends with."""
        return logprobs.by_offsets(prompt, content, self._tokenizer.encode(prompt, add_special_tokens=False).offsets)

    def decode(self, ids: Sequence[int]) -> str:
        """The text of token ids, without special tokens."""
        text: str = self._tokenizer.decode(list(ids), skip_special_tokens=True)
        return text

    def follow(self, prefix: str, prefix_ids: tuple[int, ...], tokens: Sequence[int]) -> str:
        """The text of `tokens` after `prefix`, with the space or line break that joins the two."""
        if not prefix_ids:
            return self.decode(tokens)
        whole = self.decode([*prefix_ids, *tokens])
        return whole[len(prefix) if whole.startswith(prefix) else len(self.decode(prefix_ids)) :]


class _Worker:
    """The thread that owns the decoder."""

    def __init__(self, decoder: Decoder, words: Words) -> None:
        self._decoder, self._words = decoder, words
        self._queue: deque[_Waiting] = deque()
        self._active: list[_Waiting] = []
        self._wake = threading.Condition()
        self._fault: EngineDown | None = None
        self._holding = False
        self._thread = threading.Thread(target=self._run, name="pocket", daemon=True)
        self._thread.start()

    @property
    def positions(self) -> int:
        return self._decoder.positions

    def put(self, waiting: _Waiting) -> None:
        with self._wake:
            if self._fault:
                raise self._fault
            self._queue.append(waiting)
            self._wake.notify()

    def load(self, slots: int) -> Load:
        with self._wake:
            return Load(len(self._active), len(self._queue), slots)

    def hold(self) -> None:
        """Admit nothing more."""
        with self._wake:
            self._holding = True

    def stop(self) -> None:
        """End the thread; requests not yet answered fail."""
        self._fail(EngineDown("the pocket engine was closed while it still had requests to answer"))
        self._thread.join()

    def _fail(self, fault: EngineDown) -> None:
        with self._wake:
            self._fault = self._fault or fault
            self._wake.notify()

    def _run(self) -> None:
        try:
            while self._admit():
                self._settle()
                if self._active:
                    self._decoder.step()
                    self._settle()
        except Exception as e:  # whatever it is, those who wait must hear of it
            self._fail(EngineDown(f"the pocket engine failed: {type(e).__name__}: {e}"))
        with self._wake:
            lost = [*self._active, *self._queue]
            self._queue.clear()
        for waiting in lost:
            self._deliver(waiting, self._fault)

    def _admit(self) -> bool:
        """Move requests into free slots; wait while there is nothing to do. False once the engine is stopped."""
        with self._wake:
            while not ((self._queue and not self._holding) or self._active or self._fault):
                self._wake.wait()
            if self._fault:
                return False
            chosen: list[_Waiting] = []
            while self._queue and not self._holding and len(chosen) < self._decoder.free:
                waiting = self._queue.popleft()
                if not waiting.reply.cancelled():
                    chosen.append(waiting)
            self._active += chosen
        for waiting in chosen:
            self._decoder.admit(waiting.row)
        return True

    def _settle(self) -> None:
        """Answer what is finished and free its slots."""
        going = []
        for waiting in self._active:
            reply = self._reply(waiting)
            if reply is None and not waiting.reply.cancelled():
                going.append(waiting)
                continue
            self._decoder.release(waiting.row)
            if reply is not None:
                self._deliver(waiting, reply)
        self._active = going

    def _reply(self, waiting: _Waiting) -> Reply | None:
        """The reply, if it is whole or has reached its limit."""
        row = waiting.row
        if row.scored:
            return Reply(
                text="", finish="stop", prompt_tokens=len(row.prompt), completion_tokens=0,
                logprobs=logprobs.numbers(row.logprobs or ()) or (), tokens=waiting.pieces,
            )  # fmt: skip
        full = len(row.tokens) >= row.limit
        if not (row.ended or full or row.sampling.stop):
            return None
        text = self._words.follow(waiting.prefix, waiting.prefix_ids, row.tokens[:-1] if row.ended else row.tokens)
        stops = [at for at in (text.find(s) for s in row.sampling.stop) if at >= 0]
        if not (row.ended or full or stops):
            return None
        finish: Finish = "stop" if row.ended or stops else "length"
        return Reply(
            text=text[: min(stops)] if stops else text,
            finish=finish,
            prompt_tokens=len(row.prompt),
            completion_tokens=len(row.tokens),
            logprobs=logprobs.numbers(row.logprobs or ()) or (),
        )

    def _deliver(self, waiting: _Waiting, result: Reply | Exception | None) -> None:
        def settle() -> None:
            if waiting.reply.done():
                return
            if isinstance(result, Reply):
                waiting.reply.set_result(result)
            else:
                waiting.reply.set_exception(result or EngineDown("the pocket engine stopped"))

        if not waiting.loop.is_closed():
            waiting.loop.call_soon_threadsafe(settle)


@engine(version=1, name="pocket")
class Pocket:
    """An embedded Llama of under 2M parameters on onnxruntime: a student for chains, or an agent for text worlds.

    `model` is one of those that come with errata: `student`, or `agent` for the worlds crafting and house. `path` is a
    folder that is used in its place, with config.json, model.safetensors, model.onnx, tokenizer.json and
    chat_template.jinja, such as training it further has made. `slots` replies are decoded together, on `threads` cores
    (0: all of them). Raises `RecipeError` where a file is missing.
    """

    seen: tuple[str, ...] = ()

    def __init__(self, *, model: Model = "student", path: FilePath = "", slots: int = 32, threads: int = 0) -> None:
        self.folder = Path(path) if path else shipped(model)
        """The model's files."""
        self._name = _SHIPPED[model][1]
        missing = [f for f in FILES if not (self.folder / f).is_file()]
        if missing:
            raise RecipeError(
                f"pocket: {self.folder} has no {', '.join(missing)}: name a folder with {', '.join(FILES)} "
                "(python -m errata.train graph FOLDER makes model.onnx)"
            )
        if slots < 1 or threads < 0:
            raise RecipeError(f"pocket: slots is {slots} and threads {threads}: use at least 1 slot and 0 threads")
        self._slots, self._threads = slots, threads
        self._end: int = json.loads((self.folder / "config.json").read_text(encoding="utf-8"))["eos_token_id"]
        self._words = Words(self.folder)
        self._worker: _Worker | None = None
        self._closed = False

    @property
    def identity(self) -> Identity:
        code = code_digest(__file__, pocket_runtime, base, logprobs)
        return Identity(
            engine="pocket",
            version=1,
            model=self._name,
            revision=_digest(self.folder.resolve()),
            detail=f"code {code}, onnxruntime {onnxruntime.__version__}",
            licence="Apache-2.0",
        )

    @property
    def load(self) -> Load:
        """What the decoder has to do."""
        return self._worker.load(self._slots) if self._worker else Load(0, 0, self._slots)

    def drain(self) -> None:
        """Begin nothing more; what is being decoded goes on."""
        if self._worker:
            self._worker.hold()

    async def generate(self, request: Request) -> Reply:
        """Answer one request; raises `EngineError` with code `unsupported` for a schema, `too_long` for a prompt."""
        if request.schema:
            raise EngineError("unsupported", "the pocket engine follows no JSON schema: ask an openai or vllm engine")
        text = self._words.render(request)
        prompt = self._words.encode(text)
        worker = self._started()
        if not 0 < len(prompt) < worker.positions:
            raise EngineError(
                "too_long", f"the prompt has {len(prompt)} tokens; with its reply it must fit into {worker.positions}"
            )
        prefix = request.messages[-1].content if request.continues else ""
        limit = min(request.sampling.max_tokens, worker.positions - len(prompt))
        if limit < 1 or request.seed < 0:
            most = request.sampling.max_tokens
            raise EngineError("unsupported", f"max_tokens is {most} and seed {request.seed}: use at least 1 and 0")
        loop = asyncio.get_running_loop()
        reply: asyncio.Future[Reply] = loop.create_future()
        row = Row(prompt=prompt, sampling=request.sampling, seed=request.seed, limit=limit)
        row.logprobs = [] if request.logprobs else None
        pieces: tuple[str, ...] = ()
        if request.score:
            row.scored, pieces = self._words.pieces(text, logprobs.scored(request))
        worker.put(_Waiting(row, prefix, self._words.encode(prefix), pieces, loop, reply))
        return await reply

    def _started(self) -> _Worker:
        if self._closed:
            raise EngineDown("the pocket engine is closed: make a new one")
        if self._worker is None:
            threads = self._threads or len(os.sched_getaffinity(0))
            try:
                decoder = Decoder(folder=self.folder, slots=self._slots, threads=threads, end=self._end)
            except Exception as e:  # onnxruntime's errors share no type of their own
                raise EngineDown(f"pocket: {self.folder / 'model.onnx'} cannot be loaded: {e}") from e
            self._worker = _Worker(decoder, self._words)
        return self._worker

    async def close(self) -> None:
        """End the thread. An engine that was never asked closes without effect."""
        self._closed = True
        worker, self._worker = self._worker, None
        if worker is not None:
            await asyncio.to_thread(worker.stop)
