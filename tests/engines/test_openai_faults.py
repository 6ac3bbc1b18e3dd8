"""Every fault of a server has one outcome and exact counters: what tests/faults/matrix.py asks of the client alone."""

import asyncio
import json
import socket
from typing import Any

import pytest

from errata.engines.openai import OpenAI
from errata.errors import EngineDown, EngineError
from tests import servers
from tests.engines.client import Outcome, ask, quick, served
from tests.servers import ChatServer, Fault


def test_f1_retry_after_slows_the_whole_engine() -> None:
    async def use(client: OpenAI, server: ChatServer) -> None:
        first = asyncio.create_task(client.generate(ask(seed=1)))
        while client.servers[0].gate.limit == 256:  # noqa: ASYNC110 - the client tells nobody that it was refused
            await asyncio.sleep(0.01)
        await asyncio.gather(first, *(client.generate(ask(seed=s)) for s in range(2, 6)))
        assert server.requests == 6 and server.repeated == 1
        assert min(server.times[1:]) - server.times[0] >= 0.5
        assert client.stats["retry_http_429"] == 1 and client.stats["requests"] == 5

    served(use, servers.status(429, {"Retry-After": "0.5"}))


def test_f2_429_is_borne_as_long_as_the_deadline_allows() -> None:
    done = Outcome(*[servers.status(429)] * 9, retries=2)
    assert done.reply is not None and done.retries == {"http_429": 9}


def test_f2_429_for_ever_stops_the_run() -> None:
    done = Outcome(*[servers.status(429)] * 1000, deadline=0.4)
    assert done.code == "EngineDown" and done.seconds < 15


def test_f1_a_wait_beyond_the_deadline_stops_the_run() -> None:
    done = Outcome(servers.status(429, {"Retry-After": "86400"}))
    assert done.code == "EngineDown" and "86400 seconds" in str(done.error) and done.sent == 1


@pytest.mark.parametrize("code", [500, 502, 503, 504, 529])
def test_f3_server_errors_are_retried_within_the_budget(code: int) -> None:
    done = Outcome(*[servers.status(code)] * 3, retries=3)
    assert done.reply is not None and done.retries == {f"http_{code}": 3}
    done = Outcome(*[servers.status(code)] * 4, retries=3)
    assert done.code == "engine_5xx" and done.retries == {f"http_{code}": 3}


@pytest.mark.parametrize(
    "fault",
    [
        servers.status(400, message="This model's maximum context length is 4096 tokens. However, you requested 9000"),
        servers.status(400, message="The prompt (length 5000) is longer than the maximum model length of 4096."),
        servers.status(400, message="the request exceeds the available context size"),
        servers.status(413, message="payload"),
    ],
)
def test_f4_too_long_is_not_retried(fault: Fault) -> None:
    done = Outcome(fault)
    assert done.code == "too_long" and done.sent == 1


def test_f4_other_bad_requests_are_not_retried_and_tell_what_the_server_said() -> None:
    done = Outcome(servers.status(400, message="unknown field \x1b[31mtop_k"))
    assert done.code == "bad_request" and done.sent == 1
    assert "unknown field" in str(done.error) and "\x1b" not in str(done.error)


@pytest.mark.parametrize(
    ("fault", "says"),
    [
        (servers.status(403), "OPENAI_API_KEY"),
        (servers.status(402, message="no funds"), "no funds"),
        (servers.status(429, message="quota", kind="insufficient_quota"), "quota"),
        (servers.status(307, {"Location": "https://h/v1"}), "https://h/v1"),
        (servers.status(404), "base_url"),
    ],
)
def test_f5_what_no_request_can_survive_stops_the_run(fault: Fault, says: str) -> None:
    done = Outcome(fault)
    assert done.code == "EngineDown" and says in str(done.error) and done.sent == 1


def test_an_unknown_model_is_told_with_those_that_are_served() -> None:
    done = Outcome(server={"models": ("qwen", "llama")})
    assert done.code == "EngineDown" and "no model 'm'" in str(done.error) and "qwen, llama" in str(done.error)


def test_f6_a_server_that_is_not_there() -> None:
    with socket.socket() as held:  # bound but not listening: connections are refused
        held.bind(("127.0.0.1", 0))
        client = quick(f"http://127.0.0.1:{held.getsockname()[1]}/v1", retries=2)

        async def main() -> None:
            with pytest.raises(EngineDown, match=r"the server is down.*resumed"):
                await client.generate(ask())
            await client.close()

        asyncio.run(main())
    assert client.stats["retry_connect"] == 2 and client.servers[0].gate.busy == 0


def test_f6_a_server_that_comes_back_is_waited_for() -> None:
    async def main() -> None:
        with socket.socket() as held:
            held.bind(("127.0.0.1", 0))
            port = held.getsockname()[1]
        client = quick(f"http://127.0.0.1:{port}/v1", backoff=0.1)
        asked = asyncio.create_task(client.generate(ask()))
        await asyncio.sleep(0.15)
        async with ChatServer(answer=lambda body: "four", port=port):
            assert (await asked).text == "four"
            await client.close()
        assert client.stats["retry_connect"] >= 1

    asyncio.run(main())


@pytest.mark.parametrize(
    ("fault", "reason"),
    [(servers.RESET, "reset"), (servers.RESET_BODY, "bad_envelope"), (servers.SHORT, "bad_envelope")],
)
def test_f7_a_broken_connection_is_retried_and_no_part_accepted(fault: Fault, reason: str) -> None:
    done = Outcome(fault, fault)
    assert done.reply is not None and done.reply.text == "four" and done.retries == {reason: 2}


def test_f7_resets_lose_one_request_where_the_server_works_and_the_run_where_it_never_did() -> None:
    async def use(client: OpenAI, server: ChatServer) -> None:
        await client.generate(ask(seed=1))
        with pytest.raises(EngineError) as told:
            await client.generate(ask(seed=2))
        assert told.value.code == "connection" and server.requests == 4

    served(use, None, *[servers.RESET] * 3, retries=2)
    done = Outcome(*[servers.RESET] * 3, retries=2)
    assert done.code == "EngineDown" and "down" in str(done.error)


@pytest.mark.parametrize(
    "fault",
    [
        servers.TRUNCATED,
        servers.HTML,
        servers.EMPTY_BODY,
        servers.SHORT,
        servers.raw(b"[]"),
        servers.raw(b'{"choices": 1}'),
        servers.raw(b'{"choices": [null]}'),
        servers.raw(b'{"choices": [{"index": 0, "message": {"content": "\xff"}, "finish_reason": "stop"}]}'),
        servers.edit(lambda e: e["usage"].update(x=float("nan"))),
        servers.raw(b"[" * 100_000),
        servers.raw(b'{"choices": ' + b"9" * 5000 + b"}"),
        servers.raw(b'{"choices": []' + b" " * 10_000_001 + b"}"),
        servers.edit(lambda e: e["choices"].append(e["choices"][0])),
        servers.edit(lambda e: e["choices"].clear()),
        servers.edit(lambda e: e["choices"][0].update(index=1)),
        servers.content("four", finish_reason=None),
        servers.content("four", finish_reason="abort"),
        servers.edit(lambda e: e["choices"][0]["message"].update(content=[{"type": "text"}])),
    ],
)
def test_f8_f16_f19_what_is_no_reply_is_retried_then_quarantined(fault: Fault) -> None:
    done = Outcome(fault)
    assert done.reply is not None and done.reply.text == "four" and done.retries == {"bad_envelope": 1}
    done = Outcome(fault, fault, retries=1)
    assert done.code == "bad_envelope" and done.retries == {"bad_envelope": 1}


@pytest.mark.parametrize("fault", [servers.HANG, servers.DRIP])
def test_f9_a_server_that_hangs_is_tried_again_and_ends_at_the_deadline(fault: Fault) -> None:
    done = Outcome(fault, deadline=3.0)
    assert done.reply is not None and done.retries == {"timeout": 1}
    done = Outcome(*[fault] * 9, deadline=0.6)
    assert done.code == "deadline" and 0.3 <= done.seconds < 15


def test_f10_a_late_answer_is_not_asked_for_twice() -> None:
    done = Outcome(servers.slow(0.3))
    assert done.reply is not None and done.sent == 1


def test_f12_f13_a_cut_answer_is_known_as_cut_whatever_the_server_says() -> None:
    reported = Outcome(servers.content("four", finish_reason="length")).reply
    assert reported is not None and reported.finish == "length" and reported.flags == ()
    hidden = Outcome(request=ask(max_tokens=1)).reply
    assert hidden is not None and hidden.finish == "length" and hidden.flags == ("cut_unreported",)
    bare = Outcome(servers.content("", finish_reason="length")).reply
    assert bare is not None and bare.finish == "length" and bare.text == ""


@pytest.mark.parametrize("text", ["", " \n\t", None, "<think>hm", " <think>hm</think>\n"])
def test_f14_no_text_is_retried_once_with_a_new_seed(text: str | None) -> None:
    done = Outcome(servers.content(text))
    assert done.reply is not None and done.reply.flags == ("reseeded",) and done.retries == {"empty": 1}
    assert done.bodies[0]["seed"] == 7 != done.bodies[1]["seed"]
    done = Outcome(*[servers.content(text)] * 9)
    assert done.code == "empty" and done.retries == {"empty": 1}


def test_f14_thought_before_an_answer_is_no_empty_answer() -> None:
    reply = Outcome(servers.content("<think>hm</think> four")).reply
    assert reply is not None and reply.text == "<think>hm</think> four"


def test_f17_another_model_stops_the_run_unless_it_is_named() -> None:
    other = servers.edit(lambda e: e.update(model="m-2024"))
    done = Outcome(other)
    assert done.code == "EngineDown" and "'m-2024'" in str(done.error) and "'m'" in str(done.error)
    done = Outcome(other, served_as="m-2024")
    assert done.reply is not None
    done = Outcome(served_as="m-2024")
    assert done.code == "EngineDown", "the name asked for is not the one declared"


def test_f17_a_change_of_fingerprint_is_flagged() -> None:
    async def use(client: OpenAI, server: ChatServer) -> None:
        flags = [(await client.generate(ask(seed=s))).flags for s in range(3)]
        assert flags == [(), (), ("fingerprint_changed",)]

    prints = [servers.edit(lambda e, p=p: e.update(system_fingerprint=p)) for p in ("a", "a", "b")]  # type: ignore[misc]
    served(use, *prints)


def test_f18_text_that_no_file_holds_is_mended_and_flagged() -> None:
    reply = Outcome(servers.content("a\ud800b\0c \U0001f600 \u202e")).reply
    assert reply is not None and reply.text == "a\ufffdb\ufffdc \U0001f600 \u202e"
    assert reply.flags == ("bidi", "surrogates")


def test_f18_a_byte_order_mark_is_borne() -> None:
    body = {"choices": [{"message": {"content": "four"}, "finish_reason": "stop"}]}
    reply = Outcome(servers.raw(b"\xef\xbb\xbf" + json.dumps(body).encode())).reply
    assert reply is not None and reply.text == "four" and reply.flags == ("usage_missing",)


@pytest.mark.parametrize("used", [(3, 65), (0, 1), (3, 0)])
def test_f21_counts_that_cannot_be_are_flagged(used: tuple[int, int]) -> None:
    usage = {"prompt_tokens": used[0], "completion_tokens": used[1]}
    reply = Outcome(servers.edit(lambda e: e.update(usage=usage))).reply
    assert reply is not None and "usage_wrong" in reply.flags
    assert reply.finish == ("length" if used[1] > 64 else "stop"), "what may be cut is not taken for whole"


@pytest.mark.parametrize("usage", [None, {}, {"prompt_tokens": -1, "completion_tokens": 2}, {"prompt_tokens": True}, 3])
def test_f21_usage_that_is_missing_is_counted_as_nothing(usage: Any) -> None:
    reply = Outcome(servers.edit(lambda e: e.update(usage=usage))).reply
    assert reply is not None and reply.flags == ("usage_missing",) and reply.prompt_tokens == 0


def test_f29_a_refusal_is_no_failure_and_no_answer() -> None:
    faults = [
        servers.content(None, finish_reason="content_filter"),
        servers.edit(lambda e: e["choices"][0].update(message={"content": None, "refusal": "I can not"})),
        servers.status(400, message="filtered", kind="content_filter"),
    ]
    replies = [Outcome(fault) for fault in faults]
    assert [r.reply.finish for r in replies if r.reply] == ["filter"] * 3
    assert [r.sent for r in replies] == [1] * 3


def test_reasoning_is_dropped_and_flagged() -> None:
    reply = Outcome(servers.edit(lambda e: e["choices"][0]["message"].update(reasoning_content="hm"))).reply
    assert reply is not None and reply.text == "four" and reply.flags == ("reasoning_dropped",)


def test_a_storm_of_faults_loses_nothing_and_counts_every_try() -> None:
    storm = [servers.status(500), servers.RESET, servers.HTML, servers.status(429), None] * 20

    async def use(client: OpenAI, server: ChatServer) -> None:
        replies = await asyncio.gather(*(client.generate(ask(seed=s)) for s in range(60)))
        assert [r.text for r in replies] == ["four"] * 60
        retried = sum(n for k, n in client.stats.items() if k.startswith("retry_"))
        assert server.requests == 60 + retried and retried == 80
        assert server.repeated == retried and client.stats["completion_tokens"] == 60

    served(use, *storm, retries=40)
