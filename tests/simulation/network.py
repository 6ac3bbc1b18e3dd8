"""Servers of the OpenAI protocol at the other end of simulated connections: slow, overloaded, broken, and then well.

What a server answers is a function of the request alone, so that a run can be compared with another. What goes wrong on
the way there is drawn. Some requests are refused for good, and some texts are filtered: the same ones in every run.
"""

import asyncio
import json
import random
from collections import Counter
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

from errata.simulate import content
from tests.simulation.loop import SimLoop

PORTS = (1, 2, 3)
"""Of the servers, all of which answer alike."""
TROUBLES = (
    "500", "503", "503 later", "429", "429 later", "reset", "reset in the middle", "nonsense", "html", "no choices",
    "hangs", "trickles",
)  # fmt: skip
"""All are worth another try. The last two take a minute, half of what a request has."""
LONGEST_ANSWER = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Weather:
    """How a life's network is."""

    trouble: float = 0.0
    """Share of requests that meet trouble."""
    worst: int = 2
    """How often one request can meet it."""
    slow: int = 1
    """How many requests can meet what takes a minute."""
    refused: float = 0.0
    """Share of connections refused."""
    stops: float = 0.0
    """Share of requests that are told what stops a run: that the key is wrong."""
    seconds: float = 0.5
    """Median time to an answer."""
    metrics: bool = False
    """Whether the servers tell their queue, as vLLM does."""


class Servers:
    """Answers in virtual time."""

    def __init__(self, lasting: int) -> None:
        self.lasting = lasting
        """One request in so many can never be answered."""
        self.asked = 0
        self.weather = Weather()
        self.draw = random.Random(0)
        self._met: Counter[bytes] = Counter()
        self._slow = 0

    def begin(self, draw: random.Random, weather: Weather) -> None:
        """A new life."""
        self.draw, self.weather = draw, weather
        self._met.clear()
        self._slow = 0

    async def connect(self, loop: SimLoop, address: tuple[str, int]) -> None:
        """Accept a connection, or refuse it."""
        await asyncio.sleep(self.draw.uniform(0.0001, 0.01))
        if self.draw.random() < self.weather.refused:
            loop.process.note(f"refused a connection to {address[1]}")
            raise ConnectionRefusedError(111, "Connection refused")

    def open(self, loop: SimLoop, address: tuple[str, int], protocol: asyncio.Protocol) -> asyncio.Transport:
        """The client's end of a connection."""
        return Connection(self, loop, address[1], protocol)

    def seconds(self) -> float:
        """How long the next answer takes; long-tailed."""
        return min(LONGEST_ANSWER, self.draw.lognormvariate(0, 1.0) * self.weather.seconds)

    def trouble(self, body: bytes) -> str:
        """What goes wrong with this try, if anything does."""
        weather, draw = self.weather, self.draw
        if draw.random() < weather.stops:
            return "401"
        if self._met[body] >= weather.worst or draw.random() >= weather.trouble:
            return ""
        self._met[body] += 1
        met = draw.choice(TROUBLES if self._slow < weather.slow else TROUBLES[:-2])
        self._slow += met in TROUBLES[-2:]
        return met

    def answer(self, body: bytes) -> tuple[int, bytes]:
        """Status and body of the answer, always the same for a request."""
        asked = json.loads(body)
        fate = int.from_bytes(blake2b(body, digest_size=4).digest(), "big")
        if fate % self.lasting == 0:
            return 400, b'{"error": {"message": "maximum context length is 4096 tokens", "code": "too_long"}}'
        if fate % self.lasting == 1:
            return 400, b'{"error": {"message": "not that", "code": "content_filter"}}'
        if fate % self.lasting == 2:
            return 200, b'{"choices": [{"message": {"content": ""}, "finish_reason": "stop"}]}'
        return 200, json.dumps(content.envelope(asked, content.procedural_reply(asked))).encode()


class Connection(asyncio.Transport):
    """One connection, as its client sees it."""

    def __init__(self, servers: Servers, loop: SimLoop, port: int, protocol: asyncio.Protocol) -> None:
        super().__init__()
        self._servers, self._loop, self._port, self._protocol = servers, loop, port, protocol
        self._received = bytearray()
        self._closing = False

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return default

    def write(self, data: Any) -> None:
        if not self._closing:
            self._received += data
            self._read()

    def is_closing(self) -> bool:
        return self._closing

    def close(self) -> None:
        self._lost(None)

    def abort(self) -> None:
        self._lost(None)

    def pause_reading(self) -> None:
        """All is delivered at once."""

    def resume_reading(self) -> None:
        """All is delivered at once."""

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """Nothing is buffered."""

    def get_write_buffer_size(self) -> int:
        return 0

    def can_write_eof(self) -> bool:
        return False

    def _lost(self, error: Exception | None) -> None:
        if not self._closing:
            self._closing = True
            self._loop.call_soon(self._protocol.connection_lost, error)

    def _read(self) -> None:
        head, found, rest = bytes(self._received).partition(b"\r\n\r\n")
        if not found:
            return
        length = next((int(h[15:]) for h in head.split(b"\r\n") if h.lower().startswith(b"content-length:")), 0)
        if len(rest) < length:
            return
        self._received.clear()
        if head.startswith(b"GET"):
            body = b"vllm:num_requests_running 1\nvllm:num_requests_waiting 0\n"
            self._later(0.001, http(200 if self._servers.weather.metrics else 404, body))
        else:
            self._serve(bytes(rest[:length]))

    def _serve(self, body: bytes) -> None:
        servers, trouble = self._servers, self._servers.trouble(body)
        self._loop.process.note(f"server {self._port} is asked {blake2b(body, digest_size=4).hexdigest()} {trouble}")
        status, answer = servers.answer(body)
        seconds = servers.seconds()
        whole = http(status, answer)
        servers.asked += 1
        match trouble.split():
            case [("500" | "503" | "429" | "401") as told]:
                self._later(seconds, http(int(told), b'{"error": {"message": "busy"}}'))
            case [told, "later"]:
                self._later(seconds, http(int(told), b"{}", f"Retry-After: {servers.draw.choice((0, 1, 3))}"))
            case ["reset"]:
                self._loop.call_later(seconds, self._lost, ConnectionResetError(104, "Connection reset"))
            case ["reset", *_]:
                self._later(seconds, whole[: len(whole) - 9], ends=True)
            case ["nonsense"]:
                self._later(seconds, http(200, answer[:-7]))
            case ["html"]:
                self._later(seconds, http(200, b"<html>Bad gateway</html>"))
            case ["no", "choices"]:
                self._later(seconds, http(200, b'{"choices": []}'))
            case ["hangs"]:
                pass
            case ["trickles"]:
                self._trickle(whole)
            case _:
                self._later(seconds, whole)

    def _trickle(self, whole: bytes) -> None:
        if whole and not self._closing:
            self._protocol.data_received(whole[:1])
            self._loop.call_later(1.0, self._trickle, whole[1:])

    def _later(self, seconds: float, data: bytes, *, ends: bool = False) -> None:
        def deliver() -> None:
            if not self._closing:
                self._protocol.data_received(data)
                if ends:
                    self._lost(ConnectionResetError(104, "Connection reset"))

        self._loop.call_later(seconds, deliver)


def http(status: int, body: bytes, *headers: str) -> bytes:
    """An HTTP answer as bytes."""
    lines = [f"HTTP/1.1 {status} As told", "Content-Type: application/json", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body
