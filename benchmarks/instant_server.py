"""A chat server that answers at once with as little CPU as it can, to measure what the client costs.

    python benchmarks/instant_server.py --port 0

prints its base URL. It plays a student and a teacher of the procedural family (`errata.chains`): about half of the
solutions are wrong, chosen by a hash of problem and seed; critiques and revisions are right. The content depends on
the request alone. `GET /stats` tells the requests, and those whose body had been seen before.
"""

import argparse
import asyncio
import functools
import hashlib
import json
import random
import re
import sys
from typing import Any

from errata import chains

_NUMBER = re.compile(r"^\[\d+\] ")
STUDENT_ERRORS = ("operand", "arithmetic", "definition", "order", "premature")


def procedural_reply(body: dict[str, Any]) -> str:
    """The assistant's content for one chat completion request: a solution, a critique, a revision or a continuation."""
    messages = tuple((m["role"], m["content"]) for m in body["messages"])
    role, last = messages[-1]
    if role == "assistant":
        return _continuation(messages[-2][1], last, _pick(messages, body.get("seed", 0)))
    if "Find the first wrong step" in last or "stop at the first one that is wrong" in last:
        return _criticism(messages, "response_format" in body)
    if any(r == "assistant" for r, _ in messages) or chains.answer(last) is not None:
        return _solution("\n".join(text for _, text in messages), -1)
    return _solution(last, _pick(messages, body.get("seed", 0)))


def _pick(messages: tuple[tuple[str, str], ...], seed: int) -> int:
    """-1 for a right answer, otherwise the number of one of eight wrong ones; even odds."""
    drawn = hashlib.blake2b(f"{seed} {messages}".encode(errors="surrogatepass"), digest_size=2).digest()
    return drawn[1] % 8 if drawn[0] & 1 else -1


@functools.lru_cache(maxsize=200_000)
def _solution(text: str, pick: int) -> str:
    chain = chains.parse(text + "\n")
    if chain is None:
        return "The answer is 0"
    rng = random.Random(f"{pick} {text}")
    while pick >= 0:
        steps = chains.slip(rng, chain, rng.choice(STUDENT_ERRORS))
        if steps and chains.answer("\n".join(steps)) != str(chain.values()[chain.target]):
            return "\n".join(steps)
    return "\n".join(chains.solve(chain))


@functools.lru_cache(maxsize=200_000)
def _criticism(messages: tuple[tuple[str, str], ...], as_json: bool) -> str:
    """In the words of the prompt that asks: a sentence, a sentence and `First wrong step: N`, or JSON."""
    text = "\n".join(content for _, content in messages)
    chain = chains.parse(text)
    said = [content for role, content in messages if role == "assistant"] or [text]
    lines = [_NUMBER.sub("", line).strip() for line in said[-1].splitlines()]
    steps = [line for line in lines if " = " in line or line.startswith("The answer is ")]
    found = chains.first_error(chain, steps) if chain else chains.Finding(0, "format", "it is no step")
    sentence = chains.critique(found)
    if as_json:
        return json.dumps({"first_error": found.step if found else -1, "reason": sentence})
    if "First wrong step: N" in messages[-1][1]:
        return f"{sentence}\nFirst wrong step: {found.step + 1 if found else 'none'}"
    return sentence


@functools.lru_cache(maxsize=200_000)
def _continuation(text: str, begun: str, pick: int) -> str:
    """The rest of a solution: as many lines as the gold one has left, and a wrong answer if what was begun is wrong."""
    chain = chains.parse(text)
    if chain is None:
        return "The answer is 0"
    done = begun.splitlines()
    found = chains.first_error(chain, done)
    right = pick < 0 and (found is None or found.step == len(done))
    rest = (chains.solve(chain) if right else _solution(text, max(pick, 0)).splitlines())[len(done) :]
    joined = "\n".join(rest or [f"The answer is {chain.values()[chain.target]}" if right else "The answer is 0"])
    return joined if not begun or begun.endswith("\n") else "\n" + joined


def envelope(body: dict[str, Any], content: str) -> dict[str, Any]:
    """A whole chat completion; words stand for tokens."""
    prompt_tokens = sum(m["content"].count(" ") + 1 for m in body["messages"])
    completion_tokens = content.count(" ") + 1
    return {
        "id": "chatcmpl-0",
        "object": "chat.completion",
        "created": 0,
        "model": body["model"],
        "choices": [{"index": 0, "message": {"role": "assistant", "content": content}, "finish_reason": "stop"}],
        "usage": {
            "prompt_tokens": prompt_tokens,
            "completion_tokens": completion_tokens,
            "total_tokens": prompt_tokens + completion_tokens,
        },
    }


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
