"""The journal: what was recorded comes back or is a miss, and nothing is used before it is on disk."""

import asyncio
import os
import resource
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from errata.engines.base import Identity, Reply, Request, Sampling
from errata.engines.journal import LASTING, Journal, Journaled, exchange_key
from errata.errors import EngineError, ReplayMiss, StoreError
from errata.records.types import Message

TEXT = st.text(st.characters(), max_size=40)
FINITE = st.floats(allow_nan=False, allow_infinity=False)
MESSAGES = st.lists(
    st.builds(Message, role=st.sampled_from(("system", "user", "assistant")), content=TEXT), min_size=1, max_size=3
).map(tuple)
REQUESTS = st.builds(
    Request,
    messages=MESSAGES,
    sampling=st.builds(
        Sampling,
        temperature=FINITE,
        top_p=FINITE,
        max_tokens=st.integers(0, 2**40),
        stop=st.lists(TEXT, max_size=2).map(tuple),
    ),
    seed=st.integers(0, 2**63 - 1),
    schema=TEXT,
)
REPLIES = st.builds(
    Reply,
    text=TEXT,
    finish=st.sampled_from(("stop", "length", "filter")),
    prompt_tokens=st.integers(0, 2**40),
    completion_tokens=st.integers(0, 2**40),
    flags=st.lists(TEXT, max_size=2).map(tuple),
)
IDENTITIES = st.builds(
    Identity, engine=TEXT, version=st.integers(), model=TEXT, revision=TEXT, detail=TEXT, licence=TEXT
)
IDENTITY = Identity(engine="scripted", version=1, model="m", revision="r")


def request(i: int = 0) -> Request:
    return Request(messages=(Message(role="user", content=f"What is {i} ?"),), sampling=Sampling(), seed=i)


def reply(text: str = "four") -> Reply:
    return Reply(text=text, finish="stop", prompt_tokens=3, completion_tokens=1)


class Scripted:
    """Answers with the request's seed, or fails as it is told, and remembers what it was asked."""

    identity, seen = IDENTITY, ()

    def __init__(self, failures: dict[int, Exception] | None = None) -> None:
        self.asked: list[int] = []
        self.failures = failures or {}

    async def generate(self, asked: Request) -> Reply:
        self.asked.append(asked.seed)
        await asyncio.sleep(0.001)
        if asked.seed in self.failures:
            raise self.failures[asked.seed]
        return reply(f"answer {asked.seed}")

    async def close(self) -> None:
        """Nothing to free."""


@contextmanager
def opened(folder: Path, **options: Any) -> Iterator[Journal]:
    journal = Journal(folder, **options)
    try:
        yield journal
    finally:
        asyncio.run(journal.close())


def ask(folder: Path, engine: Scripted, *seeds: int, **options: Any) -> list[Any]:
    """Ask for all at once; replies' texts and errors."""

    async def main() -> list[Any]:
        journal = Journal(folder)
        journaled = Journaled(engine, journal, **options)
        found = await asyncio.gather(*(journaled.generate(request(i)) for i in seeds), return_exceptions=True)
        await journal.close()
        return [f if isinstance(f, BaseException) else f[1].text for f in found]

    return asyncio.run(main())


def files(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.jsonl"))


@given(exchanges=st.dictionaries(st.integers(0, 99), st.tuples(REQUESTS, REPLIES), max_size=4), identity=IDENTITIES)
def test_every_exchange_comes_back_as_it_was(
    tmp_path_factory: pytest.TempPathFactory, exchanges: dict[int, tuple[Request, Reply]], identity: Identity
) -> None:
    folder = tmp_path_factory.mktemp("journal")

    class Recorded:
        seen = ()

        def __init__(self) -> None:
            self.identity = identity

        async def generate(self, asked: Request) -> Reply:
            return next(r for q, r in exchanges.values() if q == asked)

        async def close(self) -> None:
            """Nothing to free."""

    async def main(replay: bool) -> list[tuple[str, Reply]]:
        journal = Journal(folder, flush_seconds=0)
        journaled = Journaled(Recorded(), journal, replay=replay)
        found = [await journaled.generate(q) for q, _ in exchanges.values()]
        await journal.close()
        return found

    first = asyncio.run(main(replay=False))
    assert asyncio.run(main(replay=True)) == first
    assert [k for k, _ in first] == [exchange_key(identity, q) for q, _ in exchanges.values()]
    with opened(folder) as journal:
        assert journal.corrupted == 0
        for key, answer in first:
            entry = journal.find(key)
            assert entry is not None and entry.reply == answer and entry.error is None


def changes(value: Any, other: Any) -> Iterator[Any]:
    """`value` with one field, or one field of a field, taken from `other`."""
    for field in msgspec.structs.fields(value):
        mine, theirs = getattr(value, field.name), getattr(other, field.name)
        if isinstance(mine, Sampling):
            for inner in changes(mine, theirs):
                yield msgspec.structs.replace(value, **{field.name: inner})
        elif mine != theirs:
            yield msgspec.structs.replace(value, **{field.name: theirs})


@given(REQUESTS, REQUESTS, IDENTITIES, IDENTITIES)
def test_every_field_but_the_licence_is_in_the_key(a: Request, b: Request, x: Identity, y: Identity) -> None:
    key = exchange_key(x, a)
    for changed in changes(a, b):
        assert exchange_key(x, changed) != key
    for other in changes(x, y):
        assert (exchange_key(other, a) == key) == (other == msgspec.structs.replace(x, licence=other.licence))


def test_the_parts_of_a_conversation_cannot_be_mistaken_for_each_other() -> None:
    def key(*messages: tuple[str, str], **fields: Any) -> str:
        said = tuple(Message(role=r, content=c) for r, c in messages)  # type: ignore[arg-type]
        return exchange_key(IDENTITY, Request(**{"messages": said, "sampling": Sampling(), "seed": 1, **fields}))

    keys = [
        key(("user", "ab")),
        key(("user", "a"), ("user", "b")),
        key(("system", "ab")),
        key(("assistant", "ab")),
        key(("user", "a\n\nb")),
        key(("user", "ab"), sampling=Sampling(stop=("a", "b"))),
        key(("user", "ab"), sampling=Sampling(stop=("ab",))),
        key(("user", "ab"), seed=11),
        key(("user", "ab"), schema="{}"),
    ]
    assert len(set(keys)) == len(keys)
    assert key(("user", "a"), sampling=Sampling(temperature=1)) == key(
        ("user", "a"), sampling=Sampling(temperature=1.0)
    )


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> tuple[bytes, list[str]]:
    """The bytes of a journal of eight exchanges, and their keys in the order of its lines."""
    folder = tmp_path_factory.mktemp("recorded")
    ask(folder, Scripted({3: EngineError("bad_request", "no")}), *range(8))
    data = files(folder)[0].read_bytes()
    return data, [line[15:47].decode() for line in data.splitlines() if b'{"k":' in line]


def damaged(folder: Path, data: bytes, keys: list[str]) -> tuple[int, int]:
    """(entries found, lines counted as corrupted) in a journal with these bytes; a wrong entry fails the test."""
    folder.mkdir(exist_ok=True)
    (folder / "1.jsonl").write_bytes(data)
    truth = {exchange_key(IDENTITY, request(i)): i for i in range(8)}
    with opened(folder) as journal:
        found = 0
        for key in keys:
            entry = journal.find(key)
            if entry is not None:
                found += 1
                assert entry.reply == reply(f"answer {truth[key]}") if truth[key] != 3 else entry.error is not None
        return found, journal.corrupted


@given(at=st.integers(0, 10**6), bit=st.integers(0, 7))
def test_a_flipped_bit_is_a_miss_and_is_counted(
    recorded: tuple[bytes, list[str]], tmp_path_factory: pytest.TempPathFactory, at: int, bit: int
) -> None:
    data, keys = recorded
    broken = bytearray(data)
    broken[at % len(data)] ^= 1 << bit
    found, counted = damaged(tmp_path_factory.mktemp("flipped"), bytes(broken), keys)
    # A flip of a line's end hurts the line behind it too; one that makes an end splits its line.
    # No exchange is lost with the line that names the engine.
    named = at % len(data) < data.index(b"\n")
    assert (found == 8 if named else 6 <= found <= 7) and 1 <= counted <= 2


@given(st.integers(0, 10**6))
def test_a_file_cut_anywhere_loses_what_was_cut(
    recorded: tuple[bytes, list[str]], tmp_path_factory: pytest.TempPathFactory, at: int
) -> None:
    data, keys = recorded
    kept = data[: at % (len(data) + 1)]
    found, counted = damaged(tmp_path_factory.mktemp("cut"), kept, keys)
    assert found == max(0, kept.count(b"\n") - 1)
    assert counted == (kept != b"" and not kept.endswith(b"\n"))


def test_damage_after_the_journal_was_read_is_a_miss(recorded: tuple[bytes, list[str]], tmp_path: Path) -> None:
    data, keys = recorded
    path = tmp_path / "1.jsonl"
    path.write_bytes(data)
    with opened(tmp_path) as journal:
        path.write_bytes(data.replace(b"answer", b"Answer"))
        assert [journal.find(k) is None for k in keys] == [b"answer" in line for line in data.splitlines()[1:]]
        assert journal.corrupted == data.count(b"answer")


def test_a_torn_line_is_left_behind_and_its_request_asked_again(tmp_path: Path) -> None:
    assert ask(tmp_path, Scripted(), 1, 2) == ["answer 1", "answer 2"]
    path = files(tmp_path)[0]
    path.write_bytes(path.read_bytes()[:-5])
    engine = Scripted()
    assert ask(tmp_path, engine, 1, 2) == ["answer 1", "answer 2"]
    assert len(engine.asked) == 1
    assert len(files(tmp_path)) == 2, "nothing may be written behind a torn line"
    with opened(tmp_path) as journal:
        assert (len(journal), journal.corrupted) == (2, 1)


def test_a_reply_is_on_disk_before_it_is_used(tmp_path: Path) -> None:
    async def main() -> None:
        journal = Journal(tmp_path)
        journaled = Journaled(Scripted(), journal)

        async def used(i: int) -> None:
            key, answer = await journaled.generate(request(i))
            with path_of(tmp_path).open("rb") as file:
                assert f'"k":"{key}"'.encode() in file.read() and answer.text == f"answer {i}"

        await asyncio.gather(*map(used, range(50)))
        await journal.close()

    def path_of(folder: Path) -> Path:
        return files(folder)[0]

    asyncio.run(main())


def test_many_replies_share_one_sync(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    syncs = 0
    real = os.fsync

    def counted(handle: int) -> None:
        nonlocal syncs
        syncs += 1
        real(handle)

    monkeypatch.setattr(os, "fsync", counted)
    ask(tmp_path / "journal", Scripted(), *range(500))
    # Two folders, and then one sync for each interval in which replies came in; they all came in one or two.
    assert 3 <= syncs <= 20
    with opened(tmp_path / "journal") as journal:
        assert len(journal) == 500


def test_a_full_disk_reaches_everybody_who_waits(tmp_path: Path) -> None:
    async def main() -> list[Any]:
        journal = Journal(tmp_path)
        journaled = Journaled(Scripted(), journal)
        await journaled.generate(request(0))
        before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (files(tmp_path)[0].stat().st_size + 300, hard))
        try:
            found = await asyncio.gather(*(journaled.generate(request(i)) for i in range(1, 9)), return_exceptions=True)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
            signal.signal(signal.SIGXFSZ, before)
        # There is room again, but behind a torn line nothing may be written.
        found.append((await asyncio.gather(journaled.generate(request(9)), return_exceptions=True))[0])
        await journal.close()
        return found

    found = asyncio.run(main())
    assert len(found) == 9
    for error in found:
        assert isinstance(error, StoreError), "no reply may be used that is not on disk"
        assert "cannot be written" in str(error) and "run the same command again" in str(error)
    with opened(tmp_path) as journal:
        assert journal.corrupted == 1
        assert all(journal.find(exchange_key(IDENTITY, request(i))) is not None for i in range(1))
    assert ask(tmp_path, Scripted(), *range(10)) == [f"answer {i}" for i in range(10)]


def test_a_folder_that_cannot_be_made_is_one_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    (error,) = ask(tmp_path / "file" / "journal", Scripted(), 1)
    assert isinstance(error, StoreError) and str(tmp_path) in str(error)


def test_the_same_request_is_asked_once_at_a_time(tmp_path: Path) -> None:
    engine = Scripted({2: EngineError("bad_request", "no")})
    found = ask(tmp_path, engine, 1, 1, 2, 1, 2)
    assert sorted(engine.asked) == [1, 2]
    assert [str(f) for f in found] == ["answer 1", "answer 1", "no", "answer 1", "no"]


def test_whoever_waits_for_a_request_that_is_cancelled_asks_it(tmp_path: Path) -> None:
    engine = Scripted()

    async def main() -> str:
        journal = Journal(tmp_path)
        journaled = Journaled(engine, journal)
        first, second = (asyncio.create_task(journaled.generate(request(1))) for _ in range(2))
        await asyncio.sleep(0)
        first.cancel()
        _, answer = await second
        await journal.close()
        return answer.text

    assert asyncio.run(main()) == "answer 1"
    assert engine.asked == [1, 1]


def test_lasting_failures_are_reused_and_others_asked_again(tmp_path: Path) -> None:
    failures: dict[int, Exception] = {i: EngineError(code, f"failed: {code}") for i, code in enumerate(sorted(LASTING))}
    passing = len(failures)
    failures[passing] = EngineError("engine_5xx", "told 503")
    seeds = range(len(failures) + 1)
    first = ask(tmp_path, Scripted(failures), *seeds)

    again = Scripted()
    second = ask(tmp_path, again, *seeds)
    assert again.asked == [passing], "only what may pass now is asked"
    assert [str(f) for f in second[:passing]] == [str(f) for f in first[:passing]]
    assert all(isinstance(f, EngineError) and f.code in LASTING for f in second[:passing])
    assert second[passing:] == [f"answer {passing}", f"answer {passing + 1}"]

    third = Scripted()
    assert ask(tmp_path, third, passing, replay=True) == [f"answer {passing}"], "a reply counts more than a failure"
    assert third.asked == []


def test_replay_repeats_failures_and_never_asks(tmp_path: Path) -> None:
    ask(tmp_path, Scripted({1: EngineError("engine_5xx", "told 503")}), 1, 2)
    engine = Scripted()
    failure, answer, miss = ask(tmp_path, engine, 1, 2, 3, replay=True)
    assert isinstance(failure, EngineError) and failure.code == "engine_5xx" and str(failure) == "told 503"
    assert answer == "answer 2"
    assert isinstance(miss, ReplayMiss) and str(tmp_path) in str(miss) and "\n" not in str(miss)
    assert engine.asked == []


def test_what_another_worker_adds_is_found_after_a_refresh(tmp_path: Path) -> None:
    with opened(tmp_path) as journal:
        ask(tmp_path, Scripted(), 1)
        key = exchange_key(IDENTITY, request(1))
        assert journal.find(key) is None
        journal.refresh()
        entry = journal.find(key)
        assert entry is not None and entry.reply == reply("answer 1")
        path = files(tmp_path)[0]
        whole = path.read_bytes()
        ask(tmp_path, Scripted(), 2)
        added = next(p for p in files(tmp_path) if p != path)
        line = added.read_bytes()
        added.write_bytes(line[:20])
        journal.refresh()
        assert journal.corrupted == 1, "a line that is still being written looks torn"
        added.write_bytes(line)
        journal.refresh()
        assert journal.corrupted == 0 and journal.find(exchange_key(IDENTITY, request(2))) is not None
        assert path.read_bytes() == whole
