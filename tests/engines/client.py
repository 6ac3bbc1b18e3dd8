"""One request of the `openai` engine to a server that fails on demand, and everything that became of it."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from errata.engines.base import Reply, Request, Sampling
from errata.engines.openai import OpenAI
from errata.errors import EngineDown, EngineError
from errata.records.types import Message
from tests.servers import ChatServer, Fault

T = TypeVar("T")


def ask(text: str = "What is 2 + 2 ?", *, seed: int = 7, max_tokens: int = 64, **fields: Any) -> Request:
    return Request(
        messages=(Message(role="user", content=text),), sampling=Sampling(max_tokens=max_tokens), seed=seed, **fields
    )


def quick(url: str | list[str], **parameters: Any) -> OpenAI:
    """An engine that does not wait long between tries."""
    return OpenAI(**({"model": "m", "base_url": url, "backoff": 0.002, "deadline": 20.0} | parameters))


def served(
    use: Callable[[OpenAI, ChatServer], Awaitable[T]],
    *faults: Fault | None,
    server: dict[str, Any] | None = None,
    **engine: Any,
) -> T:
    """Run `use` with an engine on a server that meets its first requests with `faults`."""

    async def main() -> T:
        async with ChatServer(**({"answer": lambda body: "four", "faults": faults} | (server or {}))) as running:
            client = quick(running.url, **engine)
            try:
                return await use(client, running)
            finally:
                await client.close()

    return asyncio.run(main())


class Outcome:
    """One request and what became of it."""

    def __init__(self, *faults: Fault | None, request: Request | None = None, **engine: Any) -> None:
        self.reply: Reply | None = None
        self.error: Exception | None = None
        self.retries: dict[str, int] = {}
        self.sent = 0

        async def use(client: OpenAI, server: ChatServer) -> None:
            start = time.monotonic()
            try:
                self.reply = await client.generate(request or ask())
            except (EngineError, EngineDown) as error:
                self.error = error
            self.seconds = time.monotonic() - start
            self.sent, self.bodies, self.times = server.requests, server.bodies, server.times
            self.retries = {k.removeprefix("retry_"): n for k, n in client.stats.items() if k.startswith("retry_")}
            assert client.stats["requests"] == 1
            if self.code != "deadline":  # there, the last try may have ended before the server saw it
                assert self.sent == 1 + sum(self.retries.values())
            assert client.servers[0].gate.busy == 0, "a slot was not given back"

        served(use, *faults, **engine)

    @property
    def code(self) -> str:
        return self.error.code if isinstance(self.error, EngineError) else type(self.error).__name__
