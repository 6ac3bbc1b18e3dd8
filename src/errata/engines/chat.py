"""The chat completions format: a request as bytes, and a reply read from bytes that need not be what they claim.

One exchange, shortened:

    {"model": "m", "messages": [{"role": "user", "content": "2 + 2 ?"}], "temperature": 1.0, "top_p": 1.0,
     "max_tokens": 64, "seed": 7}
    {"model": "m", "choices": [{"index": 0, "message": {"role": "assistant", "content": "4"},
     "finish_reason": "stop"}], "usage": {"prompt_tokens": 9, "completion_tokens": 2}}

Log-probabilities of what is sampled are part of the format (`logprobs`); those of a prompt are vLLM's own
(`prompt_logprobs`), with which a message is scored: it is sent as one to continue, by one token that is thrown away.
"""

import functools
import json
import re
from collections.abc import Mapping
from typing import Any, NamedTuple, NoReturn

import msgspec

from errata.engines import logprobs
from errata.engines.base import Reply, Request
from errata.engines.retry import Fault
from errata.errors import EngineError
from errata.records.ids import encode
from errata.records.types import Finish

GOVERNED = frozenset(
    {"model", "messages", "temperature", "top_p", "max_tokens", "seed", "stop", "n", "stream", "response_format"}
    | {"add_generation_prompt", "continue_final_message", "logprobs", "top_logprobs", "prompt_logprobs"}
)
"""Fields that a request determines, and no configuration may set."""

_FINISH: Mapping[str, Finish] = {
    "stop": "stop",
    "eos": "stop",
    "eos_token": "stop",
    "stop_sequence": "stop",
    "tool_calls": "stop",
    "length": "length",
    "model_length": "length",
    "max_tokens": "length",
    "content_filter": "filter",
}
_UNPRINTABLE = re.compile("[\x00\ud800-\udfff]")
_TURNING = re.compile("[\u202a-\u202e\u2066-\u2069]")


class Envelope(NamedTuple):
    """A whole reply, and what it says of the one who made it; empty where it says nothing."""

    reply: Reply
    model: str
    fingerprint: str


def encode_request(request: Request, *, model: str, seed: int, extra: Mapping[str, Any]) -> bytes:
    """The JSON body for `request`, the same bytes each time; numbers are finite."""
    sampling = request.sampling
    body: dict[str, Any] = {
        "model": model,
        "messages": request.messages,
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "max_tokens": sampling.max_tokens,
        "seed": seed,
    }
    if sampling.stop:
        body["stop"] = sampling.stop
    if request.schema:
        named = {"name": "reply", "strict": True, "schema": _schema(request.schema)}
        body["response_format"] = {"type": "json_schema", "json_schema": named}
    if request.continues:
        body["add_generation_prompt"] = False
        body["continue_final_message"] = True
    if request.logprobs:
        body["logprobs"] = True
    if request.score:
        logprobs.scored(request)
        body |= {"max_tokens": 1, "prompt_logprobs": 0}
    if extra:
        body.update(extra)
    return encode(body)


@functools.lru_cache(maxsize=64)
def _schema(text: str) -> Any:
    return json.loads(text)


def decode_reply(content: bytes, request: Request) -> Envelope:
    """The reply in the body of an answer 200. Raises Fault: `bad_envelope` for anything else, `empty` for no text.

    Raises EngineError `no_logprobs` where they were asked for and none are given.
    """
    envelope = _object(content)
    choice = _choice(envelope)
    message = choice["message"]
    reason = choice.get("finish_reason")
    if not isinstance(reason, str) or reason not in _FINISH:
        _bad(f"finish_reason {reason!r:.40} does not tell a whole answer from a cut one")
    flags: list[str] = []
    finish = _FINISH[reason]
    used = _usage(envelope.get("usage"), flags)
    if request.score:
        return _by(envelope, _scored(envelope, request, used, flags))
    # Whether the count is right or wrong, an answer that may be cut is not taken for a whole one.
    if finish == "stop" and used[1] >= request.sampling.max_tokens:
        finish = "length"
        flags.append("cut_unreported")
    if message.get("reasoning_content") or message.get("reasoning"):
        flags.append("reasoning_dropped")
    content_text = message.get("content")
    if content_text is None and isinstance(message.get("refusal"), str):
        content_text, finish = message["refusal"], "filter"
    if content_text is not None and not isinstance(content_text, str):
        _bad("content that is no text")
    text = _mended(content_text or "", flags)
    if "usage_missing" not in flags and not _may_be(used, text, request):
        flags.append("usage_wrong")
    # A continuation may rightly add nothing, and an answer that was cut is reported as cut, however little is left.
    if finish == "stop" and not request.continues and _is_empty(text):
        raise Fault("empty", "empty", "the server answered no text")
    told = _sampled(choice.get("logprobs"), used[1], flags) if request.logprobs and finish != "filter" else ()
    reply = Reply(
        text=text, finish=finish, prompt_tokens=used[0], completion_tokens=used[1], flags=tuple(flags), logprobs=told
    )
    return _by(envelope, reply)


def _choice(envelope: dict[str, Any]) -> dict[str, Any]:
    """The one choice, which has a message."""
    choices = envelope.get("choices")
    if not isinstance(choices, list) or len(choices) != 1:
        _bad(f"{len(choices) if isinstance(choices, list) else 'no'} choices where one was asked for")
    choice = choices[0]
    if not isinstance(choice, dict) or not isinstance(choice.get("message"), dict) or choice.get("index", 0) != 0:
        _bad("a choice without a message")
    return choice


def _by(envelope: dict[str, Any], reply: Reply) -> Envelope:
    model, fingerprint = envelope.get("model"), envelope.get("system_fingerprint")
    return Envelope(reply, model if isinstance(model, str) else "", fingerprint if isinstance(fingerprint, str) else "")


def _sampled(told: Any, tokens: int, flags: list[str]) -> tuple[float, ...]:
    """Log-probabilities of the sampled tokens; none, flagged, where what the server says cannot be that."""
    content = told.get("content") if isinstance(told, dict) else None
    if not isinstance(content, list) or (tokens and not content):
        raise EngineError("no_logprobs", "the server was asked for log-probabilities and gave none: see its options")
    found = logprobs.numbers(t.get("logprob") if isinstance(t, dict) else None for t in content)
    # Some servers leave out the end-of-turn token, which they count.
    if found is None or ("usage_missing" not in flags and len(found) not in (tokens, tokens - 1)):
        flags.append("logprobs_dropped")
        return ()
    return found


def _scored(envelope: dict[str, Any], request: Request, used: tuple[int, int], flags: list[str]) -> Reply:
    """The last message's tokens, from vLLM's `[null, {"<id>": {"logprob": -0.1, "decoded_token": "a"}}, ...]`."""
    told = envelope.get("prompt_logprobs")
    firsts = (
        [next(iter(t.values()), None) if isinstance(t, dict) else None for t in told[1:]]
        if isinstance(told, list)
        else []
    )
    entries = [e for e in firsts if isinstance(e, dict) and isinstance(e.get("decoded_token"), str)]
    if not entries or len(entries) < len(firsts):
        raise EngineError("no_logprobs", "the server gave no prompt_logprobs, which scoring needs: ask a vLLM server")
    # The first token of all has nothing before it, and so no entry.
    pieces = logprobs.by_texts(["", *(e["decoded_token"] for e in entries)], logprobs.scored(request))
    found = logprobs.numbers(e.get("logprob") for e in entries[pieces.first - 1 :])
    if found is None:
        raise EngineError("no_logprobs", "the server gave prompt_logprobs that are no log-probabilities")
    return Reply(
        text="", finish="stop", prompt_tokens=used[0], completion_tokens=used[1], flags=tuple(flags), logprobs=found,
        tokens=pieces.texts,
    )  # fmt: skip


def _object(content: bytes) -> dict[str, Any]:
    try:
        envelope = msgspec.json.decode(content)
    except (ValueError, RecursionError):
        envelope = _patiently(content)
    if not isinstance(envelope, dict):
        _bad("JSON that is no object")
    return envelope


def _patiently(content: bytes) -> Any:
    """The JSON in `content`, also with a byte order mark or half surrogates, which the fast decoder refuses."""
    try:
        return _DECODER.decode(content.decode("utf-8-sig"))
    except RecursionError:
        _bad("JSON nested too deeply")
    except ValueError as error:
        start = repr(content[:40].decode("utf-8", "replace"))
        _bad(f"no JSON ({error}), beginning {start}" if content else "an empty body")


def _bad(what: str) -> NoReturn:
    raise Fault("bad_envelope", "bad_envelope", f"the server answered 200 with {what}")


def _not_finite(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON")


_DECODER = json.JSONDecoder(parse_constant=_not_finite)


def _usage(usage: Any, flags: list[str]) -> tuple[int, int]:
    """Tokens of the prompt and of the completion; 0, flagged, where the server does not say."""
    counts = usage if isinstance(usage, dict) else {}
    found = (counts.get("prompt_tokens"), counts.get("completion_tokens"))
    if not all(type(n) is int and n >= 0 for n in found):
        flags.append("usage_missing")
    prompt, completion = (n if type(n) is int and n >= 0 else 0 for n in found)
    return prompt, completion


def _may_be(used: tuple[int, int], text: str, request: Request) -> bool:
    """Whether the counts can be right: without the model's tokenizer more cannot be said."""
    prompt, completion = used
    return prompt > 0 and (completion > 0 or not text) and completion <= request.sampling.max_tokens


def _mended(text: str, flags: list[str]) -> str:
    """Text that every file format can hold: half surrogates and NUL become U+FFFD, flagged.

    Marks that turn the writing direction stay, for some scripts need them, and are flagged.
    """
    if text.isascii() and "\0" not in text:
        return text
    if _TURNING.search(text):
        flags.append("bidi")
    if _UNPRINTABLE.search(text):
        flags.append("surrogates")
        text = _UNPRINTABLE.sub("\ufffd", text)
    return text


def _is_empty(text: str) -> bool:
    """Whether nothing is said, or nothing but thought."""
    said = text.strip()
    return not said or (said.startswith("<think>") and not said.partition("</think>")[2].strip())
