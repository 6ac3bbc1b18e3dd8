"""One OpenAI-compatible server: its connections, its gate, and what each failure to talk to it means.

Where it is a vLLM, whose `/metrics` tell how many requests run and wait, the gate follows these.
"""

import asyncio
import re
from contextlib import suppress
from typing import Any, NamedTuple

import aiohttp
from yarl import URL

from errata.engines.admission import Admission
from errata.engines.base import Request
from errata.engines.retry import Fault

MOST_BYTES = 10_000_000
"""A longer body is no reply."""

POLL_SECONDS = 1.0

_CONNECT_SECONDS = 15.0
_KEEP_ALIVE_SECONDS = 4.0
"""Below the 5 seconds after which uvicorn, and so vLLM, closes an idle connection."""

_QUEUE = re.compile(rb"^vllm:num_requests_(running|waiting)(?:\{[^\n]*\})? +([0-9.eE+]+) *\r?$", re.MULTILINE)


class Answer(NamedTuple):
    """What came back, whatever its status."""

    status: int
    headers: Any
    content: bytes


class Server:
    """A server by its base URL. It is made without a connection; `open` and `close` belong to one event loop."""

    def __init__(self, base: str, *, number: int = 0, concurrency: int, seconds: float) -> None:
        """A request may take `seconds`, from the first try to connect to the last byte."""
        self.base, self.number = base, number
        self.url = URL(f"{base}/chat/completions")
        self.gate = Admission(most=concurrency)
        self.down = False
        self.probe: Request | None = None
        """The one request that is on its way to see whether it still is down."""
        self.term = 0
        """How often it was lost: what was asked in an earlier term says nothing of the present one."""
        self.strikes = self.misses = 0
        """Failures in a row while it was up, and while it was down."""
        self.retry_at = 0.0
        self._seconds = seconds
        self._timeout = aiohttp.ClientTimeout(total=seconds, sock_connect=_CONNECT_SECONDS)
        self._session: aiohttp.ClientSession | None = None
        self._polling: asyncio.Task[None] | None = None

    @property
    def polls(self) -> bool:
        """Whether it is asked for its queue."""
        return self._polling is not None and not self._polling.done()

    def open(self, headers: dict[str, str]) -> None:
        """Begin to serve the running event loop; connects when something is sent."""
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=_KEEP_ALIVE_SECONDS),
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=self._timeout,
            headers=headers,
        )
        self._polling = asyncio.create_task(self._poll(self._session))

    async def close(self) -> None:
        """End what `open` began."""
        session, self._session, polling, self._polling = self._session, None, self._polling, None
        if polling is not None and not polling.get_loop().is_closed():
            polling.cancel()
            with suppress(asyncio.CancelledError):
                await polling
        if session is not None:
            await session.close()

    async def send(self, body: bytes, left: float) -> Answer | None:
        """The answer to one chat completion, within `left` seconds; None if the server was closed. Raises Fault."""
        session, timeout = self._session, self._timeout
        if session is None:
            return None
        if left < self._seconds:
            timeout = aiohttp.ClientTimeout(total=max(left, 0.001), sock_connect=_CONNECT_SECONDS)
        try:
            async with session.post(self.url, data=body, timeout=timeout, allow_redirects=False) as response:
                return Answer(response.status, response.headers, await _read(response.content))
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
            raise Fault("connect", "connection", f"no connection to {self.base}: {_line(error)}") from None
        except TimeoutError:
            raise Fault("timeout", "deadline", f"{self.base} did not answer in time", overload=True) from None
        except aiohttp.ClientPayloadError:
            raise Fault("bad_envelope", "bad_envelope", "the server's answer ended before it was whole") from None
        except (aiohttp.ClientConnectionError, OSError) as error:
            raise Fault("reset", "connection", f"{self.base} closed the connection: {_line(error)}") from None
        except aiohttp.ClientError as error:
            raise Fault("bad_envelope", "bad_envelope", f"the server's answer is no HTTP: {_line(error)}") from None

    async def models(self) -> list[str]:
        """Names of the models that it serves, at most 20; none where it does not say."""
        try:
            if self._session is not None:
                url, timeout = f"{self.base}/models", aiohttp.ClientTimeout(total=10)
                async with self._session.get(url, timeout=timeout, allow_redirects=False) as response:
                    listed = await response.json(content_type=None)
                    return [str(m["id"])[:100] for m in listed["data"]][:20]
        except (aiohttp.ClientError, OSError, TimeoutError, ValueError, LookupError, TypeError, RecursionError):
            pass
        return []

    async def _poll(self, session: aiohttp.ClientSession) -> None:
        """Tell the gate the server's queue, once a second; a server that has no such metrics is not asked again."""
        url, timeout = f"{self.base.removesuffix('/v1')}/metrics", aiohttp.ClientTimeout(total=5)
        while True:
            counts = None
            try:
                async with session.get(url, timeout=timeout, allow_redirects=False) as response:
                    if response.status == 200:
                        counts = queue(await _read(response.content))
                    if counts is None and response.status < 500:
                        break
            except (aiohttp.ClientError, OSError, TimeoutError):
                pass  # it is down or busy; until it tells again the gate minds itself
            except Fault:
                break
            if counts is None:
                self.gate.guided = False
            else:
                self.gate.queued(*counts)
            await asyncio.sleep(POLL_SECONDS)
        self.gate.guided = False


def queue(metrics: bytes) -> tuple[int, int] | None:
    """Requests that run and that wait, from vLLM's metrics in Prometheus' text format; None if these are not they.

    Over all engines and models of the server.
    """
    found: dict[bytes, float] = {}
    try:
        for name, value in _QUEUE.findall(metrics):
            found[name] = found.get(name, 0.0) + float(value)
        return int(found[b"running"]), int(found[b"waiting"])
    except (KeyError, ValueError, OverflowError):
        return None


async def _read(stream: aiohttp.StreamReader) -> bytes:
    parts: list[bytes] = []
    size = 0
    while part := await stream.readany():
        parts.append(part)
        size += len(part)
        if size > MOST_BYTES:
            raise Fault("bad_envelope", "bad_envelope", f"the server's answer is longer than {MOST_BYTES} bytes")
    return parts[0] if len(parts) == 1 else b"".join(parts)


def _line(error: BaseException) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__
