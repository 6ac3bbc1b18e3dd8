"""vLLM in this process' service: one AsyncLLM, fed one request at a time with its own seed, batching continuously.

The only module that imports vllm, when the first request comes. `n` is always 1: with more, vLLM seeds child i with
seed + i, and neighbouring seeds would share samples.
"""

import asyncio
import functools
import hashlib
import itertools
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from errata.engines import logprobs
from errata.engines.base import Identity, Reply, Request
from errata.engines.code import code_digest
from errata.errors import EngineDown, EngineError, MissingExtra, RecipeError
from errata.records.ids import canonical, digest
from errata.records.types import Finish
from errata.registry import FilePath, engine

_FILES = re.compile(
    r"(config|generation_config|added_tokens|special_tokens_map|vocab|processor_config)\.json|merges\.txt|"
    r"tokenizer.*|tekken\.json|chat_template.*|.*\.safetensors|.*\.index\.json|.*\.bin|.*\.model"
)
"""What a local model consists of; a README or a log of its training can change without changing a reply."""
_COMMIT = re.compile(r"[0-9a-f]{40}")
_OWN = frozenset({"model", "revision", "tokenizer_revision", "tensor_parallel_size", "dtype", "max_model_len"})
"""Arguments that parameters of their own stand for."""


@functools.cache
def _folder_digest(folder: Path) -> str:
    """Digest over names and contents of the model's files, read once per process."""
    total = hashlib.sha256()
    for path in sorted(p for p in folder.iterdir() if p.is_file() and _FILES.fullmatch(p.name)):
        with path.open("rb") as file:
            total.update(path.name.encode() + b"\0" + hashlib.file_digest(file, "sha256").digest())
    return total.hexdigest()[:40]


@engine(version=1, name="vllm")
class VLLM:
    """A model on vLLM in process: a folder, or a hub id pinned to the commit `revision`.

    `arguments` are passed to vLLM's AsyncEngineArgs as they are. Raises `RecipeError` for a model that is neither a
    folder nor pinned; the first request raises `MissingExtra` without vllm and `EngineDown` where loading fails.
    """

    seen: tuple[str, ...] = ()

    def __init__(
        self,
        *,
        model: FilePath,
        revision: str = "",
        tensor_parallel: int = 1,
        dtype: str = "auto",
        max_model_len: int | None = None,
        arguments: dict[str, Any] = {},
        licence: str = "",
    ) -> None:
        """Starts nothing."""
        self._local = Path(model).expanduser().is_dir()
        if not self._local and not _COMMIT.fullmatch(revision):
            raise RecipeError(
                f"vllm: {model!r} is no folder here, and a model of the hub needs revision, a commit of 40 hexadecimal "
                f"digits, not {revision!r}: a branch can move, and old replies would be taken for the new model's"
            )
        if taken := sorted(_OWN & set(arguments)):
            raise RecipeError(f"vllm: arguments has {', '.join(taken)}: use the engine's own parameters for these")
        self._model, self._revision, self._licence = model, revision, licence
        self._arguments = {
            "tensor_parallel_size": tensor_parallel,
            "dtype": dtype,
            "max_model_len": max_model_len,
            **arguments,
        }
        self._numbers = itertools.count()
        self._starting: asyncio.Task[Any] | None = None
        self._closed = False

    @property
    def identity(self) -> Identity:
        """The same where vllm is not installed, so that a replay does not need it."""
        folder = Path(self._model).expanduser()
        return Identity(
            engine="vllm",
            version=1,
            model=folder.resolve().name if self._local else self._model,
            revision=_folder_digest(folder.resolve()) if self._local else self._revision,
            detail=digest(arguments=canonical(self._arguments), code=code_digest(__file__, logprobs))[:16],
            licence=self._licence,
        )

    async def generate(self, request: Request) -> Reply:
        """Answer one request; a prompt that does not fit raises `EngineError` with code `too_long`."""
        llm = await self._started()
        text = self._prompt(llm.get_tokenizer(), request)
        ids: list[int] = llm.get_tokenizer().encode(text, add_special_tokens=False)
        room = llm.vllm_config.model_config.max_model_len - len(ids)
        if room < 1:
            raise EngineError("too_long", f"the prompt has {len(ids)} tokens, and the model holds {len(ids) + room}")
        parameters = _parameters(request, min(request.sampling.max_tokens, room))
        if request.score:
            pieces = self._pieces(llm.get_tokenizer(), text, request)
            whole = await self._ask(llm, ids, parameters)
            return _scored(whole, ids, pieces)
        output = (await self._ask(llm, ids, parameters)).outputs[0]
        reason, tokens = output.finish_reason, len(output.token_ids)
        if reason not in ("stop", "length"):
            raise EngineError("aborted", f"vllm ended the request with {reason!r}")
        # vLLM says `stop` of a text whose end-of-turn token fell on the limit, and of structures cut by it.
        finish: Finish = "length" if reason == "length" or tokens >= request.sampling.max_tokens else "stop"
        told = _numbers(output.logprobs, output.token_ids) if request.logprobs else ()
        return Reply(text=output.text, finish=finish, prompt_tokens=len(ids), completion_tokens=tokens, logprobs=told)

    def _prompt(self, tokenizer: Any, request: Request) -> str:
        """The conversation by the model's own chat template."""
        try:
            text: str = tokenizer.apply_chat_template(
                [{"role": m.role, "content": m.content} for m in request.messages],
                tokenize=False,
                add_generation_prompt=not request.continues,
                continue_final_message=request.continues,
            )
        except Exception as e:  # templates raise whatever they like
            raise EngineError("template", f"the chat template of {self._model} refuses the conversation: {e}") from e
        return text

    def _pieces(self, tokenizer: Any, text: str, request: Request) -> logprobs.Pieces:
        """The tokens of the message to score."""
        if not getattr(tokenizer, "is_fast", False):
            raise EngineError("unsupported", f"the tokenizer of {self._model} does not tell where its tokens lie")
        offsets = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)["offset_mapping"]
        return logprobs.by_offsets(text, logprobs.scored(request), offsets)

    async def _ask(self, llm: Any, ids: Sequence[int], parameters: Any) -> Any:
        """A finished request with its one output."""
        from vllm.v1.engine.exceptions import EngineDeadError

        last: Any = None
        name = f"errata-{next(self._numbers)}"
        try:
            (prompt,) = await llm.renderer.render_cmpl_async([{"prompt_token_ids": list(ids)}])
            async for output in llm.generate(prompt, parameters, name):
                last = output
        except EngineDeadError as e:
            raise EngineDown(f"vllm's engine process died: {e}") from e
        except asyncio.CancelledError:
            raise
        except Exception as e:
            raise EngineError("vllm_refused", f"vllm refused a request: {type(e).__name__}: {e}") from e
        if last is None or not last.outputs:
            raise EngineError("aborted", "vllm ended a request without an output")
        return last

    async def _started(self) -> Any:
        """The AsyncLLM; the first of many callers starts it."""
        if self._closed:
            raise EngineDown("the vllm engine is closed: make a new one")
        if self._starting is None:
            self._starting = asyncio.create_task(asyncio.to_thread(self._load))
        return await asyncio.shield(self._starting)

    def _load(self) -> Any:
        try:
            from vllm.engine.arg_utils import AsyncEngineArgs
            from vllm.v1.engine.async_llm import AsyncLLM
        except ImportError as e:
            raise MissingExtra("vllm", "vllm", "the engine vllm") from e
        revision = {} if self._local else {"revision": self._revision, "tokenizer_revision": self._revision}
        model = str(Path(self._model).expanduser()) if self._local else self._model
        try:
            arguments = AsyncEngineArgs(**{"disable_log_stats": True, **self._arguments, **revision, "model": model})
        except TypeError as e:
            raise RecipeError(f"vllm: arguments do not suit AsyncEngineArgs: {e}") from e
        try:
            return AsyncLLM.from_engine_args(arguments)
        except Exception as e:
            raise EngineDown(f"vllm could not load {self._model}: {type(e).__name__}: {e}") from e

    async def close(self) -> None:
        """End vLLM and its processes. An engine that was never asked closes without effect."""
        self._closed = True
        starting, self._starting = self._starting, None
        if starting is None:
            return
        try:
            llm = await starting
        except Exception:  # what failed to start was reported to those who asked
            return
        await asyncio.to_thread(llm.shutdown)
        # vLLM cancels its own task from another thread; give it the turn of the loop in which it ends.
        await asyncio.sleep(0)


def _numbers(told: Any, ids: Sequence[int]) -> tuple[float, ...]:
    """Log-probabilities of these tokens, from a mapping by token id for each."""
    found = logprobs.numbers(at[token].logprob for at, token in zip(told, ids, strict=True)) if told else None
    if found is None:
        raise EngineError("no_logprobs", "vllm was asked for log-probabilities and gave none")
    return found


def _scored(output: Any, ids: Sequence[int], pieces: logprobs.Pieces) -> Reply:
    told = _numbers((output.prompt_logprobs or ())[pieces.first :], ids[pieces.first :])
    return Reply(
        text="", finish="stop", prompt_tokens=len(ids), completion_tokens=len(output.outputs[0].token_ids),
        logprobs=told, tokens=pieces.texts,
    )  # fmt: skip


def _parameters(request: Request, limit: int) -> Any:
    """vLLM's SamplingParams of one request."""
    from vllm.sampling_params import RequestOutputKind, SamplingParams, StructuredOutputsParams

    sampling = request.sampling
    return SamplingParams(
        n=1,
        temperature=sampling.temperature,
        top_p=sampling.top_p,
        max_tokens=1 if request.score else limit,
        # 0: of the sampled token, or of the prompt's own, alone.
        logprobs=0 if request.logprobs else None,
        prompt_logprobs=0 if request.score else None,
        seed=request.seed,
        stop=list(sampling.stop),
        skip_special_tokens=True,
        output_kind=RequestOutputKind.FINAL_ONLY,
        structured_outputs=StructuredOutputsParams(json=json.loads(request.schema)) if request.schema else None,
    )
