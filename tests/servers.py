"""A chat server on loopback that can be told to fail, request by request, and counts what it is asked.

    async with ChatServer(faults=[status(429, {"Retry-After": "1"}), None]) as server:
        ...  # the first request meets the fault, the second and all later ones are answered
    assert server.requests == 2

As a process of its own, for tests that kill: `python -m tests.servers --port 0 --latency 0.01 --count-file F`.
"""

import argparse
import asyncio
import contextlib
import importlib.util
import json
import signal
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from aiohttp import web

Answer = Callable[[dict[str, Any]], str | dict[str, Any]]


def _instant_server() -> Any:
    """benchmarks/instant_server.py, which is no package."""
    path = Path(__file__).resolve().parents[1] / "benchmarks" / "instant_server.py"
    spec = importlib.util.spec_from_file_location("instant_server", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


instant_server = _instant_server()
procedural_reply: Answer = instant_server.procedural_reply


@dataclass(frozen=True)
class Fault:
    """What happens to one request instead of an answer."""

    kind: Literal["status", "raw", "reset", "reset_body", "short", "hang", "drip", "slow", "edit"]
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    seconds: float = 0.0
    edit: Callable[[dict[str, Any]], None] | None = None


def status(code: int, headers: Mapping[str, str] | None = None, message: str = "told to fail", kind: str = "") -> Fault:
    """An error of the API, as OpenAI words it; `kind` is its code."""
    body = json.dumps({"error": {"message": message, "code": kind or None}}).encode()
    return Fault("status", status=code, headers=headers or {}, body=body)


def raw(body: bytes, content_type: str = "application/json") -> Fault:
    """An answer 200 with this body."""
    return Fault("raw", body=body, headers={"Content-Type": content_type})


def edit(change: Callable[[dict[str, Any]], None]) -> Fault:
    """The right envelope, changed in place by `change`."""
    return Fault("edit", edit=change)


def content(text: str | None, **choice: Any) -> Fault:
    """The right envelope with this content, and fields of its choice."""

    def change(envelope: dict[str, Any]) -> None:
        envelope["choices"][0]["message"]["content"] = text
        envelope["choices"][0].update(choice)

    return edit(change)


RESET = Fault("reset")
"""The connection is reset before a byte of the answer."""
RESET_BODY = Fault("reset_body")
"""The connection is reset in the middle of the body."""
SHORT = Fault("short")
"""The connection is closed in order before Content-Length is reached."""
HANG = Fault("hang")
"""No answer, ever."""
DRIP = Fault("drip", seconds=0.2)
"""The headers, and then a byte every 0.2 seconds."""
TRUNCATED = raw(b'{"choices": [{"index": 0, "message": {"role": "assist')
HTML = raw(b"<html><body>Bad gateway</body></html>", "text/html")
EMPTY_BODY = raw(b"")


def slow(seconds: float) -> Fault:
    """The right answer, late."""
    return Fault("slow", seconds=seconds)


class ChatServer:
    """An OpenAI-compatible server for one model or any, with scripted faults, in the test's own loop."""

    def __init__(
        self,
        *,
        answer: Answer = procedural_reply,
        faults: Iterable[Fault | None] = (),
        latency: float = 0.0,
        models: tuple[str, ...] = (),
        key: str = "",
        port: int = 0,
    ) -> None:
        """`answer` gives the content or the whole envelope; of `models` and `key`, where given, no other is taken."""
        self.answer, self.latency, self.models, self.key, self.port = answer, latency, models, key, port
        self._faults = iter(faults)
        self._released = asyncio.Event()
        self.url = ""
        self.bodies: list[dict[str, Any]] = []
        """Every request's body, in order of arrival."""
        self.times: list[float] = []
        """When each arrived, by the monotonic clock."""
        self.headers: list[Mapping[str, str]] = []
        self.counts = instant_server.Counts()
        self.in_flight = self.most_in_flight = 0

    @property
    def requests(self) -> int:
        """Chat completions asked for, retries included."""
        return int(self.counts.told()["requests"])

    @property
    def repeated(self) -> int:
        """Those among them whose body had been seen before."""
        return int(self.counts.told()["repeated"])

    async def __aenter__(self) -> "ChatServer":
        app = web.Application(client_max_size=2**26)
        app.router.add_post("/v1/chat/completions", self._chat)
        app.router.add_get("/v1/models", self._models)
        app.router.add_get("/stats", self._stats)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self.port)
        await site.start()
        self.port = self._runner.addresses[0][1]
        self.url = f"http://127.0.0.1:{self.port}/v1"
        return self

    async def __aexit__(self, *error: object) -> None:
        self._released.set()
        await self._runner.cleanup()

    async def _models(self, request: web.Request) -> web.Response:
        return web.json_response({"object": "list", "data": [{"id": name} for name in self.models]})

    async def _stats(self, request: web.Request) -> web.Response:
        return web.json_response(self.counts.told())

    async def _chat(self, request: web.Request) -> web.StreamResponse:
        data = await request.read()
        self.counts.add(data)
        body = json.loads(data)
        self.bodies.append(body)
        self.times.append(time.monotonic())
        self.headers.append(request.headers.copy())
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        try:
            return await self._reply(request, body, next(self._faults, None))
        finally:
            self.in_flight -= 1

    async def _reply(self, request: web.Request, body: dict[str, Any], fault: Fault | None) -> web.StreamResponse:
        await asyncio.sleep(self.latency)
        fault = self._denial(request, body) or fault
        if fault is None:
            return web.json_response(self._envelope(body))
        if fault.kind in ("status", "raw"):
            return web.Response(status=fault.status, headers=fault.headers, body=fault.body)
        if fault.kind == "reset":
            _reset(request)
        if fault.kind == "hang":
            await self._released.wait()
        if fault.kind in ("drip", "short", "reset_body"):
            return await self._begin(request, json.dumps(self._envelope(body)).encode(), fault)
        await asyncio.sleep(fault.seconds)
        envelope = self._envelope(body)
        if fault.edit is not None:
            fault.edit(envelope)
        return web.json_response(envelope)

    def _denial(self, request: web.Request, body: dict[str, Any]) -> Fault | None:
        sent = request.headers.get("Authorization")
        if self.key and sent != f"Bearer {self.key}":
            return status(401, message=f"Incorrect API key: {sent}")
        if self.models and body["model"] not in self.models:
            return status(404, message=f"The model {body['model']} does not exist.")
        return None

    def _envelope(self, body: dict[str, Any]) -> dict[str, Any]:
        found = self.answer(body)
        return found if isinstance(found, dict) else instant_server.envelope(body, found)

    async def _begin(self, request: web.Request, content: bytes, fault: Fault) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "application/json", "Content-Length": str(len(content))})
        await response.prepare(request)
        if fault.kind == "drip":
            with contextlib.suppress(ConnectionError):
                for byte in content:
                    await response.write(bytes([byte]))
                    await asyncio.sleep(fault.seconds)
            return response
        await response.write(content[: len(content) // 2])
        await asyncio.sleep(0.02)
        if fault.kind == "reset_body":
            _reset(request)
        elif request.transport is not None:
            request.transport.close()
        return response


def _reset(request: web.Request) -> None:
    if request.transport is not None:
        request.transport.abort()  # type: ignore[attr-defined]


async def _serve(port: int, latency: float, count_file: Path | None) -> None:
    stop = asyncio.Event()
    for name in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(name, stop.set)
    async with ChatServer(latency=latency, port=port) as server:
        print(server.url, flush=True)
        while not stop.is_set():
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), 0.1)
            server.bodies.clear()
            server.times.clear()
            server.headers.clear()
            if count_file is not None:
                count_file.write_text(json.dumps(server.counts.told()))  # noqa: ASYNC240 - a few bytes, for a test


def main() -> int:
    parser = argparse.ArgumentParser(description="Answer the procedural family; print the base URL, and serve.")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--latency", type=float, default=0.0, help="seconds before each answer")
    parser.add_argument("--count-file", type=Path, help="rewritten ten times a second; GET /stats is exact")
    args = parser.parse_args()
    asyncio.run(_serve(args.port, args.latency, args.count_file))
    return 0


if __name__ == "__main__":
    sys.exit(main())
