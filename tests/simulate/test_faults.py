"""Every kind of fault reaches a client in its own way, hits as often as it was told to, and is counted."""

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest

from errata.errors import RecipeError
from errata.simulate import command, faults, traffic
from errata.simulate.faults import KINDS, Plan, plan
from tests.simulate.support import Client, body, run

Sign = Callable[[bytes, bytes, bool], object]
"""Of the head, the body and whether the connection was reset."""


def choice(data: bytes) -> dict[str, Any]:
    return dict(json.loads(data)["choices"][0])


def text(data: bytes) -> Any:
    return choice(data)["message"]["content"]


def status(code: int, word: bytes = b"") -> Sign:
    return lambda head, data, reset: head.startswith(b"HTTP/1.1 %d " % code) and word in data and not reset


def length(head: bytes) -> int:
    return int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])


def unreadable(data: bytes) -> bool:
    try:
        json.loads(data)
    except (ValueError, RecursionError):
        return True
    return False


SIGNS: dict[str, Sign] = {
    "429": lambda head, data, reset: status(429)(head, data, reset) and b"Retry-After" not in head,
    "429_retry_after": lambda head, data, reset: status(429)(head, data, reset) and b"Retry-After: 0.5" in head,
    "500": status(500),
    "502": status(502),
    "503": status(503),
    "504": status(504),
    "529": status(529),
    "too_long": status(400, b"maximum context length"),
    "401": status(401),
    "reset": lambda head, data, reset: not head and reset,
    "reset_headers": lambda head, data, reset: status(200)(head, data, False) and not data and reset,
    "reset_body": lambda head, data, reset: 0 < len(data) < length(head) and reset,
    "short": lambda head, data, reset: 0 < len(data) < length(head) and not reset,
    "overrun": lambda head, data, reset: len(data) > length(head) and not reset,
    "drip": lambda head, data, reset: choice(data)["finish_reason"] == "stop",
    "slow": lambda head, data, reset: choice(data)["finish_reason"] == "stop",
    "truncated": lambda head, data, reset: unreadable(data) and data.startswith(b'{"id"') and length(head) == len(data),
    "html": lambda head, data, reset: b"text/html" in head and b"<html>" in data,
    "empty_body": lambda head, data, reset: status(200)(head, data, reset) and data == b"",
    "malformed": lambda head, data, reset: unreadable(data) and data.endswith(b",}"),
    "nan": lambda head, data, reset: b'"prompt_tokens": NaN' in data,
    "deep": lambda head, data, reset: data == b"[" * 100_000,
    "huge_int": lambda head, data, reset: b"9" * 5000 in data,
    "flood": lambda head, data, reset: len(data) == length(head) > 10_000_000,
    "invalid_utf8": lambda head, data, reset: b'"content": "\xff' in data,
    "bom": lambda head, data, reset: data.startswith(b"\xef\xbb\xbf{"),
    "surrogate": lambda head, data, reset: "\ud800" in text(data),
    "nul": lambda head, data, reset: "\0" in text(data),
    "bidi": lambda head, data, reset: "\u202e" in text(data),
    "finish_length": lambda head, data, reset: choice(data)["finish_reason"] == "length",
    "cut_unreported": lambda head, data, reset: (
        json.loads(data)["usage"]["completion_tokens"] == 4096 and choice(data)["finish_reason"] == "stop"
    ),
    "finish_unknown": lambda head, data, reset: choice(data)["finish_reason"] == "abort",
    "empty": lambda head, data, reset: text(data) == "",
    "whitespace": lambda head, data, reset: text(data) and not text(data).strip(),
    "think": lambda head, data, reset: text(data).startswith("<think>") and text(data).endswith("</think>\n"),
    "null": lambda head, data, reset: text(data) is None and choice(data)["finish_reason"] == "stop",
    "loop": lambda head, data, reset: len(set(text(data).split("\n")[-50:])) == 1,
    "choices_extra": lambda head, data, reset: [c["index"] for c in json.loads(data)["choices"]] == [0, 1],
    "choices_missing": lambda head, data, reset: json.loads(data)["choices"] == [],
    "choice_index": lambda head, data, reset: choice(data)["index"] == 1,
    "wrong_model": lambda head, data, reset: json.loads(data)["model"] == "another-model",
    "fingerprint": lambda head, data, reset: json.loads(data)["system_fingerprint"] != traffic.FINGERPRINT,
    "usage_missing": lambda head, data, reset: "usage" not in json.loads(data),
    "usage_negative": lambda head, data, reset: json.loads(data)["usage"]["prompt_tokens"] < 0,
    "usage_wrong": lambda head, data, reset: json.loads(data)["usage"]["completion_tokens"] == 0 and text(data),
    "logprobs": lambda head, data, reset: choice(data)["logprobs"]["content"][0]["logprob"] is None,
    "tool_calls": lambda head, data, reset: text(data) is None and choice(data)["message"]["tool_calls"],
    "fenced": lambda head, data, reset: text(data).startswith("```json\n") and text(data).endswith("\n```"),
    "prose": lambda head, data, reset: "The answer is" in text(data) and text(data).endswith("helps!"),
    "twice": lambda head, data, reset: "The answer is" in text(data),
    "reasoning": lambda head, data, reset: choice(data)["message"]["reasoning_content"],
    "content_filter": lambda head, data, reset: choice(data)["finish_reason"] == "content_filter",
    "refusal": lambda head, data, reset: choice(data)["message"]["refusal"] and text(data) is None,
}


def test_every_kind_but_silence_has_a_sign() -> None:
    assert SIGNS.keys() | {"hang"} == KINDS.keys()


@pytest.mark.parametrize("name", SIGNS)
def test_each_kind_is_seen_once_counted_once_and_then_over(name: str) -> None:
    async def use(client: Client) -> None:
        got, reset = await client.raw(body(1))
        head, _, data = got.partition(b"\r\n\r\n")
        assert SIGNS[name](head, data, reset), (head, data[:2000], reset)
        again, reset = await client.raw(body(1))
        head, _, data = again.partition(b"\r\n\r\n")
        whole = json.loads(data)
        assert choice(data)["finish_reason"] == "stop" and whole["system_fingerprint"] == traffic.FINGERPRINT
        assert len(data) == length(head) and not reset and "The answer is" in text(data)
        # The server learns of a reset or of a closed connection in its own time.
        told = await client.until(lambda told: not told["running"])
        assert (told["requests"], told["seen_before"], told["faults"]) == (2, 1, {name: 1})
        assert told["answered"] == 1 + KINDS[name].answers and told["repeated"] == int(KINDS[name].answers)
        assert told["arrived"] == 1 + (KINDS[name].place != "front")

    run(use, fault=(f"{name}=1",), drip_seconds=0.0)


def test_a_key_stands_twice_in_a_json_reply() -> None:
    envelope = {"choices": [{"message": {"content": '{"first_error": 3, "reason": "a, b"}'}}], "usage": {}}
    said = text(faults.altered(KINDS["twice"], envelope, None))
    assert said == '{"first_error": 3, "first_error": 3, "reason": "a, b"}'


def test_silence_takes_no_slot_and_ends_when_the_client_leaves() -> None:
    async def use(client: Client) -> None:
        asked = asyncio.create_task(client.chat(body(1)))
        told = await client.until(lambda told: bool(told["requests"]))
        assert told["faults"] == {"hang": 1} and told["arrived"] == 0 and not asked.done()
        asked.cancel()
        await asyncio.gather(asked, return_exceptions=True)
        assert (await client.chat(body(1)))["choices"]

    run(use, fault=("hang=1",))


def test_a_straggler_holds_its_slot_its_multiple_longer() -> None:
    async def use(client: Client) -> None:
        tokens = (await client.chat(body(1)))["usage"]["completion_tokens"]
        told = await client.stats()
        assert told["busy_slot_seconds"] == pytest.approx(tokens * 1e-6 * 20, rel=1e-6) and told["faults"] == {
            "slow": 1
        }

    run(use, fault=("slow=1",), straggler=20.0, step_ms=0.001)


def test_shares_hit_the_same_requests_in_any_order_and_are_exactly_counted() -> None:
    told = ("500=0.2", "429=0.1", "empty=0.15", "reset=0.1")
    bodies = [body(n) for n in range(150)]
    expected: dict[str, int] = {}
    chosen = plan(told, attempts=2, seed=3)
    for content in bodies:
        for seen in range(9):
            kind = chosen.drawn(traffic.digest(content), seen)
            if kind is None:
                break
            expected[kind.name] = expected.get(kind.name, 0) + 1
    assert expected.keys() == {"500", "429", "empty", "reset"} and 60 < sum(expected.values()) < 180

    async def until_answered(client: Client, content: bytes) -> None:
        while True:
            got, _ = await client.raw(content)
            if got.startswith(b"HTTP/1.1 200") and text(got.partition(b"\r\n\r\n")[2]):
                return

    async def use(client: Client) -> None:
        for first in range(0, 150, 25):
            await asyncio.gather(*(until_answered(client, b) for b in reversed(bodies[first : first + 25])))
        stats = await client.stats()
        assert stats["faults"] == expected
        assert stats["requests"] == 150 + sum(expected.values()) and stats["answered"] == 150
        assert stats["repeated"] == 0 and stats["seen_before"] == sum(expected.values())

    run(use, fault=told, fault_attempts=2, seed=3)


def test_shares_are_shares() -> None:
    chosen = plan(("500=0.25", "hang=0.05"))
    drawn = [chosen.drawn(b"%d" % n, 0) for n in range(20_000)]
    assert drawn.count(KINDS["500"]) == pytest.approx(5000, rel=0.05)
    assert drawn.count(KINDS["hang"]) == pytest.approx(1000, rel=0.12)
    assert all(kind is None for kind in (chosen.drawn(b"%d" % n, 1) for n in range(1000)))
    assert Plan().drawn(b"", 0) is None


@pytest.mark.parametrize("wrong", ["500", "500=x", "500=2", "500=-1", "500=nan", "storm=0.1"])
def test_faults_that_cannot_be_are_refused(wrong: str) -> None:
    with pytest.raises(RecipeError, match="--fault"):
        plan((wrong,))


def test_shares_beyond_one_are_refused() -> None:
    with pytest.raises(RecipeError, match="more than 1"):
        plan(("500=0.6", "502=0.6"))


def test_the_table_names_every_kind_on_a_line_of_its_own() -> None:
    lines = command.fault_table().splitlines()
    assert [line.split()[0] for line in lines] == list(KINDS)
    assert all(kind.about in line for kind, line in zip(KINDS.values(), lines, strict=True))
    assert faults.refusal(KINDS["503"], 1.0)[0] == 503
