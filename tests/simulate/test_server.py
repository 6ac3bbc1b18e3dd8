"""The protocol over loopback: content, accounting, cache, metrics, cancellation, and the drills."""

import asyncio
import json
import random
from typing import Any

import aiohttp
import pytest

from errata import chains
from errata.engines.base import Request, Sampling
from errata.engines.openai import OpenAI
from errata.errors import EngineDown, RecipeError
from errata.records.types import Message
from errata.simulate import metrics, traffic
from errata.simulate.content import procedural_reply
from errata.simulate.lengths import Lengths
from errata.simulate.model import ContinuousBatch, Hardware, Job
from errata.simulate.options import Options
from tests.simulate.support import Client, body, run, simulated


def chat(*messages: tuple[str, str], **fields: Any) -> bytes:
    asked = {"model": "m", "messages": [{"role": role, "content": text} for role, text in messages]}
    return json.dumps(asked | fields).encode()


def test_content_and_lengths_do_not_depend_on_the_order_of_arrival() -> None:
    bodies = [body(number, seed=seed) for number in range(15) for seed in range(3)]

    async def replies(order: int) -> list[Any]:
        shuffled = random.Random(order).sample(bodies, len(bodies))
        async with simulated(slots=1 + order * 4, step_ms=0.01, seed=5, replicas=2) as client:
            got = await asyncio.gather(*(client.chat(b, i % 2) for i, b in enumerate(shuffled)))
        return [dict(zip(shuffled, got, strict=True))[b] for b in bodies]

    first, second = (asyncio.run(replies(order)) for order in (0, 1))
    assert first == second
    drawn = Lengths(seed=5)
    for content, reply in zip(bodies, first, strict=True):
        assert reply["usage"]["completion_tokens"] == min(4096, drawn.draw(traffic.digest(content), ""))
        assert reply["choices"][0]["message"]["content"] == procedural_reply(json.loads(content))


def test_student_is_half_wrong_and_the_teacher_finds_where() -> None:
    async def use(client: Client) -> None:
        right = 0
        for number in range(40):
            chain = chains.generate(random.Random(number), 5, 1)
            asked = ("user", chains.question(chain))
            said = (await client.chat(chat(asked)))["choices"][0]["message"]["content"]
            correct = chains.answer(said) == str(chain.values()[chain.target])
            right += correct
            judged = chat(asked, ("assistant", said), ("user", "Find the first wrong step"), response_format={})
            verdict = json.loads((await client.chat(judged))["choices"][0]["message"]["content"])
            assert (verdict["first_error"] == -1) == correct
            revised = chat(asked, ("assistant", said), ("user", "Correct the solution"))
            mended = (await client.chat(revised))["choices"][0]["message"]["content"]
            assert chains.answer(mended) == str(chain.values()[chain.target])
            begun = chat(asked, ("assistant", mended.split("\n")[0]), continue_final_message=True)
            rest = (await client.chat(begun))["choices"][0]["message"]["content"]
            assert rest.startswith("\n")
        assert 8 < right < 32

    run(use)


def test_a_reply_that_reaches_max_tokens_is_cut() -> None:
    async def use(client: Client) -> None:
        for number in range(30):
            whole = await client.chat(body(number, max_tokens=10**9))
            length = whole["usage"]["completion_tokens"]
            text = whole["choices"][0]["message"]["content"]
            assert whole["choices"][0]["finish_reason"] == "stop"
            for most in (1, max(1, length // 2), length):
                reply = await client.chat(body(number, max_tokens=most))
                # The body is another, and so is its length: the outcome is read from the draw itself.
                drawn = Lengths().draw(traffic.digest(body(number, max_tokens=most)), "")
                choice, usage = reply["choices"][0], reply["usage"]
                assert usage["completion_tokens"] == min(drawn, most)
                assert choice["finish_reason"] == ("length" if drawn >= most else "stop")
                words = (text.count(" ") + 1) * most // drawn if drawn >= most else text.count(" ") + 1
                assert choice["message"]["content"] == " ".join(text.split(" ")[:words])

    run(use)


def test_lengths_of_the_text_are_its_words() -> None:
    async def use(client: Client) -> None:
        reply = await client.chat(body(1))
        assert reply["usage"]["completion_tokens"] == reply["choices"][0]["message"]["content"].count(" ") + 1
        cut = await client.chat(body(1, max_tokens=5))
        assert cut["choices"][0]["message"]["content"].count(" ") == 4 and cut["usage"]["completion_tokens"] == 5

    run(use, lengths="text")


def test_requests_repeated_are_told_from_those_seen() -> None:
    async def use(client: Client) -> None:
        path = "/v1/chat/completions"
        assert (await client.post(path, content=body(1)))[0] == 500
        await client.chat(body(1), 1)
        await client.chat(body(1))
        assert (await client.post(path, 1, body(1, seed=9)))[0] == 500
        await client.chat(body(1, seed=9), 1)
        told = await client.stats(query="?all=1")
        assert (told["requests"], told["answered"], told["seen_before"], told["repeated"]) == (5, 3, 3, 1)
        assert told["faults"] == {"500": 2}
        assert (await client.stats())["requests"] == 2 and (await client.stats(1))["requests"] == 3

    run(use, fault=("500=1",), replicas=2)


def test_the_account_over_loopback_adds_up_and_is_reset() -> None:
    async def use(client: Client) -> None:
        replies = await asyncio.gather(*(client.chat(body(n), n % 3) for n in range(60)))
        told = await client.stats(query="?all=1")
        assert (told["requests"], told["arrived"], told["finished"], told["running"], told["queued"]) == (
            60,
            60,
            60,
            0,
            0,
        )
        for name in ("prompt_tokens", "completion_tokens"):
            assert told[name] == sum(reply["usage"][name] for reply in replies)
        # Every token took a slot for one step, and nothing else did.
        assert told["busy_slot_seconds"] == pytest.approx(told["completion_tokens"] * 1e-5, rel=1e-6)
        assert told["slots"] == 12 and told["ideal_seconds"] == pytest.approx(told["busy_slot_seconds"] / 12)
        assert sum([(await client.stats(r))["finished"] for r in range(3)]) == 60
        assert (await client.post("/reset"))[0] == 200
        told = await client.stats(2)
        assert (told["requests"], told["finished"], told["busy_slot_seconds"], told["window_seconds"]) == (0, 0, 0, 0)
        await client.chat(body(0))
        assert (await client.stats())["repeated"] == 0

    run(use, slots=4, step_ms=0.01, replicas=3)


def test_a_prefix_is_hit_on_the_replica_that_holds_it() -> None:
    """Words of the first prompt: `<|user|>`, 50, `<|end|>`, `<|assistant|>`; 48 of its 53 are in blocks of 16."""
    first = " ".join(f"w{n}" for n in range(50))

    async def use(client: Client) -> None:
        said = (await client.chat(chat(("user", first))))["choices"][0]["message"]["content"]
        told = await client.stats()
        assert (told["prefix_tokens_asked"], told["prefix_tokens_hit"]) == (53, 0)
        await client.chat(chat(("user", first), seed=2))
        assert (await client.stats())["prefix_tokens_hit"] == 48
        # The reply is held too: `The answer is 0 <|end|>` and 6 words of the next turn make 64 words, 4 blocks, of
        # which the fourth is new.
        assert said == "The answer is 0"
        await client.chat(chat(("user", first), ("assistant", said), ("user", "a b c d e f")))
        assert (await client.stats())["prefix_tokens_hit"] == 48 + 48
        await client.chat(chat(("user", first), seed=2), 1)
        assert (await client.stats(1))["prefix_tokens_hit"] == 0
        await client.post("/reset_prefix_cache")
        await client.chat(chat(("user", first), seed=3))
        assert (await client.stats())["prefix_tokens_hit"] == 96

    run(use, replicas=2)


def test_a_reply_is_part_of_the_next_prompts_prefix() -> None:
    first = " ".join(f"w{n}" for n in range(13))

    async def use(client: Client) -> None:
        said = (await client.chat(chat(("user", first))))["choices"][0]["message"]["content"]
        await client.chat(chat(("user", first), ("assistant", said), ("user", "a " * 16)))
        # `<|user|>`, 13 words, `<|end|>`, `<|assistant|>`: 16 words, so that the reply's 4 words begin the next block.
        assert (await client.stats())["prefix_tokens_hit"] == 20

    run(use, block_tokens=4)


def test_metrics_have_the_names_that_vllm_gives_them() -> None:
    async def use(client: Client) -> None:
        replies = [await client.chat(body(1, seed=seed)) for seed in range(3)]
        lines = [line for line in (await client.get("/metrics")).splitlines() if not line.startswith("#")]
        values = {line.split("{")[0]: float(line.rsplit(" ", 1)[1]) for line in lines}
        told = await client.stats()
        assert values == {
            "vllm:num_requests_running": 0,
            "vllm:num_requests_waiting": 0,
            "vllm:kv_cache_usage_perc": 0,
            "vllm:prefix_cache_queries_total": told["prefix_tokens_asked"],
            "vllm:prefix_cache_hits_total": told["prefix_tokens_hit"],
            "vllm:prompt_tokens_total": sum(r["usage"]["prompt_tokens"] for r in replies),
            "vllm:generation_tokens_total": sum(r["usage"]["completion_tokens"] for r in replies),
            "vllm:request_success_total": 3,
        }
        assert values["vllm:prefix_cache_hits_total"] > 0
        assert all('{engine="0",model_name="m"}' in line for line in lines)

    run(use, model=("m",))


def test_a_client_that_goes_away_frees_its_slot_and_its_place_in_the_queue() -> None:
    async def use(client: Client) -> None:
        tasks = []
        for number in range(3):
            tasks.append(asyncio.create_task(client.chat(body(number))))
            await client.until(lambda told, n=number: told["arrived"] == n + 1)  # type: ignore[misc]
        metrics = await client.get("/metrics")
        assert 'vllm:num_requests_waiting{engine="0",model_name="simulated"} 2' in metrics
        tasks[1].cancel()
        told = await client.until(lambda told: told["cancelled"] == 1)
        assert (told["running"], told["queued"], told["cancelled_slot_seconds"]) == (1, 1, 0)
        tasks[0].cancel()
        told = await client.until(lambda told: told["cancelled"] == 2)
        assert (told["running"], told["queued"]) == (1, 0) and told["cancelled_slot_seconds"] > 0
        tasks[2].cancel()
        told = await client.until(lambda told: told["cancelled"] == 3)
        assert (told["arrived"], told["finished"], told["running"]) == (3, 0, 0)
        await asyncio.gather(*tasks, return_exceptions=True)

    run(use, slots=1, step_ms=1e6)


def test_death_drops_what_is_in_flight_and_life_begins_with_an_empty_cache() -> None:
    async def use(client: Client) -> None:
        asked = asyncio.create_task(client.chat(body(1)))
        await client.until(lambda told: told["running"] == 1)
        port = client.replicas[0].port
        assert client.replicas[0].batch.cache.tokens > 0
        await client.post("/die?seconds=0.3")
        with pytest.raises(aiohttp.ClientConnectionError):
            await asked
        with pytest.raises(aiohttp.ClientConnectorError):
            await client.get("/health")
        assert client.replicas[0].batch.cache.tokens == 0
        while True:
            try:
                told = await client.stats()
                break
            except aiohttp.ClientConnectorError:
                await asyncio.sleep(0.02)
        assert (told["deaths"], told["cancelled"], told["running"], told["finished"]) == (1, 1, 0, 0)
        assert client.replicas[0].port == port and await client.get("/health", 1) == ""

    run(use, slots=1, step_ms=1e6, replicas=2)


def test_a_frozen_replica_answers_nobody_and_closes_nothing() -> None:
    async def use(client: Client) -> None:
        await client.post("/freeze")
        asked = asyncio.create_task(client.chat(body(1)))
        for _ in range(20):
            assert (await client.stats())["requests"] == 0
        assert not asked.done()
        await client.post("/freeze?seconds=0")
        assert (await asked)["object"] == "chat.completion"

    run(use)


@pytest.mark.parametrize(
    ("content", "status", "says"),
    [
        (b"", 400, "truncated"),
        (b'{"x": ' + b"[" * 100_000, 400, "deep"),
        (b'{"model": "m"}', 400, "messages"),
        (chat(), 400, "messages is empty"),
        (chat(("user", "a"), n=2), 400, "n must be 1"),
        (chat(("user", "a"), stream=True), 400, "does not stream"),
        (chat(("user", "a"), max_tokens=0), 400, "at least 1"),
        (chat(("user", "a")).replace(b'"m"', b'"other"'), 404, "other does not exist"),
        (b'{"model": "m", "messages": [{"role": "user", "content": "\xff"}]}', 400, ""),
    ],
)
def test_what_cannot_be_served_is_refused_and_said(content: bytes, status: int, says: str) -> None:
    async def use(client: Client) -> None:
        got, text = await client.post("/v1/chat/completions", content=content)
        assert got == status and says in json.loads(text)["error"]["message"]
        told = await client.stats()
        assert (told["requests"], told["unreadable"], told["arrived"]) == (1, 1, 0)
        assert (await client.post("/nowhere"))[0] == 404
        assert json.loads(await client.get("/v1/models"))["data"][0]["id"] == "m"

    run(use, model=("m",))


def test_parts_of_content_are_read_as_their_text() -> None:
    parts = [{"type": "text", "text": "a b"}, {"type": "text", "text": " c"}]
    asked = json.dumps({"model": "m", "messages": [{"role": "user", "content": parts}]}).encode()
    assert traffic.read(asked).words == ["<|user|>", "a", "b", "c", "<|end|>", "<|assistant|>"]
    assert traffic.rendered((("user", "a"), ("assistant", "b c")))[-3:] == ["<|assistant|>", "b", "c"]


def test_erratas_own_client_is_served_the_procedural_family() -> None:
    problem = chains.question(chains.generate(random.Random(3), 4, 1))

    async def use(client: Client) -> None:
        engine = OpenAI(model="m", base_url=client.replicas[0].url, backoff=0.0)
        requests = [
            Request(messages=(Message(role="user", content=problem),), sampling=Sampling(max_tokens=100_000), seed=seed)
            for seed in range(8)
        ]
        replies = await asyncio.gather(*(engine.generate(request) for request in requests))
        await engine.close()
        told = await client.stats()
        assert [reply.flags for reply in replies] == [()] * 8
        assert sum(reply.completion_tokens for reply in replies) == told["completion_tokens"]
        assert told["faults"] == {"503": 8} and told["answered"] == 8 and told["seen_before"] == 8

    run(use, fault=("503=1.0",))


def test_options_that_cannot_be_are_refused() -> None:
    for wrong in ({"replicas": 0}, {"port": 65_535, "replicas": 2}, {"cache_tokens": -1}):
        with pytest.raises(RecipeError, match="simulate"):
            Options(**wrong)  # type: ignore[arg-type]

    async def use(client: Client) -> None:
        with pytest.raises(EngineDown, match="cannot listen"):
            async with simulated(port=client.replicas[0].port):
                pass

    run(use)


def test_large_counters_keep_every_digit_in_the_metrics() -> None:
    batch = ContinuousBatch(Hardware(slots=1, step_seconds=0.0))
    batch.arrive(0.0, Job(0, 123_456_789))
    batch.advance(0.0)
    assert 'vllm:generation_tokens_total{engine="3",model_name="a\\"b"} 123456789\n' in metrics.text(batch, 3, 'a"b')
