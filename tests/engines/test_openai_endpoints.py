"""Several servers as one engine: who is asked, and what happens when one dies, hangs, is slow or comes back."""

import asyncio
import json
import signal
import socket
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from errata.engines.base import Reply
from errata.engines.openai import OpenAI
from errata.errors import EngineDown, EngineError, RecipeError
from errata.recipe.read import read
from errata.recipe.version import recorded
from tests import servers
from tests.engines.client import ask, quick
from tests.servers import ChatServer

ROOT = Path(__file__).resolve().parents[2]
Use = Callable[..., Awaitable[None]]


def farm(use: Use, *settings: dict[str, Any], **engine: Any) -> OpenAI:
    """Run `use(engine, server, server ...)` with an engine on as many servers as there are settings."""

    async def main() -> OpenAI:
        async with AsyncExitStack() as stack:
            running = [
                await stack.enter_async_context(ChatServer(**({"answer": lambda body: "four"} | s))) for s in settings
            ]
            client = quick([s.url for s in running], **engine)
            try:
                await use(client, *running)
            finally:
                await client.close()
            assert [s.gate.busy for s in client.servers] == [0] * len(settings), "a slot was not given back"
            assert client._balancer._router is not None
            assert client._balancer._router.load == [0] * len(settings), "a request still counts as in flight"
            return client

    return asyncio.run(main())


def sent(client: OpenAI) -> list[int]:
    """The tries that each server was sent."""
    return [client.stats[f"endpoint_{s.number}_requests"] for s in client.servers]


def retried(client: OpenAI) -> int:
    return sum(n for name, n in client.stats.items() if name.startswith("retry_"))


def closed_port() -> int:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        return int(held.getsockname()[1])


async def answered(client: OpenAI, number: int, text: str = "What is {} ?", **fields: Any) -> list[Reply]:
    """Ask so many questions at once; all must be answered."""
    replies = await asyncio.gather(*(client.generate(ask(text.format(s), seed=s, **fields)) for s in range(number)))
    assert all(r.text for r in replies)
    return list(replies)


def test_samples_of_one_prompt_go_to_one_server_and_prompts_to_all() -> None:
    async def use(client: OpenAI, *running: ChatServer) -> None:
        await asyncio.gather(*(client.generate(ask(f"What is {i % 20} ?", seed=i)) for i in range(80)))
        homes: dict[str, set[int]] = {}
        for server in running:
            for body in server.bodies:
                homes.setdefault(body["messages"][0]["content"], set()).add(server.port)
        assert sum(len(h) == 1 for h in homes.values()) >= 16
        assert min(s.requests for s in running) >= 20
        assert sent(client) == [s.requests for s in running]
        assert client.stats["requests"] == 80 and retried(client) == 0

    farm(use, {}, {}, {})


@contextmanager
def process() -> Iterator[tuple[str, "subprocess.Popen[str]"]]:
    """The base URL of a server in a process of its own."""
    command = [sys.executable, "-m", "tests.servers", "--latency", "0.05"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) as running:
        try:
            if running.stdout is None:
                raise RuntimeError("the server's output is not piped")
            yield running.stdout.readline().strip(), running
        finally:
            running.kill()


def test_a_server_that_is_killed_loses_nothing() -> None:
    async def main(one: str, two: str, doomed: "subprocess.Popen[str]") -> None:
        client = quick([one, two], concurrency=16, retries=2)

        async def kill() -> None:
            while sent(client)[1] < 40:  # noqa: ASYNC110 - it is told to nobody
                await asyncio.sleep(0.001)
            doomed.send_signal(signal.SIGKILL)

        _, replies = await asyncio.gather(kill(), answered(client, 300))
        assert len(replies) == client.stats["requests"] == 300
        assert client.servers[1].down and not client.servers[0].down
        assert sum(sent(client)) == 300 + retried(client)
        assert {k for k in client.stats if k.startswith("retry_")} <= {"retry_reset", "retry_connect"}
        assert 1 <= client.stats["retry_reset"] <= 19, "what was in flight, and a few before it was known"
        assert retried(client) <= 40, "and those who waited there did not"
        await client.close()

    with process() as (one, _), process() as (two, doomed):
        asyncio.run(main(one, two, doomed))


def test_a_refusal_costs_nothing_while_another_server_is_up() -> None:
    async def main() -> None:
        async with ChatServer(answer=lambda body: "four") as running:
            dead = f"http://127.0.0.1:{closed_port()}/v1"
            client = quick([dead, running.url], retries=0, backoff=60.0, deadline=200.0)
            await answered(client, 50)
            assert running.requests == 50 and client.servers[0].down
            assert client.stats["retry_connect"] == sent(client)[0] >= 1
            await client.close()

    asyncio.run(main())


def test_a_server_that_comes_back_is_asked_again() -> None:
    async def main() -> None:
        port = closed_port()
        async with ChatServer(answer=lambda body: "four") as steady:
            client = quick([f"http://127.0.0.1:{port}/v1", steady.url], backoff=0.01)
            await answered(client, 10)
            lost = client.servers[0]
            assert lost.down
            async with ChatServer(answer=lambda body: "four", port=port) as back:
                while lost.down:
                    await answered(client, 5)
                    await asyncio.sleep(0.01)
                before = back.requests
                await answered(client, 40, text="After {}")
                assert back.requests >= before + 15
            await client.close()

    asyncio.run(main())


def test_any_answer_brings_a_server_back() -> None:
    async def main() -> None:
        port = closed_port()
        async with ChatServer(answer=lambda body: "four") as steady:
            client = quick([f"http://127.0.0.1:{port}/v1", steady.url], backoff=0.001)
            await answered(client, 4)
            refusals = [servers.status(400)] * 99
            async with ChatServer(answer=lambda body: "four", port=port, faults=refusals) as back:
                while not back.requests:
                    asked = client.generate(ask())
                    (found,) = await asyncio.gather(asked, return_exceptions=True)
                    await asyncio.sleep(0.002)
                assert isinstance(found, EngineError) and back.requests == 1
                assert not client.servers[0].down
            await client.close()

    asyncio.run(main())


def test_a_server_that_may_be_back_is_sent_one_request_at_a_time() -> None:
    async def main() -> None:
        port = closed_port()
        async with ChatServer(answer=lambda body: "four") as steady:
            client = quick([f"http://127.0.0.1:{port}/v1", steady.url], backoff=0.001, deadline=3.0)
            await answered(client, 4)
            assert client.servers[0].down
            async with ChatServer(answer=lambda body: "four", port=port, faults=[servers.HANG] * 9) as back:
                tasks = []
                while not back.requests:
                    tasks.append(asyncio.create_task(client.generate(ask(seed=len(tasks)))))
                    await asyncio.sleep(0.005)
                await answered(client, 60)
                assert back.requests == 1 and client.servers[0].down
                assert {r.text for r in await asyncio.gather(*tasks)} == {"four"}
                assert client.stats["retry_timeout"] >= 1
            await client.close()

    asyncio.run(main())


def test_only_when_all_are_down_the_run_stops() -> None:
    async def main() -> None:
        urls = [f"http://127.0.0.1:{closed_port()}/v1" for _ in range(3)]
        client = quick(urls, retries=2, backoff=0.02)
        with pytest.raises(EngineDown, match=r"the server is down.*resumed"):
            await client.generate(ask())
        # Two moves to another server for nothing, then a try and two more at the request's own cost.
        assert client.stats["retry_connect"] == 4 and sum(sent(client)) == 5
        assert all(s.down for s in client.servers)
        with pytest.raises(EngineDown, match="the server is down"):
            await client.generate(ask())
        await client.close()

    asyncio.run(main())


def test_what_fails_together_counts_once_for_the_back_off() -> None:
    async def main() -> None:
        client = quick(
            [f"http://127.0.0.1:{closed_port()}/v1" for _ in range(2)], retries=1, backoff=5.0, deadline=60.0
        )
        asked = [asyncio.create_task(client.generate(ask(seed=s))) for s in range(50)]
        while not all(s.down for s in client.servers):  # noqa: ASYNC110 - it is told to nobody
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.1)
        assert [s.misses for s in client.servers] == [1, 1]
        for task in asked:
            task.cancel()
        await asyncio.gather(*asked, return_exceptions=True)
        await client.close()

    asyncio.run(main())


def test_servers_that_are_all_down_for_a_while_are_waited_for() -> None:
    async def main() -> None:
        ports = [closed_port() for _ in range(2)]
        client = quick([f"http://127.0.0.1:{p}/v1" for p in ports], backoff=0.05, retries=50)
        asked = asyncio.create_task(answered(client, 5))
        while not all(s.down for s in client.servers):  # noqa: ASYNC110 - it is told to nobody
            await asyncio.sleep(0.005)
        async with ChatServer(answer=lambda body: "four", port=ports[1]):
            await asked
            assert [s.down for s in client.servers] == [True, False]
            await client.close()

    asyncio.run(main())


def test_a_slow_server_is_sent_less_and_those_who_wait_for_it_are_taken_over() -> None:
    async def use(client: OpenAI, slow: ChatServer, fast: ChatServer) -> None:
        await answered(client, 200)
        assert slow.requests <= 60 and fast.requests >= 140 and retried(client) == 0

    farm(use, {"latency": 0.4}, {"latency": 0.01}, concurrency=4)


def test_a_request_that_breaks_every_server_is_lost_alone() -> None:
    async def use(client: OpenAI, *running: ChatServer) -> None:
        await answered(client, 4)
        faults = [servers.RESET] * 2
        for server in running:
            server._faults = iter(faults)
        with pytest.raises(EngineError) as told:
            await client.generate(ask("Break"))
        assert told.value.code == "connection" and client.stats["retry_reset"] == 2
        await answered(client, 4)

    farm(use, {}, {}, retries=2)


def test_three_failures_in_a_row_take_a_server_out() -> None:
    async def use(client: OpenAI, ill: ChatServer, well: ChatServer) -> None:
        await answered(client, 60)
        assert client.servers[0].down and client.stats["retry_http_500"] == ill.requests
        before = ill.requests
        await answered(client, 60, text="After {}")
        assert ill.requests <= before + 1 and well.requests >= 119

    farm(use, {"faults": [servers.status(500)] * 1000}, {}, backoff=0.5, concurrency=3)


def test_a_server_that_asks_to_be_left_alone_is_left_alone_and_the_others_go_on() -> None:
    async def use(client: OpenAI, tired: ChatServer, fresh: ChatServer) -> None:
        for seed in range(30):
            await client.generate(ask(f"What is {seed} ?", seed=seed))
        assert (tired.requests, fresh.requests) == (1, 30)

    farm(use, {"faults": [servers.status(429, {"Retry-After": "15"})]}, {})


@pytest.mark.parametrize(
    ("fault", "says"),
    [
        (servers.status(401), "OPENAI_API_KEY"),
        (servers.status(402, message="no funds"), "no funds"),
        (servers.status(404), "base_url"),
    ],
)
def test_what_no_request_can_survive_stops_all_servers(fault: servers.Fault, says: str) -> None:
    async def use(client: OpenAI, *running: ChatServer) -> None:
        for _ in range(3):
            with pytest.raises(EngineDown, match=says):
                await client.generate(ask())
        assert sum(s.requests for s in running) == 1

    farm(use, {"faults": [fault] * 9}, {"faults": [fault] * 9})


def test_a_fingerprint_is_a_servers_own() -> None:
    async def use(client: OpenAI, *running: ChatServer) -> None:
        replies = await answered(client, 30)
        assert min(sent(client)) > 0
        assert {r.flags for r in replies} == {()}

    def built(name: str) -> dict[str, Any]:
        return {"faults": [servers.edit(lambda e: e.update(system_fingerprint=name))] * 60}

    farm(use, built("a"), built("b"))


# --- what a recipe says -----------------------------------------------------------------------------------------------


def test_replicas_can_be_added_and_taken_away_without_losing_the_journal() -> None:
    def identity(*urls: str, **more: Any) -> Any:
        return OpenAI(model="m", base_url=list(urls), **more).identity

    alone = OpenAI(model="m", base_url="http://a/v1").identity
    assert identity("http://a/v1") == identity("http://a/v1", "http://b/v1") == alone
    assert identity("http://b/v1", "http://a/v1") != alone
    assert identity("http://b/v1", "http://a/v1", identity="x") == identity("http://c/v1", identity="x")


@pytest.mark.parametrize(
    ("urls", "says"),
    [([], "no server"), (["http://a/v1", "http://a/v1/"], "twice"), (["http://a/v1", "b"], "'b' is no http")],
)
def test_urls_that_cannot_work_are_refused(urls: list[str], says: str) -> None:
    with pytest.raises(RecipeError, match=says):
        OpenAI(model="m", base_url=urls)


def test_a_recipe_may_list_urls_and_its_manifest_names_none(tmp_path: Path) -> None:
    recipe = {
        "name": "r", "version": 1, "source": {"use": "procedural", "with": {"count": 1}},
        "engines": {"student": {"use": "openai", "with": {"model": "m", "base_url": ["http://a/v1", "http://b/v1"]}}},
        "stages": [{"use": "sample"}],
        "exports": [{"use": "sft", "with": {"of": ["sample"]}}],
    }  # fmt: skip
    (tmp_path / "r.yaml").write_text(yaml.safe_dump(recipe))
    made = read(tmp_path / "r.yaml")
    client = OpenAI(**made.engines["student"].with_)
    assert [s.base for s in client.servers] == ["http://a/v1", "http://b/v1"]
    assert "http://" not in json.dumps(recorded(made, tmp_path))
    changed = read(tmp_path / "r.yaml", ["engines.student.with.base_url=[http://c/v1, http://d/v1]"])
    assert OpenAI(**changed.engines["student"].with_).servers[1].base == "http://d/v1"
