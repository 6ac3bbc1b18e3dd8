"""A chat server that answers at once with as little CPU as it can, to measure what the client costs.

    python benchmarks/instant_server.py --port 0

prints its base URL. It plays a student and a teacher of the procedural family (`errata.chains`): about half of the
solutions are wrong, chosen by a hash of problem and seed; critiques and revisions are right. The content depends on
the request alone. `GET /stats` tells the requests, and those whose body had been seen before.
"""

import argparse
import asyncio
import json
import sys
from typing import Any

from errata.simulate.content import envelope, procedural_reply


class Counts:
    """Requests answered, and those among them whose body was an exact repetition."""

    def __init__(self) -> None:
        self.requests = 0
        self._bodies: set[int] = set()

    def add(self, body: bytes) -> None:
        self.requests += 1
        self._bodies.add(hash(body))

    def told(self) -> dict[str, int]:
        return {"requests": self.requests, "repeated": self.requests - len(self._bodies)}


class InstantProtocol(asyncio.Protocol):
    """HTTP/1.1 with keep-alive, as far as a client of ours speaks it: Content-Length bodies, no chunks."""

    def __init__(self, counts: Counts) -> None:
        self._counts = counts
        self._buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport: Any = transport

    def data_received(self, data: bytes) -> None:
        self._buffer = self._buffer + data if self._buffer else data
        while (end := self._buffer.find(b"\r\n\r\n")) >= 0:
            head = self._buffer[:end]
            at = head.lower().find(b"content-length:")
            length = int(head[at + 15 :].split(b"\r\n", 1)[0]) if at >= 0 else 0
            stop = end + 4 + length
            if len(self._buffer) < stop:
                return
            body, self._buffer = self._buffer[end + 4 : stop], self._buffer[stop:]
            self._transport.write(self._answer(head, body))

    def _answer(self, head: bytes, body: bytes) -> bytes:
        if head.startswith(b"POST "):
            self._counts.add(body)
            asked = json.loads(body)
            content = json.dumps(envelope(asked, procedural_reply(asked))).encode()
        elif head.startswith(b"GET /stats"):
            content = json.dumps(self._counts.told()).encode()
        else:
            content = b'{"object": "list", "data": []}'
        head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(content)
        return head + content


async def serve(host: str, port: int) -> None:
    """Serve until cancelled; the first line printed is the base URL."""
    counts = Counts()
    server = await asyncio.get_running_loop().create_server(lambda: InstantProtocol(counts), host, port)
    async with server:
        print(f"http://{host}:{server.sockets[0].getsockname()[1]}/v1", flush=True)
        await server.serve_forever()


def main() -> int:
    parser = argparse.ArgumentParser(description="Answer chat completions at once.")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0, help="0 chooses a free one")
    args = parser.parse_args()
    try:
        asyncio.run(serve(args.host, args.port))
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
