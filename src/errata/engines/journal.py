"""The journal: every reply is durable before it is used, and a request found in it is never sent again.

A folder of append-only files, one per writing process, never rewritten. A line is one exchange, or names an engine:

    <crc32, 8 hex digits> {"k":"<key>","q":<request>,"r":<reply>}        or ,"e":<error>} for one that failed for good
    <crc32, 8 hex digits> {"i":<identity>}                               once a file, before the engine's first exchange

The key hashes all that determined the reply (`exchange_key`): identity and request, so that an auditor who has only the
files can compute every key again. A torn or corrupted line is a miss, and is counted. The first write that fails is the
last: what came after a torn line could not be told from it. Every change passes `before(operation, path)`, as those of
errata.store.files do, where a test can fail the k-th.
"""

import asyncio
import json
import os
import time
import zlib
from array import array
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
from msgspec import structs

from errata.engines.base import Engine, Identity, Reply, Request
from errata.engines.log import Before, Log, create, settle
from errata.errors import EngineError, ReplayMiss, StoreError
from errata.records.ids import canonical, encode

FLUSH_SECONDS = 0.02
"""Replies that arrive within this time share one fsync; it bounds what a crash makes the user pay for again."""

LASTING = frozenset({"bad_request", "too_long", "empty", "refusal", "unsupported", "oracle_cannot", "engine_death"})
"""Failures that asking again would not mend; others are asked again by the next run, unless it replays."""

_HEAD = 9
_EXCHANGE = b'{"k":"'
_KEY = slice(_HEAD + 6, _HEAD + 38)


@dataclass(frozen=True, slots=True)
class Entry:
    """One recorded exchange: a reply, or the error that ended it."""

    request: dict[str, Any]
    reply: Reply | None
    error: tuple[str, str] | None


def exchange_key(identity: Identity, request: Request) -> str:
    """32 hexadecimal digits over engine, model, revision, endpoint or template, prompt, sampling, seed and schema."""
    return _key(_identity_digest(identity), _text(request))


def _identity_digest(identity: Identity) -> bytes:
    return sha256(_identity_text(identity)).digest()


def _identity_text(identity: Identity) -> bytes:
    # The licence names terms of use; it cannot change a reply.
    return canonical({k: v for k, v in structs.asdict(identity).items() if k != "licence"}).encode()


def _text(request: Request) -> bytes:
    """The request as JSON, which its key hashes and its line holds."""
    s = request.sampling
    plain = {
        "messages": request.messages,
        "sampling": (repr(float(s.temperature)), repr(float(s.top_p)), s.max_tokens, s.stop),
        "seed": request.seed,
        "schema": request.schema,
    }
    return encode(plain)


def _key(identity: bytes, text: bytes) -> str:
    return sha256(identity + text).hexdigest()[:32]


def frame(payload: bytes) -> bytes:
    """A line of the journal."""
    return b"%08x %s\n" % (zlib.crc32(payload), payload)


def unframe(line: bytes) -> bytes | None:
    """The payload of a line, or None if it is torn or corrupted."""
    if len(line) <= _KEY.stop or line[-1:] != b"\n":
        return None
    payload = line[_HEAD:-1]
    return payload if line[:_HEAD] == b"%08x " % zlib.crc32(payload) else None


class Journal:
    """The exchanges in `folder`: those of earlier runs by key, and a file of this process's own to add to.

    Reading keeps 20 bytes an entry in memory; what this run adds is not indexed, since no run asks twice.
    """

    def __init__(
        self, folder: Path, *, flush_seconds: float = FLUSH_SECONDS, before: Before = lambda operation, path: None,
        wall: Callable[[], float] = time.time,
    ) -> None:  # fmt: skip
        self.folder, self.flush_seconds, self._before, self._wall = folder, flush_seconds, before, wall
        self._bad = 0
        self._torn: set[Path] = set()
        self._files: list[Path] = []
        self._read: dict[Path, int] = {}
        self._keys = np.zeros(0, dtype=np.uint64)
        self._places = np.zeros(0, dtype=np.uint64)
        self._handles: dict[int, int] = {}
        self._own: Log | None = None
        self._introduced: set[bytes] = set()
        self._introductions: list[bytes] = []
        self._pending: list[tuple[bytes, asyncio.Future[None]]] = []
        self._flushing: asyncio.Task[None] | None = None
        self._failure: StoreError | None = None
        self.refresh()

    def __len__(self) -> int:
        return len(self._keys)

    @property
    def corrupted(self) -> int:
        """Lines that were not what was written, those among them that a dying writer left unfinished included."""
        return self._bad + len(self._torn)

    def refresh(self) -> None:
        """Read what was added to the folder since the last look: an earlier run, or another worker."""
        keys, places = array("Q"), array("Q")
        fresh = []
        paths = [p for p in sorted(self.folder.glob("*.jsonl")) if self._own is None or p != self._own.path]
        for path in paths:
            if path not in self._read:
                self._files.append(path)
                self._read[path] = 0
            number = self._files.index(path)
            known = len(keys)
            try:
                for key, offset in self._scan(path):
                    keys.append(int(key[:16], 16))
                    places.append(number << 44 | offset)
            except OSError as error:
                raise StoreError(f"the journal {path} cannot be read ({error.strerror or error})") from error
            if len(keys) > known:
                fresh.append(path)
        try:
            # Their writers may have died between a write and its sync, and what is used from now on must last.
            settle(self.folder, fresh, self._before)
        except OSError as error:
            raise StoreError(f"the journal in {self.folder} cannot be made durable ({_reason(error)})") from error
        if keys:
            all_keys = np.concatenate([self._keys, np.frombuffer(keys, dtype=np.uint64)])
            order = np.argsort(all_keys, kind="stable")
            self._keys = all_keys[order]
            self._places = np.concatenate([self._places, np.frombuffer(places, dtype=np.uint64)])[order]

    def _scan(self, path: Path) -> Iterator[tuple[str, int]]:
        self._torn.discard(path)
        with path.open("rb") as file:
            file.seek(self._read[path])
            offset = self._read[path]
            for line in file:
                if line[-1:] != b"\n":
                    # A writer died within this line, or is still at it: look again at the next refresh.
                    self._torn.add(path)
                    break
                if unframe(line) is None:
                    self._bad += 1
                elif line.startswith(_EXCHANGE, _HEAD):
                    yield line[_KEY].decode("ascii"), offset
                offset += len(line)
            self._read[path] = offset

    def find(self, key: str) -> Entry | None:
        """The recorded exchange, replies before errors; None is a miss."""
        wanted = np.uint64(int(key[:16], 16))
        start, end = np.searchsorted(self._keys, wanted, "left"), np.searchsorted(self._keys, wanted, "right")
        found = [e for place in self._places[start:end] if (e := self._entry(int(place), key))]
        return min(found, key=lambda e: e.reply is None, default=None)

    def _entry(self, place: int, key: str) -> Entry | None:
        number, offset = place >> 44, place & (1 << 44) - 1
        handle = self._handles.get(number)
        if handle is None:
            handle = self._handles[number] = os.open(self._files[number], os.O_RDONLY)
        line = b""
        while not line.endswith(b"\n"):
            piece = os.pread(handle, 8192, offset + len(line))
            if not piece:
                break
            end = piece.find(b"\n")
            line += piece if end < 0 else piece[: end + 1]
        payload = unframe(line)
        if payload is None:
            self._bad += 1
            return None
        data = json.loads(payload)
        if data["k"] != key:
            return None
        reply = data.get("r")
        made = (
            Reply(
                text=reply[0],
                finish=reply[1],
                prompt_tokens=reply[2],
                completion_tokens=reply[3],
                flags=tuple(reply[4]),
            )
            if reply
            else None
        )
        error = data.get("e")
        return Entry(data["q"], made, (error[0], error[1]) if error else None)

    def introduce(self, identity: Identity) -> None:
        """Name an engine whose exchanges will be added; written once, with the first of them that follow."""
        text = _identity_text(identity)
        if text not in self._introduced:
            self._introduced.add(text)
            self._introductions.append(frame(b'{"i":%s}' % text))

    async def add(self, key: str, request: bytes, outcome: Reply | EngineError) -> None:
        """Record an exchange; returns when it is on disk. Raises StoreError if it cannot be written."""
        if self._failure is not None:
            raise self._failure
        if isinstance(outcome, Reply):
            r = outcome
            kind, told = b"r", encode((r.text, r.finish, r.prompt_tokens, r.completion_tokens, r.flags))
        else:
            kind, told = b"e", encode((outcome.code, str(outcome)))
        line = frame(b'{"k":"%s","q":%s,"%s":%s}' % (key.encode(), request, kind, told))
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._pending.append((line, done))
        if self._flushing is None:
            self._flushing = asyncio.create_task(self._flush())
        await done

    async def _flush(self) -> None:
        """Write what is pending, again and again until nothing is; one fsync serves all that waited."""
        try:
            while self._pending:
                await asyncio.sleep(self.flush_seconds)
                batch, self._pending = self._pending, []
                new, self._introductions = self._introductions, []
                try:
                    await asyncio.to_thread(self._write, b"".join((*new, *(line for line, _ in batch))))
                except Exception as error:  # whatever it is, nobody may wait for ever
                    self._failure = StoreError(
                        f"the journal in {self.folder} cannot be written ({_reason(error)}): "
                        "mend that (free space?) and run the same command again"
                    )
                    batch, self._pending = batch + self._pending, []
                    for _, done in batch:
                        if not done.done():
                            done.set_exception(self._failure)
                else:
                    for _, done in batch:
                        if not done.done():
                            done.set_result(None)
        finally:
            self._flushing = None

    def _write(self, data: bytes) -> None:
        if self._own is None:
            self._own = create(self.folder / f"{int(self._wall() * 1e9):020d}-{os.getpid()}.jsonl", self._before)
        self._own.append(data)

    async def close(self) -> None:
        """Write what is pending and let go of the files."""
        while self._flushing is not None:
            await asyncio.shield(self._flushing)
        for handle in (*self._handles.values(), *([self._own.handle] if self._own is not None else [])):
            os.close(handle)
        self._handles.clear()
        self._own = None


def _reason(error: Exception) -> str:
    if not isinstance(error, OSError):
        return f"{type(error).__name__}: {error}"
    return f"{error.strerror or error}{f': {error.filename}' if error.filename else ''}"


class Journaled:
    """An engine behind the journal. With `replay` nothing is ever asked: what the journal lacks is an error."""

    def __init__(self, engine: Engine, journal: Journal, *, replay: bool = False) -> None:
        self.engine, self.journal, self.replay = engine, journal, replay
        self.identity = engine.identity
        self.seen = engine.seen
        self.hits = self.asked = self.prompt_tokens = self.completion_tokens = 0
        self._digest = _identity_digest(self.identity)
        journal.introduce(self.identity)
        self._running: dict[str, list[asyncio.Future[Reply | None]]] = {}
        """By key, those who wait for a reply that another asked for."""

    async def generate(self, request: Request) -> tuple[str, Reply]:
        """(journal key, reply); raises as the engine did, also from the journal."""
        text = _text(request)
        key = _key(self._digest, text)
        entry = self.journal.find(key) if len(self.journal) else None
        if entry is not None and entry.reply is not None:
            self.hits += 1
            return key, entry.reply
        if entry is not None and entry.error is not None and (self.replay or entry.error[0] in LASTING):
            self.hits += 1
            raise EngineError(*entry.error)
        if self.replay:
            raise ReplayMiss(
                f"the journal in {self.journal.folder} holds no reply of {self.identity.model} to this request; "
                "it is another recipe's or is incomplete: run without --replay to ask the engine"
            )
        while key in self._running:
            waiting: asyncio.Future[Reply | None] = asyncio.get_running_loop().create_future()
            self._running[key].append(waiting)
            if (reply := await waiting) is not None:
                return key, reply
        return key, await self._ask(key, text, request)

    async def _ask(self, key: str, text: bytes, request: Request) -> Reply:
        """Ask once for all who want the same."""
        waiters = self._running[key] = []
        reply: Reply | None = None
        failure: Exception | None = None
        try:
            reply = await self._recorded(key, text, request)
            return reply
        except Exception as error:
            failure = error
            raise
        finally:
            del self._running[key]
            for waiting in (w for w in waiters if not w.done()):
                if failure is not None:
                    waiting.set_exception(failure)
                else:
                    # None if this one was cancelled: one of those who wait asks in its place.
                    waiting.set_result(reply)

    async def _recorded(self, key: str, text: bytes, request: Request) -> Reply:
        self.asked += 1
        try:
            reply = await self.engine.generate(request)
        except EngineError as error:
            await self.journal.add(key, text, error)
            raise
        await self.journal.add(key, text, reply)
        self.prompt_tokens += reply.prompt_tokens
        self.completion_tokens += reply.completion_tokens
        return reply
