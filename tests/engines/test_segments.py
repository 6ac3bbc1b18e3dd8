"""A journal on an object store: an object a flush, each whole by itself; no reply is used before its PUT returned."""

import asyncio
import time
from typing import Any

import pytest

from errata.engines.journal import Journal, Journaled, exchange_key
from errata.errors import EngineError, ReplayMiss, StoreError
from errata.objects import ObjectPath
from errata.store.audit import audit_journal
from tests.engines.test_journal import IDENTITY, Scripted, request
from tests.objects import Store


def ask(folder: ObjectPath, engine: Scripted, *waves: range, replay: bool = False) -> list[Any]:
    """Ask wave by wave, all of one at once; replies' texts and errors."""

    async def main() -> list[Any]:
        journal = Journal(folder, flush_seconds=0.003)
        journaled = Journaled(engine, journal, replay=replay)
        found: list[Any] = []
        for wave in waves:
            asked = (journaled.generate(request(i)) for i in wave)
            found += await asyncio.gather(*asked, return_exceptions=True)
        await journal.close()
        return [f if isinstance(f, BaseException) else f[1].text for f in found]

    return asyncio.run(main())


def segments(folder: ObjectPath) -> list[ObjectPath]:
    return sorted(folder.glob("*.jsonl"))


def test_what_was_recorded_is_not_asked_again(s3: Store) -> None:
    waves = (range(3), range(3, 6))
    whole = [f"answer {i}" for i in range(6)]
    failing = {4: EngineError("bad_request", "no")}
    first = ask(s3.root, Scripted(failing), *waves)
    assert [str(f) for f in first] == [*whole[:4], "no", whole[5]]
    engine = Scripted()
    again = ask(s3.root, engine, *waves, range(6, 8))
    assert [str(f) for f in again] == [*map(str, first), "answer 6", "answer 7"] and engine.asked == [6, 7]
    replayed = ask(s3.root, engine, range(9), replay=True)
    assert isinstance(replayed[8], ReplayMiss) and [str(f) for f in replayed[:8]] == [str(f) for f in again]
    assert engine.asked == [6, 7]


def test_each_object_is_whole_by_itself_and_numbered_by_its_writer(s3: Store) -> None:
    ask(s3.root, Scripted(), range(3), range(3, 6))
    ask(s3.root, Scripted(), range(6, 9))
    names = [p.name for p in segments(s3.root)]
    assert [name[-12:] for name in names] == ["000000.jsonl", "000001.jsonl", "000000.jsonl"]
    assert names[0][:-12] == names[1][:-12] != names[2][:-12]
    for path in segments(s3.root):
        data = path.read_bytes()
        assert data.count(b'{"i":') == 1 and data.count(b'{"k":') == 3
    audit = audit_journal(s3.root)
    assert (audit.files, audit.replies, audit.corrupted, audit.unnamed, audit.faults) == (3, 9, 0, 0, ())


def test_a_reply_waits_for_its_put(s3: Store) -> None:
    async def main() -> float:
        journal = Journal(s3.root, flush_seconds=0)
        journaled = Journaled(Scripted(), journal)
        s3.delay = 0.3
        began = time.monotonic()
        answer = asyncio.create_task(journaled.generate(request(1)))
        await asyncio.sleep(0.2)
        assert len(s3.writes()) == 1 and not answer.done()
        await answer
        taken = time.monotonic() - began
        s3.delay = 0.0
        assert [len(p.read_bytes()) > 99 for p in segments(s3.root)] == [True]
        await journal.close()
        return taken

    assert asyncio.run(main()) > 0.3


def test_a_put_that_fails_is_the_last_and_its_replies_are_asked_again(s3: Store) -> None:
    s3.refuse = lambda method, path: path.endswith("-000001.jsonl")
    waves = (range(3), range(3, 6), range(6, 9))
    found = ask(s3.root, Scripted(), *waves)
    assert found[:3] == ["answer 0", "answer 1", "answer 2"]
    (error,) = {id(f): f for f in found[3:]}.values()
    assert isinstance(error, StoreError) and "\n" not in str(error)
    assert f"the journal in {s3.root} cannot be written (Access Denied" in str(error)
    assert len(segments(s3.root)) == 1 and len([p for p in s3.writes() if "jsonl" in p]) == 2
    s3.obey()
    engine = Scripted()
    assert ask(s3.root, engine, *waves) == [f"answer {i}" for i in range(9)]
    assert sorted(engine.asked) == list(range(3, 9))


def test_what_other_writers_add_is_seen_and_ones_own_is_not_read_back(s3: Store) -> None:
    async def main() -> None:
        journal = Journal(s3.root, flush_seconds=0)
        journaled = Journaled(Scripted(), journal)
        await journaled.generate(request(0))
        await asyncio.to_thread(ask, s3.root, Scripted(), range(1, 4))
        journal.refresh()
        assert len(journal) == 3
        entry = journal.find(exchange_key(IDENTITY, request(2)))
        assert entry is not None and entry.reply is not None and entry.reply.text == "answer 2"
        s3.seen.clear()
        journal.refresh()
        assert [method for method, _ in s3.seen] == ["GET"], "a listing, and nothing is fetched twice"
        await journal.close()

    asyncio.run(main())


@pytest.mark.parametrize("cut", [False, True])
def test_a_damaged_object_costs_its_line_and_no_other(s3: Store, cut: bool) -> None:
    ask(s3.root, Scripted(), range(4), range(4, 6))
    path = segments(s3.root)[0]
    data = path.read_bytes()
    place = data.index(b"answer 3")
    path.put(data[:place] if cut else data[:place] + b"A" + data[place + 1 :])
    journal = Journal(s3.root)
    assert (len(journal), journal.corrupted) == (5, 1)
    asyncio.run(journal.close())
    engine = Scripted()
    assert ask(s3.root, engine, range(6)) == [f"answer {i}" for i in range(6)] and engine.asked == [3]
    assert audit_journal(s3.root).corrupted == 1 and audit_journal(s3.root).faults == ()


def test_a_flush_is_of_bounded_size(s3: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("errata.engines.journal.MOST", 1000)
    assert ask(s3.root, Scripted(), range(20)) == [f"answer {i}" for i in range(20)]
    sizes = [p.stat().st_size for p in segments(s3.root)]
    assert len(sizes) > 3 and max(sizes) < 1500
    monkeypatch.setattr("errata.engines.journal.MOST", 1)
    assert ask(s3.root, Scripted(), range(20, 23)) == [f"answer {i}" for i in range(20, 23)]


def test_a_store_that_cannot_be_read_is_told(s3: Store) -> None:
    s3.refuse = lambda method, path: True
    with pytest.raises(StoreError, match=r"the journal in s3://.* cannot be read \(Access Denied\)"):
        Journal(s3.root)
