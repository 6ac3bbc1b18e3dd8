"""The chat protocol on loopback, in front of a model of a GPU: one port a replica, one process for all.

aiohttp's low-level server, without its router; one timer a replica, for the model's next event. A request waits for
nothing but the model, so the simulator's own time is no part of what it simulates: if it is late, the model is not.
"""

import asyncio
import math
import socket
import struct
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import msgspec
from aiohttp import web

from errata.simulate import account, faults, metrics, traffic
from errata.simulate.faults import Kind
from errata.simulate.lengths import Lengths
from errata.simulate.model import ContinuousBatch, Hardware, Job
from errata.simulate.options import Options
from errata.simulate.prefix import PrefixCache, blocks_of
from errata.simulate.traffic import Asked, Bodies, Said, Traffic

_CHAT = "/v1/chat/completions"
_CONTROLS = frozenset({"/stats", "/reset", "/die", "/freeze"})
"""Answered also by a replica that is frozen."""
_JSON = {"Content-Type": "application/json"}
_EARLY = 1e-4
"""Seconds by which a timer that is already set may be too late to be kept."""
_FLUSH_SECONDS = 0.02
"""Until what was written has left, before a connection is broken on purpose."""


class Replica:
    """One server with its model. `peers` are all replicas of the process, this one included."""

    def __init__(self, options: Options, bodies: Bodies, peers: Sequence["Replica"]) -> None:
        self._options, self._bodies, self._peers = options, bodies, peers
        self._lengths = None
        if options.lengths == "lognormal":
            self._lengths = Lengths(
                seed=options.seed, mean=options.mean, p99=options.p99, per_problem=options.per_problem
            )
        self._plan = faults.plan(options.fault, attempts=options.fault_attempts, seed=options.seed)
        self.batch = ContinuousBatch(
            Hardware(
                slots=options.slots, step_seconds=options.step_ms / 1000, slope=options.slope,
                prefill_rate=options.prefill_rate,
            ),
            PrefixCache(options.cache_tokens, options.block_tokens),
        )  # fmt: skip
        self.traffic = Traffic()
        self.host, self.port = options.host, 0
        self._waiting: dict[int, asyncio.Future[None]] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._due = math.inf
        self._released, self._thawed = asyncio.Event(), asyncio.Event()
        self._thawed.set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._listening: asyncio.Server | None = None
        self._front = web.Server(self._handle, handler_cancellation=True, access_log=None, keepalive_timeout=3600)
        self._routes: dict[tuple[str, str], Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]] = {
            ("GET", "/v1/models"): self._models,
            ("GET", "/metrics"): self._metrics,
            ("GET", "/stats"): self._stats,
            ("GET", "/health"): self._health,
            ("POST", "/reset"): self._reset,
            ("POST", "/reset_prefix_cache"): self._forget,
            ("POST", "/die"): self._die,
            ("POST", "/freeze"): self._freeze,
        }

    @property
    def url(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.port}/v1"

    async def open(self, port: int) -> None:
        """Listen. Raises OSError where the port is taken."""
        # A thousand requests may arrive at once: a shorter backlog would refuse some.
        self._listening = await asyncio.get_running_loop().create_server(self._front, self.host, port, backlog=4096)
        self.port = self._listening.sockets[0].getsockname()[1]

    async def close(self) -> None:
        """Stop, without an answer to what is waiting."""
        for task in self._tasks:
            task.cancel()
        if self._listening is not None:
            self._listening.close()
        self._released.set()
        if self._timer is not None:
            self._timer.cancel()
        await self._front.shutdown(timeout=0.1)

    def told(self) -> dict[str, Any]:
        """The accounting of this replica, up to now."""
        self._tick()
        return msgspec.structs.asdict(self.traffic) | self.batch.account.told()

    def told_by_all(self) -> dict[str, Any]:
        """The accounting of all replicas together; the window and the ratio are over all."""
        for replica in self._peers:
            replica._tick()
        counts = msgspec.structs.asdict(traffic.together([r.traffic for r in self._peers]))
        return counts | account.together([r.batch.account for r in self._peers]).told()

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        if not self._thawed.is_set() and request.path not in _CONTROLS:
            await self._thawed.wait()
        if request.path == _CHAT and request.method == "POST":
            return await self._chat(request)
        route = self._routes.get((request.method, request.path))
        if route is None:
            return _refused(404, f"there is no {request.method} {request.path}")
        return await route(request)

    async def _chat(self, request: web.BaseRequest) -> web.StreamResponse:
        data = await request.content.read()
        self.traffic.requests += 1
        try:
            asked = traffic.read(data)
        except ValueError as error:
            self.traffic.unreadable += 1
            return _refused(400, str(error))
        if self._options.model and asked.model not in self._options.model:
            self.traffic.unreadable += 1
            return _refused(404, f"The model {asked.model} does not exist.")
        body = traffic.digest(data)
        seen, answered = self._bodies.ask(body)
        self.traffic.ask(seen, answered)
        kind = self._plan.drawn(body, seen)
        if kind is not None:
            self.traffic.fault(kind)
            if kind.place == "front":
                return await self._turn_away(request, kind)
        said = await self._generate(asked, body, kind)
        return await self._deliver(request, asked, said, body, kind)

    async def _generate(self, asked: Asked, body: bytes, kind: Kind | None) -> Said:
        """The reply, when the model has finished it. A client that goes away before frees what its request held."""
        said, tokens = None, 1
        if self._lengths is None:
            said = traffic.answer(asked, body, None)
            tokens = said.tokens
        else:
            drawn = traffic.drawn(asked, body, self._lengths)
            tokens = drawn if asked.max_tokens is None else min(drawn, asked.max_tokens)
        slowness = self._options.straggler if kind is not None and kind.place == "slow" else 1.0
        block = self.batch.cache.block
        blocks = blocks_of(asked.words, block) if self.batch.cache.capacity else ()
        future = asyncio.get_running_loop().create_future()
        key = self.batch.arrive(time.monotonic(), Job(len(asked.words), tokens, blocks, slowness))
        self._waiting[key] = future
        self._tick()
        if not future.done():
            try:
                await future
            except asyncio.CancelledError:
                self._waiting.pop(key, None)
                self.batch.cancel(time.monotonic(), key)
                self._tick()
                raise
        # Said only now, so that a thousand arrivals at once do not hold up the completions between them.
        said = said or traffic.answer(asked, body, self._lengths)
        if self.batch.cache.capacity:
            self.batch.cache.insert(traffic.conversation(asked, said, block))
        return said

    def _tick(self) -> None:
        """Tell who waits that the model has finished, and set the timer for its next event."""
        now = time.monotonic()
        for key, _ in self.batch.advance(now):
            future = self._waiting.pop(key, None)
            if future is not None and not future.done():
                future.set_result(None)
        at = self.batch.next_event()
        if at is None or at >= self._due - _EARLY:
            return
        if self._timer is not None:
            self._timer.cancel()
        # Timers count in milliseconds: one that is rounded down would be set again and again.
        wait = math.ceil((at - now) * 1000) / 1000
        self._due = now + wait
        self._timer = asyncio.get_running_loop().call_later(wait, self._ring)

    def _ring(self) -> None:
        self._timer, self._due = None, math.inf
        self._tick()

    async def _deliver(
        self, request: web.BaseRequest, asked: Asked, said: Said, body: bytes, kind: Kind | None
    ) -> web.StreamResponse:
        if not self._thawed.is_set():
            await self._thawed.wait()
        envelope = traffic.envelope(asked, said, body)
        if kind is not None and kind.place == "reply":
            data = faults.altered(kind, envelope, asked.max_tokens)
        else:
            data = msgspec.json.encode(envelope)
        if kind is not None and kind.place == "wire":
            response = await self._break(request, data, kind)
        else:
            response = web.Response(body=data, headers={"Content-Type": "text/html"} if _is_html(kind) else _JSON)
        if kind is None or kind.answers:
            self.traffic.answered += 1
            self._bodies.answered(body)
        return response

    async def _turn_away(self, request: web.BaseRequest, kind: Kind) -> web.StreamResponse:
        if kind.name == "reset":
            _reset(request)
            return web.Response()
        if kind.name == "hang":
            await self._released.wait()
            return _refused(503, "the simulator was stopped")
        status, headers, data = faults.refusal(kind, self._options.retry_after)
        return web.Response(status=status, headers=_JSON | headers, body=data)

    async def _break(self, request: web.BaseRequest, data: bytes, kind: Kind) -> web.StreamResponse:
        """Send `data` in a way that no client can take, or hardly."""
        declared = len(data) // 2 if kind.name == "overrun" else len(data)
        if kind.name == "overrun":
            head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {declared}\r\n\r\n"
            if request.transport is not None:
                request.transport.write(head.encode() + data)
                request.transport.close()
            return web.Response()
        response = web.StreamResponse(headers={**_JSON, "Content-Length": str(declared)})
        await response.prepare(request)
        if kind.name == "drip":
            for at in range(len(data)):
                await response.write(data[at : at + 1])
                await asyncio.sleep(self._options.drip_seconds)
            return response
        await response.write(b"" if kind.name == "reset_headers" else data[: len(data) // 2])
        await asyncio.sleep(_FLUSH_SECONDS)
        if kind.name != "short":
            _reset(request)
        elif request.transport is not None:
            request.transport.close()
        return response

    async def _models(self, request: web.BaseRequest) -> web.StreamResponse:
        names = self._options.model or ("simulated",)
        return _json({"object": "list", "data": [{"id": name, "object": "model"} for name in names]})

    async def _metrics(self, request: web.BaseRequest) -> web.StreamResponse:
        self._tick()
        name = (self._options.model or ("simulated",))[0]
        return web.Response(text=metrics.text(self.batch, self._peers.index(self), name))

    async def _stats(self, request: web.BaseRequest) -> web.StreamResponse:
        return _json(self.told_by_all() if request.query.get("all") == "1" else self.told())

    async def _health(self, request: web.BaseRequest) -> web.StreamResponse:
        return web.Response()

    async def _reset(self, request: web.BaseRequest) -> web.StreamResponse:
        """Zero the accounting of all replicas, and forget the bodies seen."""
        for replica in self._peers:
            replica._tick()
            replica.traffic = Traffic()
            replica.batch.account = replica.batch.account.restarted(time.monotonic())
        self._bodies.clear()
        return web.Response()

    async def _forget(self, request: web.BaseRequest) -> web.StreamResponse:
        self.batch.cache.clear()
        return web.Response()

    async def _die(self, request: web.BaseRequest) -> web.StreamResponse:
        """Drop all connections but the one that asks, refuse new ones, and come back after `seconds`, if given."""
        seconds = _seconds(request)
        self.traffic.deaths += 1
        if self._listening is not None:
            self._listening.close()
            self._listening = None
        for connection in self._front.connections:
            if connection.transport is not None and connection.transport is not request.transport:
                connection.transport.abort()
        for task in self._tasks:
            task.cancel()
        self._thawed.set()
        self._released.set()
        self._released = asyncio.Event()
        self.batch.cache.clear()
        if seconds is not None:
            self._start(self._revive(seconds))
        response = web.Response()
        response.force_close()
        return response

    async def _revive(self, seconds: float) -> None:
        # Bound but not listening: connections are refused, and no one else is given the port meanwhile.
        with socket.socket(socket.AF_INET6 if ":" in self.host else socket.AF_INET) as held:
            held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            held.bind((self.host, self.port))
            await asyncio.sleep(seconds)
        if self._listening is None:
            await self.open(self.port)

    async def _freeze(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer no client and close nothing for `seconds`, or for good; 0 thaws."""
        seconds = _seconds(request)
        self._thawed.clear()
        if seconds is not None:
            self._start(self._thaw(seconds))
        return web.Response()

    async def _thaw(self, seconds: float) -> None:
        await asyncio.sleep(seconds)
        self._thawed.set()

    def _start(self, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _json(value: object) -> web.Response:
    return web.Response(body=msgspec.json.encode(value), headers=_JSON)


def _refused(status: int, message: str) -> web.Response:
    return web.Response(status=status, headers=_JSON, body=faults.error(message, ""))


def _is_html(kind: Kind | None) -> bool:
    return kind is not None and kind.name == "html"


def _seconds(request: web.BaseRequest) -> float | None:
    """How long a drill lasts; None if it is not told, and so for good."""
    try:
        seconds = float(request.query["seconds"])
    except (KeyError, ValueError):
        return None
    return seconds if 0 <= seconds < math.inf else None


def _reset(request: web.BaseRequest) -> None:
    """Break the connection with a reset. To close it, even abruptly, would look like an end in good order."""
    transport = request.transport
    if transport is not None:
        transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        transport.abort()
