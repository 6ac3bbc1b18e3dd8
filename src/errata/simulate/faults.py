"""Faults on demand: every way in which a server of the chat protocol is known to fail, one row each.

Whether a request meets one is a hash of the seed, its body, and how often that body was seen: the counts of a run are
exact and repeatable, and a client that asks again gets through.
"""

import json
from collections.abc import Callable, Mapping
from typing import Any, Literal, NamedTuple

from errata.errors import RecipeError
from errata.simulate.content import cut
from errata.simulate.draws import uniform

Place = Literal["front", "wire", "slow", "reply"]


class Kind(NamedTuple):
    """A fault: `front` of the engine, on the `wire` back, a `slow` sequence, or in the `reply`'s bytes."""

    name: str
    place: Place
    about: str
    answers: bool = False
    """Whether a client may rightly take what arrives for the answer, and so need not ask again."""


KINDS: Mapping[str, Kind] = {
    kind.name: kind
    for kind in (
        Kind("429", "front", "too many requests, without Retry-After"),
        Kind("429_retry_after", "front", "too many requests, with Retry-After"),
        Kind("500", "front", "internal server error"),
        Kind("502", "front", "bad gateway"),
        Kind("503", "front", "service unavailable"),
        Kind("504", "front", "gateway timeout"),
        Kind("529", "front", "overloaded"),
        Kind("too_long", "front", "400: the prompt is longer than the context"),
        Kind("401", "front", "the key is refused"),
        Kind("reset", "front", "the connection is reset before a byte of the answer"),
        Kind("hang", "front", "no answer, ever; no slot is taken"),
        Kind("reset_headers", "wire", "the connection is reset after the headers"),
        Kind("reset_body", "wire", "the connection is reset in the middle of the body"),
        Kind("short", "wire", "the connection is closed in order before Content-Length is reached"),
        Kind("overrun", "wire", "Content-Length is half of what is sent"),
        Kind("drip", "wire", "the headers, and then a byte every --drip-seconds", answers=True),
        Kind("slow", "slow", "a straggler: --straggler times as long in its slot", answers=True),
        Kind("truncated", "reply", "JSON that stops in the middle, of the right Content-Length"),
        Kind("html", "reply", "200 with a page of HTML"),
        Kind("empty_body", "reply", "200 with no body"),
        Kind("malformed", "reply", "JSON with a comma too many"),
        Kind("nan", "reply", "NaN in the JSON"),
        Kind("deep", "reply", "JSON nested 100,000 deep"),
        Kind("huge_int", "reply", "an integer of 5,000 digits"),
        Kind("flood", "reply", "an answer longer than 10 MB"),
        Kind("invalid_utf8", "reply", "bytes that are no UTF-8"),
        Kind("bom", "reply", "a byte order mark before the JSON", answers=True),
        Kind("surrogate", "reply", "a lone surrogate in the content", answers=True),
        Kind("nul", "reply", "a NUL character in the content", answers=True),
        Kind("bidi", "reply", "a right-to-left override in the content", answers=True),
        Kind("finish_length", "reply", "finish_reason is length, and half of the text is missing", answers=True),
        Kind("cut_unreported", "reply", "completion_tokens is max_tokens, and finish_reason is stop", answers=True),
        Kind("finish_unknown", "reply", "finish_reason is abort"),
        Kind("empty", "reply", "empty content"),
        Kind("whitespace", "reply", "nothing but whitespace"),
        Kind("think", "reply", "nothing but a thought"),
        Kind("null", "reply", "null content"),
        Kind("loop", "reply", "the last line over and over", answers=True),
        Kind("choices_extra", "reply", "two choices where one was asked for"),
        Kind("choices_missing", "reply", "no choice"),
        Kind("choice_index", "reply", "one choice, with index 1"),
        Kind("wrong_model", "reply", "another model's name"),
        Kind("fingerprint", "reply", "another system_fingerprint", answers=True),
        Kind("usage_missing", "reply", "no usage", answers=True),
        Kind("usage_negative", "reply", "a negative count of tokens", answers=True),
        Kind("usage_wrong", "reply", "no completion tokens for a reply that has text", answers=True),
        Kind("logprobs", "reply", "logprobs that were not asked for, null and -9999, of another length", answers=True),
        Kind("tool_calls", "reply", "a call of a tool that does not exist, its arguments cut, and null content"),
        Kind("fenced", "reply", "the content in a Markdown fence", answers=True),
        Kind("prose", "reply", "a sentence after the content", answers=True),
        Kind("twice", "reply", "a key that stands twice, where the content is a JSON object", answers=True),
        Kind("reasoning", "reply", "reasoning_content beside the content", answers=True),
        Kind("content_filter", "reply", "finish_reason is content_filter, and null content", answers=True),
        Kind("refusal", "reply", "a refusal instead of content", answers=True),
    )
}

_RAW: Mapping[str, bytes] = {
    "html": b"<html><body>Bad gateway</body></html>",
    "empty_body": b"",
    "deep": b"[" * 100_000,
    "flood": b'{"choices": []' + b" " * 10_000_000 + b"}",
    "huge_int": b'{"choices": ' + b"9" * 5000 + b"}",
}
_CONTENT: Mapping[str, str | None] = {
    "empty": "", "whitespace": " \n\t", "think": "<think>What was asked?</think>\n", "null": None,
}  # fmt: skip
_MARKS: Mapping[str, str] = {"surrogate": "\ud800", "nul": "\0", "bidi": "\u202e"}
_AROUND: Mapping[str, tuple[str, str]] = {"fenced": ("```json\n", "\n```"), "prose": ("", "\nI hope this helps!")}
_TOOL = {"id": "call_0", "type": "function", "function": {"name": "no_such_tool", "arguments": '{"path": "/et'}}
_LOGPROBS = {"content": [{"token": "a", "logprob": None}, {"token": "b", "logprob": -9999.0}]}
_CHANGES: Mapping[str, Callable[[dict[str, Any]], Any]] = {
    "finish_unknown": lambda e: e["choices"][0].update(finish_reason="abort"),
    "choices_extra": lambda e: e["choices"].append(e["choices"][0] | {"index": 1}),
    "choices_missing": lambda e: e["choices"].clear(),
    "choice_index": lambda e: e["choices"][0].update(index=1),
    "wrong_model": lambda e: e.update(model="another-model"),
    "fingerprint": lambda e: e.update(system_fingerprint="changed"),
    "usage_missing": lambda e: e.pop("usage"),
    "usage_negative": lambda e: e["usage"].update(prompt_tokens=-1),
    "usage_wrong": lambda e: e["usage"].update(completion_tokens=0),
    "logprobs": lambda e: e["choices"][0].update(logprobs=_LOGPROBS),
    "tool_calls": lambda e: e["choices"][0].update(
        message={"role": "assistant", "content": None, "tool_calls": [_TOOL]}, finish_reason="tool_calls"
    ),
    "nan": lambda e: e["usage"].update(prompt_tokens=float("nan")),
    "reasoning": lambda e: e["choices"][0]["message"].update(reasoning_content="What was asked?"),
    "refusal": lambda e: e["choices"][0]["message"].update(content=None, refusal="I cannot help with that."),
    "content_filter": lambda e: e["choices"][0].update(message={"content": None}, finish_reason="content_filter"),
}
_TOO_LONG = "This model's maximum context length is 4096 tokens. However, you requested 9000 tokens."


class Plan(NamedTuple):
    """Which share of requests meets which fault, in the first `attempts` tries at a body."""

    shares: tuple[tuple[Kind, float], ...] = ()
    attempts: int = 1
    seed: int = 0

    def drawn(self, body: bytes, seen: int) -> Kind | None:
        """The fault of a request whose body has this digest and was seen so often before."""
        if not self.shares or seen >= self.attempts:
            return None
        left = uniform(self.seed, b"fault", body + b"%d" % seen)
        for kind, share in self.shares:
            left -= share
            if left < 0:
                return kind
        return None


def plan(texts: tuple[str, ...], *, attempts: int = 1, seed: int = 0) -> Plan:
    """Read KIND=SHARE, once a fault. Raises RecipeError for kinds that do not exist and shares beyond 1."""
    shares = []
    for text in texts:
        name, _, value = text.partition("=")
        try:
            share = float(value)
        except ValueError:
            share = -1.0
        if not 0 <= share <= 1:
            raise RecipeError(f"--fault {text}: KIND=SHARE is needed, with a share between 0 and 1, such as 500=0.05")
        if name not in KINDS:
            raise RecipeError(f"--fault {text}: there is no {name!r}; --list-faults shows the {len(KINDS)} kinds")
        shares.append((KINDS[name], share))
    if sum(share for _, share in shares) > 1 + 1e-9:
        raise RecipeError("--fault: the shares add up to more than 1")
    return Plan(tuple(shares), attempts, seed)


def refusal(kind: Kind, retry_after: float) -> tuple[int, dict[str, str], bytes]:
    """Status, headers and body of a fault in front of the engine that has a status."""
    if kind.name == "too_long":
        return 400, {}, error(_TOO_LONG, "context_length_exceeded")
    code, _, waits = kind.name.partition("_")
    return int(code), {"Retry-After": f"{retry_after:g}"} if waits else {}, error(kind.about, "")


def error(message: str, code: str) -> bytes:
    """An error of the API, in the usual words."""
    return json.dumps({"error": {"message": message, "type": "simulated", "code": code or None}}).encode()


def altered(kind: Kind, envelope: dict[str, Any], max_tokens: int | None) -> bytes:
    """The bytes of a reply with this fault in it; `envelope` is the right one, and is changed."""
    if kind.name in _RAW:
        return _RAW[kind.name]
    _edit(kind.name, envelope, max_tokens)
    data = json.dumps(envelope).encode()
    if kind.name == "truncated":
        return data[: len(data) // 2]
    if kind.name == "malformed":
        return data[:-1] + b",}"
    if kind.name == "invalid_utf8":
        return data.replace(b'"content": "', b'"content": "\xff', 1)
    return b"\xef\xbb\xbf" + data if kind.name == "bom" else data


def _edit(name: str, envelope: dict[str, Any], max_tokens: int | None) -> None:
    choices, usage = envelope["choices"], envelope["usage"]
    choice = choices[0]
    message = choice["message"]
    text: str = message["content"]
    match name:
        case "empty" | "whitespace" | "think" | "null":
            message["content"] = _CONTENT[name]
        case "fenced" | "prose":
            message["content"] = _AROUND[name][0] + text + _AROUND[name][1]
        case "twice" if text.startswith("{"):
            first = text[1:].partition(",")[0].rstrip("}")
            message["content"] = f"{{{first}, {text[1:]}"
        case "surrogate" | "nul" | "bidi":
            message["content"] = text[: len(text) // 2] + _MARKS[name] + text[len(text) // 2 :]
        case "finish_length":
            message["content"], choice["finish_reason"] = cut(text, text.count(" ") // 2), "length"
        case "cut_unreported":
            usage["completion_tokens"] = max_tokens or usage["completion_tokens"]
            choice["finish_reason"] = "stop"
        case "loop":
            message["content"] = text + ("\n" + text.rsplit("\n", 1)[-1]) * 50
        case _ if name in _CHANGES:
            _CHANGES[name](envelope)
