"""The life of a version in small: replies through the journal, parts, the version, and the parts cleared away.

What errata.runners.job does, with a hook before each change on disk, and a note of all that the caller was promised.
"""

import asyncio
from collections.abc import Callable
from pathlib import Path

from msgspec.structs import replace

from errata.engines.base import Identity, Reply, Request, Sampling
from errata.engines.journal import Journal, Journaled, exchange_key
from errata.records.types import Call, Message, Step
from errata.store.dataset import Finished, finish, published
from errata.store.files import Files
from errata.store.manifest import point_latest
from errata.store.parts import Parts
from tests.store.support import TYPES, Made, describe, make

NAME, VERSION = "sums", "1.0-0123456789ab"
PROBLEMS, PARTS = 6, 2
IDENTITY = Identity(engine="echo", version=1, model="m", revision="r")

Before = Callable[[str, Path], None]


class Echo:
    """Answers with the seed, and counts."""

    identity, seen = IDENTITY, ()

    def __init__(self) -> None:
        self.asked = 0

    async def generate(self, asked: Request) -> Reply:
        self.asked += 1
        return reply(asked.seed)

    async def close(self) -> None:
        """Nothing to free."""


def request(i: int) -> Request:
    return Request(messages=(Message(role="user", content=f"What is {i} ? " * 9),), sampling=Sampling(), seed=i)


def reply(i: int) -> Reply:
    return Reply(text=f"answer {i} é\u2028" * 20, finish="stop", prompt_tokens=3, completion_tokens=1)


def key(i: int) -> str:
    return exchange_key(IDENTITY, request(i))


def answered(i: int, key: str, text: str) -> Made:
    """A problem with an attempt that an engine made."""
    made = make(i)
    call = Call(
        role="student", engine="echo", model="m", revision="r", key=key, seed=i, temperature=1.0, top_p=1.0,
        max_tokens=512, template="", prompt_tokens=3, completion_tokens=1, finish="stop",
    )  # fmt: skip
    attempt = replace(made.episode.attempts[0], steps=(Step(text=text),), call=call)
    return made._replace(episode=replace(made.episode, attempts=(attempt,)))


def live(
    root: Path,
    engine: Echo,
    before: Before = lambda operation, path: None,
    promise: Callable[[str], None] = lambda what: None,
) -> Finished:
    """Make the version, from whatever is there already."""
    files = Files(before)
    out = root / "out"
    parts = Parts(out / NAME / ".work", TYPES, files)
    found = published(out, NAME, VERSION)
    if found is not None:
        if parts.folder.exists():
            point_latest(out / NAME, VERSION, files)
            files.remove(parts.folder)
        return found
    made = asyncio.run(_parts(out / "journal", parts, engine, before, promise))
    finished = finish(parts, range(PARTS), describe(made), out=out)
    promise("version")
    files.remove(parts.folder)
    return finished


async def _parts(
    folder: Path, parts: Parts, engine: Echo, before: Before, promise: Callable[[str], None]
) -> list[Made]:
    done = parts.done()
    journal = Journal(folder, flush_seconds=0, before=before)
    journaled = Journaled(engine, journal)

    async def ask(i: int) -> Made:
        key, told = await journaled.generate(request(i))
        promise(f"reply {i}")
        return answered(i, key, told.text)

    made: list[Made] = []
    try:
        for index in range(PARTS):
            these = await asyncio.gather(*(ask(i) for i in range(index, PROBLEMS, PARTS)))
            made += these
            if index not in done.parts:
                drops = [d for m in these for d in m.drops]
                rows = {"sft": [r for m in these for r in m.sft]}
                parts.commit(index, [m.episode for m in these], drops, rows, {})
                promise(f"part {index}")
    finally:
        await journal.close()
    return made
