"""A server that tells its queue is kept at a full batch and a short queue; one that does not is left in peace."""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from aiohttp import web

from errata.engines.server import queue
from tests.engines.client import ask, quick
from tests.servers import ChatServer, instant_server

TOLD = b"""# HELP vllm:num_requests_running Number of requests in model execution batches.
# TYPE vllm:num_requests_running gauge
vllm:num_requests_running{engine="0",model_name="a {b} c"} 12.0
vllm:num_requests_running{engine="1",model_name="a {b} c"} 1e+01
# TYPE vllm:num_requests_waiting gauge
vllm:num_requests_waiting{engine="0",model_name="a {b} c"} 3.0
vllm:num_requests_waiting{engine="1",model_name="a {b} c"} 0.0
vllm:num_requests_waiting_by_reason{engine="0",reason="capacity"} 3.0
vllm:prompt_tokens_total{engine="0"} 9.0
"""


@pytest.mark.parametrize(
    ("metrics", "found"),
    [
        (TOLD, (22, 3)),
        (b"vllm:num_requests_running 4\nvllm:num_requests_waiting 0", (4, 0)),
        (TOLD.replace(b"\n", b"\r\n"), (22, 3)),
        (TOLD.replace(b"vllm:", b"sglang:"), None),
        (b"vllm:num_requests_running 4\n", None),
        (b"vllm:num_requests_running 4\nvllm:num_requests_waiting NaN\n", None),
        (b"vllm:num_requests_running 4\nvllm:num_requests_waiting 1e999\n", None),
        (b"<html>vllm:num_requests_running 4</html>", None),
        (b"\xff\x00", None),
        (b"", None),
    ],
)
def test_the_queue_is_read_from_vllms_metrics_alone(metrics: bytes, found: tuple[int, int] | None) -> None:
    assert queue(metrics) == found


class Batching:
    """A server with few slots and a queue, which tells both."""

    def __init__(self, slots: int, seconds: float) -> None:
        self.slots, self.seconds = asyncio.Semaphore(slots), seconds
        self.running = self.waiting = self.most_waiting = self.told = 0
        self.status, self.random = 200, random.Random(1)

    async def chat(self, request: web.Request) -> web.Response:
        body = await request.json()
        self.waiting += 1
        self.most_waiting = max(self.waiting, self.most_waiting)
        async with self.slots:
            self.waiting, self.running = self.waiting - 1, self.running + 1
            await asyncio.sleep(self.random.expovariate(1.0) * self.seconds)
            self.running -= 1
        return web.json_response(instant_server.envelope(body, "four"))

    async def metrics(self, request: web.Request) -> web.Response:
        self.told += 1
        text = f"vllm:num_requests_running {self.running}.0\nvllm:num_requests_waiting {self.waiting}.0\n"
        return web.Response(text=text, status=self.status)

    @asynccontextmanager
    async def serve(self) -> AsyncIterator[str]:
        app = web.Application()
        app.router.add_post("/v1/chat/completions", self.chat)
        app.router.add_get("/metrics", self.metrics)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        try:
            yield f"http://127.0.0.1:{runner.addresses[0][1]}/v1"
        finally:
            await runner.cleanup()


def test_the_gate_follows_the_servers_own_queue() -> None:
    async def main() -> None:
        server = Batching(slots=32, seconds=0.1)
        async with server.serve() as url:
            client = quick(url, concurrency=128)
            asked = [asyncio.create_task(client.generate(ask(seed=s))) for s in range(3000)]
            gate = client.servers[0].gate
            while not gate.guided or gate.busy > 36:  # noqa: ASYNC110 - it is told to nobody
                await asyncio.sleep(0.01)
            assert server.most_waiting > 36, "it began with all that it may send"
            running, waiting = [], []
            for _ in range(60):
                await asyncio.sleep(0.02)
                running.append(server.running)
                waiting.append(server.waiting)
            assert sum(running) >= 0.95 * 32 * 60, "the batch is full"
            assert sum(waiting) <= 16 * 60, "and the queue behind it is short"
            server.status = 404
            while gate.guided:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
            for task in asked:
                task.cancel()
            await asyncio.gather(*asked, return_exceptions=True)
            assert gate.busy == 0
            await client.close()
            assert not client.servers[0].polls

    asyncio.run(main())


def test_a_server_without_such_metrics_is_asked_once() -> None:
    async def main() -> None:
        server = Batching(slots=4, seconds=0.0)
        server.status = 403
        async with server.serve() as url:
            client = quick(url)
            await client.generate(ask())
            while not server.told or client.servers[0].polls:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
            assert server.told == 1 and not client.servers[0].gate.guided
            await client.close()

    asyncio.run(main())


def test_polling_ends_with_the_engine_also_while_the_server_is_down() -> None:
    async def main() -> None:
        async with ChatServer(answer=lambda body: "four") as running:
            url = running.url
        client = quick(url, retries=0)
        with pytest.raises(Exception, match="down"):
            await client.generate(ask())
        assert client.servers[0].polls
        await client.close()
        assert not client.servers[0].polls
        assert asyncio.all_tasks() == {asyncio.current_task()}

    asyncio.run(main())
