"""Bytes to replies and back: whatever a server sends is a reply or a fault, and never anything else."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from errata.engines.chat import decode_reply, encode_request
from errata.engines.retry import Fault
from tests.engines.client import ask


@settings(deadline=None)
@given(st.binary(max_size=200))
def test_any_bytes_are_a_reply_or_a_fault(content: bytes) -> None:
    with pytest.raises(Fault):
        decode_reply(content, ask())


_JSON = st.recursive(st.none() | st.booleans() | st.integers() | st.text(max_size=8), lambda x: st.lists(x, max_size=3))


@settings(deadline=None)
@given(
    st.fixed_dictionaries(
        {},
        optional={
            "content": _JSON, "reasoning_content": _JSON, "refusal": _JSON, "finish_reason": _JSON | st.just("stop"),
            "usage": _JSON | st.dictionaries(st.sampled_from(["prompt_tokens", "completion_tokens"]), _JSON),
            "model": _JSON, "index": _JSON | st.just(0), "system_fingerprint": _JSON,
        },
    )
)  # fmt: skip
def test_any_envelope_is_a_reply_or_a_fault(parts: dict[str, Any]) -> None:
    message = {k: parts[k] for k in ("content", "reasoning_content", "refusal") if k in parts}
    choice = {"message": message} | {k: parts[k] for k in ("finish_reason", "index") if k in parts}
    envelope = {"choices": [choice]} | {k: parts[k] for k in ("usage", "model", "system_fingerprint") if k in parts}
    try:
        reply = decode_reply(json.dumps(envelope).encode(), ask()).reply
    except Fault as fault:
        assert fault.code in ("bad_envelope", "empty")
    else:
        reply.text.encode()
        assert reply.prompt_tokens >= 0 and reply.completion_tokens >= 0


@settings(deadline=None)
@given(st.text(max_size=50), st.integers(0, 2**63 - 1))
def test_a_request_is_the_same_bytes_each_time(text: str, seed: int) -> None:
    request = ask(text, seed=seed)
    data = encode_request(request, model="m", seed=seed, extra={})
    assert data == encode_request(request, model="m", seed=seed, extra={})
    body = json.loads(data)
    assert body["messages"][0]["content"] == text and body["seed"] == seed
