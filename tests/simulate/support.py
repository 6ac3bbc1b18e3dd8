"""Simulators in the test's own loop, and a client that shows what it got, however broken."""

import asyncio
import contextlib
import json
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import aiohttp

from errata import chains
from errata.simulate import command
from errata.simulate.options import Options
from errata.simulate.server import Replica

SECONDS = 30.0
"""After which a test that waits for something has failed."""


def body(number: int, *, seed: int = 0, max_tokens: int = 4096) -> bytes:
    """A request to solve a problem of the procedural family."""
    problem = chains.question(chains.generate(random.Random(number), 5, 1))
    asked = {"model": "m", "messages": [{"role": "user", "content": problem}], "seed": seed, "max_tokens": max_tokens}
    return json.dumps(asked).encode()


class Told(asyncio.Protocol):
    """What a connection told until it ended, and the error that ended it."""

    def __init__(self) -> None:
        self.data = b""
        self.ended: asyncio.Future[Exception | None] = asyncio.get_running_loop().create_future()

    def data_received(self, data: bytes) -> None:
        self.data += data

    def connection_lost(self, exc: Exception | None) -> None:
        self.ended.set_result(exc)


class Client:
    """What a test asks of one simulator."""

    def __init__(self, session: aiohttp.ClientSession, replicas: list[Replica]) -> None:
        self.session, self.replicas = session, replicas

    def root(self, replica: int = 0) -> str:
        return self.replicas[replica].url.removesuffix("/v1")

    async def chat(self, content: bytes, replica: int = 0) -> Any:
        async with self.session.post(f"{self.root(replica)}/v1/chat/completions", data=content) as response:
            assert response.status == 200, await response.text()
            return await response.json()

    async def post(self, path: str, replica: int = 0, content: bytes = b"") -> tuple[int, str]:
        async with self.session.post(self.root(replica) + path, data=content) as response:
            return response.status, await response.text()

    async def get(self, path: str, replica: int = 0) -> str:
        async with self.session.get(self.root(replica) + path) as response:
            return await response.text()

    async def stats(self, replica: int = 0, query: str = "") -> dict[str, Any]:
        return dict(json.loads(await self.get("/stats" + query, replica)))

    async def until(self, met: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """The accounting as soon as it is so."""
        while not met(told := await self.stats()):  # noqa: ASYNC110 - the server tells nobody
            await asyncio.sleep(0.005)
        return told

    async def raw(self, content: bytes) -> tuple[bytes, bool]:
        """Every byte of the answer to a chat request of its own connection, and whether that was reset."""
        loop = asyncio.get_running_loop()
        transport, told = await loop.create_connection(Told, self.replicas[0].host, self.replicas[0].port)
        head = "POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
        transport.write(f"{head}Content-Length: {len(content)}\r\n\r\n".encode() + content)
        error = await told.ended
        return told.data, error is not None


@contextlib.asynccontextmanager
async def simulated(**options: Any) -> AsyncIterator[Client]:
    """A client of simulators with these options; they answer at once unless `step_ms` is given."""
    chosen = Options(**{"step_ms": 0.0, "prefill_rate": 0.0} | options)
    async with contextlib.AsyncExitStack() as stack:
        replicas = await command.opened(chosen, stack)
        session = await stack.enter_async_context(aiohttp.ClientSession())
        yield Client(session, replicas)


def run(use: Callable[[Client], Awaitable[None]], **options: Any) -> None:
    """`use` a client of simulators with these options."""

    async def main() -> None:
        async with asyncio.timeout(SECONDS), simulated(**options) as client:
            await use(client)

    asyncio.run(main())
