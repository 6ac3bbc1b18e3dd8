"""Ask a server so many times and do nothing with the replies: what 1,000 requests cost on this machine at the least.

    python benchmarks/bare_loop.py http://127.0.0.1:8000/v1 16000

What errata costs is told beside it, as the same machine may be twice as fast tomorrow.
"""

import asyncio
import json
import sys
import time
from collections.abc import Iterator

import aiohttp
import uvloop

AT_ONCE = 256
PROBLEM = "All values are modulo 11\namber is 7\nbirch is amber plus 6\ncedar is birch times amber\nWhat is cedar ?"


async def ask(url: str, count: int) -> None:
    """Keep `AT_ONCE` requests under way until `count` are answered."""
    numbers: Iterator[int] = iter(range(count))
    asked = {"model": "instant", "messages": [{"role": "user", "content": PROBLEM}], "max_tokens": 512}

    async def one(session: aiohttp.ClientSession) -> None:
        for seed in numbers:
            async with session.post(f"{url}/chat/completions", json={**asked, "seed": seed}) as answer:
                json.loads(await answer.read())

    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        await asyncio.gather(*(one(session) for _ in range(AT_ONCE)))


def main() -> int:
    url, count = sys.argv[1], int(sys.argv[2])
    began = time.process_time()
    uvloop.run(ask(url, count))
    print(f"{1000 * (time.process_time() - began) / count:.3f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
