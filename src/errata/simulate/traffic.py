"""Requests as a server sees them, before and after the model: read, known by their bodies, counted, answered."""

import hashlib
from collections.abc import Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import msgspec

from errata.simulate import content
from errata.simulate.draws import uniform
from errata.simulate.faults import Kind
from errata.simulate.lengths import Lengths, problem_of
from errata.simulate.prefix import blocks_of

FINGERPRINT = "simulated"

_END = " <|end|> "


class _Part(msgspec.Struct):
    text: str = ""


class _Message(msgspec.Struct):
    role: str
    content: str | list[_Part] | None = None


class _Body(msgspec.Struct):
    """The fields of a chat completion request that matter here; others are let through."""

    model: str
    messages: list[_Message]
    seed: int | None = None
    max_tokens: int | None = None
    max_completion_tokens: int | None = None
    n: int | None = None
    stream: bool | None = None
    response_format: dict[str, Any] | None = None
    logprobs: bool | None = None
    prompt_logprobs: int | None = None


_read_body = msgspec.json.Decoder(_Body).decode


class Asked(NamedTuple):
    """One request, read. `words` are those of the messages as a chat template joins them."""

    model: str
    messages: content.Messages
    seed: int
    max_tokens: int | None
    as_json: bool
    words: list[str]
    logprobs: bool = False
    """Whether those of the reply are asked for."""
    prompt_logprobs: bool = False


class Said(NamedTuple):
    """One reply: its text, its length as the model counts it, and whether max_tokens cut it."""

    text: str
    tokens: int
    cut: bool


def digest(body: bytes) -> bytes:
    """What tells one body from another, and decides its length and fault."""
    return hashlib.blake2b(body, digest_size=8).digest()


def read(body: bytes) -> Asked:
    """The request in `body`. Raises ValueError, which says what cannot be served."""
    try:
        asked = _read_body(body)
    except RecursionError:
        raise ValueError("the JSON is nested too deep") from None
    if not asked.messages:
        raise ValueError("messages is empty")
    if asked.n not in (None, 1) or asked.stream:
        raise ValueError("the simulator gives one choice a request, and does not stream: n must be 1 and stream false")
    most = asked.max_completion_tokens if asked.max_tokens is None else asked.max_tokens
    if most is not None and most < 1:
        raise ValueError("max_tokens must be at least 1")
    messages = tuple((m.role, _text(m.content)) for m in asked.messages)
    as_json = asked.response_format is not None and asked.response_format.get("type") != "text"
    return Asked(
        asked.model, messages, asked.seed or 0, most, as_json, rendered(messages), bool(asked.logprobs),
        asked.prompt_logprobs is not None,
    )  # fmt: skip


def _text(said: str | list[_Part] | None) -> str:
    return said if isinstance(said, str) else "".join(part.text for part in said or ())


def rendered(messages: content.Messages) -> list[str]:
    """Words of the prompt: a last message of the assistant is left open, and after any other the assistant begins."""
    text = "".join(f"<|{role}|> {said}{_END}" for role, said in messages)
    text = text[: -len(_END)] if messages[-1][0] == "assistant" else text + "<|assistant|>"
    return text.split(" ")


def answer(asked: Asked, body: bytes, lengths: Lengths | None) -> Said:
    """What is replied to the request whose body has this digest; without `lengths`, its words are its tokens."""
    text = content.reply(asked.messages, asked.seed, as_json=asked.as_json)
    tokens = text.count(" ") + 1 if lengths is None else drawn(asked, body, lengths)
    most = asked.max_tokens
    if most is None or tokens < most:
        return Said(text, tokens, False)
    return Said(content.cut(text, (text.count(" ") + 1) * most // tokens), most, True)


def drawn(asked: Asked, body: bytes, lengths: Lengths) -> int:
    """Tokens of the reply, were there no max_tokens."""
    first = next((text for role, text in asked.messages if role == "user"), "")
    return lengths.draw(body, problem_of(first) if lengths.per_problem else "")


def envelope(asked: Asked, said: Said, body: bytes) -> dict[str, Any]:
    """The chat completion; the same for the same request."""
    choice = {
        "index": 0,
        "message": {"role": "assistant", "content": said.text},
        "finish_reason": "length" if said.cut else "stop",
    }
    if asked.logprobs:
        words = [*asked.words[-1:], *said.text.split(" "), *[""] * said.tokens]
        told = [{"token": b, "logprob": log_probability(a, b)} for a, b in pairwise(words[: said.tokens + 1])]
        choice["logprobs"] = {"content": told}
    usage = {
        "prompt_tokens": len(asked.words),
        "completion_tokens": said.tokens,
        "total_tokens": len(asked.words) + said.tokens,
    }
    return {
        "id": f"chatcmpl-{body.hex()}",
        "object": "chat.completion",
        "created": 0,
        "model": asked.model,
        "system_fingerprint": FINGERPRINT,
        "choices": [choice],
        "usage": usage,
        **({"prompt_logprobs": _prompt_logprobs(asked.words)} if asked.prompt_logprobs else {}),
    }


def log_probability(before: str, word: str) -> float:
    """What a model might give `word` after the word `before`: a made-up number, the same for the same words."""
    return -4 * uniform(0, b"logprob", f"{before} {word}".encode(errors="surrogatepass")) ** 3


def _prompt_logprobs(words: Sequence[str]) -> list[dict[str, Any] | None]:
    """In vLLM's format: the first token has nothing before it, and each other one is a word with the space before."""
    told = [{"logprob": log_probability(a, b), "rank": 1, "decoded_token": f" {b}"} for a, b in pairwise(words)]
    return [None, *({str(i): t} for i, t in enumerate(told))]


def conversation(asked: Asked, said: Said, block: int) -> tuple[int, ...]:
    """Blocks of the prompt with its reply, as a later request would repeat them in its own prompt."""
    if asked.messages[-1][0] == "assistant":
        text = asked.messages[-1][1] + said.text
        messages = (*asked.messages[:-1], ("assistant", text))
    else:
        messages = (*asked.messages, ("assistant", said.text))
    return blocks_of(rendered(messages), block)


class Bodies:
    """How often each body was seen, and which were answered, at all replicas together."""

    def __init__(self) -> None:
        # Twice the number of times seen, plus one if it was answered: one number, for millions of requests.
        self._known: dict[bytes, int] = {}

    def ask(self, body: bytes) -> tuple[int, bool]:
        """How often it was seen before, and whether it was answered; counts it."""
        known = self._known.get(body, 0)
        self._known[body] = known + 2
        return known >> 1, bool(known & 1)

    def answered(self, body: bytes) -> None:
        """A whole answer was handed over."""
        self._known[body] = self._known.get(body, 0) | 1

    def clear(self) -> None:
        """Know nothing."""
        self._known.clear()


class Traffic(msgspec.Struct, kw_only=True):
    """Counts of one server. Requests that meet a fault in front of the engine, or are unreadable, never reach it."""

    requests: int = 0
    answered: int = 0
    """Answers that a client may keep, handed over whole."""
    repeated: int = 0
    """Requests whose very body had been answered before: work that was lost or done twice."""
    seen_before: int = 0
    """Requests whose very body had been asked before, answered or not."""
    unreadable: int = 0
    deaths: int = 0
    faults: dict[str, int] = msgspec.field(default_factory=dict)
    """How many requests met which fault."""

    def ask(self, seen: int, answered: bool) -> None:
        """Count a request that was read."""
        self.seen_before += seen > 0
        self.repeated += answered

    def fault(self, kind: Kind) -> None:
        """Count a fault."""
        self.faults[kind.name] = self.faults.get(kind.name, 0) + 1


def together(traffics: Sequence[Traffic]) -> Traffic:
    """The counts of all."""
    counted = [name for name in Traffic.__struct_fields__ if name != "faults"]
    merged = Traffic(**{name: sum(getattr(t, name) for t in traffics) for name in counted})
    for traffic in traffics:
        for name, count in traffic.faults.items():
            merged.faults[name] = merged.faults.get(name, 0) + count
    return merged
