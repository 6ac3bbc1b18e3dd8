"""The auditor of the journal: what is sound has no fault, and whatever is changed behind a valid checksum is told."""

import asyncio
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings

from errata.engines.base import Identity, Reply, Request
from errata.engines.journal import Journal, Journaled, frame
from errata.errors import EngineError, StoreError
from errata.store.audit import audit_journal, check_calls, check_journal
from tests.engines.test_journal import IDENTITIES, REPLIES, REQUESTS
from tests.store.life import IDENTITY, NAME, PROBLEMS, Echo, key, live, request

Line = Callable[[bytes], bytes | list[bytes]]


@pytest.fixture
def made(tmp_path: Path) -> tuple[Path, Path]:
    """(dataset, the one file of its journal)."""
    live(tmp_path, Echo())
    (file,) = (tmp_path / "out/journal").iterdir()
    return tmp_path / "out" / NAME, file


def edit(file: Path, change: Callable[[list[bytes]], list[bytes]]) -> None:
    """Change the payloads of a journal's lines; their checksums are made to fit."""
    payloads = [line[9:-1] for line in file.read_bytes().splitlines(keepends=True)]
    file.write_bytes(b"".join(map(frame, change(payloads))))


def test_what_was_written_has_no_fault(made: tuple[Path, Path]) -> None:
    dataset, file = made
    audit = audit_journal(file.parent)
    assert (audit.files, audit.engines, audit.replies, audit.errors) == (1, 1, PROBLEMS, 0)
    assert (audit.corrupted, audit.unnamed, audit.repeated, audit.faults) == (0, 0, 0, ())
    assert check_journal(file.parent) == [] and check_calls(dataset, file.parent) == []
    assert audit.summary == (
        f"journal: 1 files, {PROBLEMS} replies and 0 errors of 1 engines; 0 damaged lines, 0 replies twice, 0 unnamed"
    )


class Given:
    """Answers as it is told."""

    seen = ()

    def __init__(self, identity: Identity, reply: Reply | EngineError) -> None:
        self.identity, self.reply = identity, reply

    async def generate(self, asked: Request) -> Reply:
        if isinstance(self.reply, EngineError):
            raise self.reply
        return self.reply

    async def close(self) -> None:
        """Nothing to free."""


def record(folder: Path, *exchanges: tuple[Identity, Request, Reply | EngineError]) -> None:
    async def main() -> None:
        journal = Journal(folder, flush_seconds=0)
        for identity, asked, reply in exchanges:
            await asyncio.gather(
                Journaled(Given(identity, reply), journal).generate(asked), return_exceptions=True
            )  # fmt: skip
        await journal.close()

    asyncio.run(main())


@settings(max_examples=50)
@given(REQUESTS, REPLIES, IDENTITIES, IDENTITIES)
def test_every_key_is_computed_again(
    tmp_path_factory: pytest.TempPathFactory, asked: Request, reply: Reply, one: Identity, other: Identity
) -> None:
    folder = tmp_path_factory.mktemp("journal")
    record(folder, (one, asked, reply), (other, asked, EngineError("bad_request", "no")))
    audit = audit_journal(folder)
    assert audit.faults == () and audit.unnamed == audit.corrupted == 0
    assert (audit.replies, audit.files) == (1, 1)


def test_errors_are_counted_and_contradict_nothing(tmp_path: Path) -> None:
    failure, reply = EngineError("engine_5xx", "told 503"), Reply(
        text="4", finish="stop", prompt_tokens=1, completion_tokens=1
    )  # fmt: skip
    record(tmp_path, (IDENTITY, request(0), failure))
    record(tmp_path, (IDENTITY, request(0), reply))
    audit = audit_journal(tmp_path)
    assert (audit.files, audit.replies, audit.errors, audit.repeated, audit.faults) == (2, 1, 1, 0, ())


def test_another_request_under_the_same_key_is_a_fault(made: tuple[Path, Path]) -> None:
    _, file = made
    edit(file, lambda lines: [line.replace(b"What is 3 ?", b"What is 8 ?", 1) for line in lines])
    (fault,) = check_journal(file.parent)
    assert f"has the key {key(3)}, which is not that of its request" in fault and str(file) in fault


def test_the_same_reply_twice_is_counted_and_another_one_is_a_fault(made: tuple[Path, Path]) -> None:
    _, file = made
    second = file.with_name("1.jsonl")
    second.write_bytes(file.read_bytes())
    assert (audit := audit_journal(file.parent)).repeated == PROBLEMS and audit.faults == ()
    edit(second, lambda lines: [line.replace(b"answer 2 ", b"answer 7 ", 1) for line in lines])
    audit = audit_journal(file.parent)
    assert audit.repeated == PROBLEMS - 1
    (fault,) = audit.faults
    assert re.fullmatch(rf"the key {key(2)} has two different replies, at byte \d+ of .* and at byte \d+ of .*", fault)
    assert str(file) in fault and str(second) in fault


def test_what_is_damaged_is_counted_and_its_call_is_missed(made: tuple[Path, Path]) -> None:
    dataset, file = made
    data = file.read_bytes()
    file.write_bytes(data.replace(b"answer 2 ", b"answer 7 ", 1) + b"0123")
    audit = audit_journal(file.parent)
    assert (audit.replies, audit.corrupted, audit.unnamed, audit.faults) == (PROBLEMS - 1, 2, 0, ())
    (fault,) = check_calls(dataset, file.parent)
    assert f"the journal holds no reply with the key {key(2)} of its student" in fault


def test_a_call_that_tells_otherwise_than_the_reply_is_a_fault(made: tuple[Path, Path]) -> None:
    dataset, file = made
    for old, new in ((b'"stop",3,1', b'"stop",3,2'), (b'"stop",3,2', b'"length",3,1')):
        edit(file, lambda lines, old=old, new=new: [line.replace(old, new) for line in lines])
        faults = check_calls(dataset, file.parent)
        assert len(faults) == PROBLEMS and all("ended otherwise, or has other tokens" in f for f in faults)
    assert check_journal(file.parent) == []


@pytest.mark.parametrize("way", ["gone", "damaged"])
def test_without_the_engine_s_name_keys_are_not_known_to_be_wrong(made: tuple[Path, Path], way: str) -> None:
    _, file = made
    name, *exchanges = file.read_bytes().splitlines(keepends=True)
    file.write_bytes(b"".join([*([name.replace(b"echo", b"ohce")] if way == "damaged" else []), *exchanges]))
    audit = audit_journal(file.parent)
    assert (audit.unnamed, audit.corrupted, audit.faults) == (PROBLEMS, int(way == "damaged"), ())


@pytest.mark.parametrize(
    "payload", [b"{}", b"[]", b"x", b'{"k":"12","q":{},"r":["",1,1,1,[]]}', b'{"k":"' + b"0" * 32 + b'","q":{}}']
)
def test_a_whole_line_that_is_no_exchange_is_a_fault(made: tuple[Path, Path], payload: bytes) -> None:
    _, file = made
    edit(file, lambda lines: [*lines, payload])
    (fault,) = check_journal(file.parent)
    assert fault == f"{file}: line {PROBLEMS + 2} is whole but is no exchange"


def test_many_faults_are_counted(made: tuple[Path, Path]) -> None:
    _, file = made
    edit(file, lambda lines: lines + [b"{}"] * 50)
    faults = check_journal(file.parent)
    assert len(faults) == 21 and faults[-1] == "30 more lines"


def test_an_empty_folder_and_one_that_cannot_be_read(tmp_path: Path) -> None:
    audit = audit_journal(tmp_path / "none")
    assert (audit.files, audit.replies, audit.faults) == (0, 0, ())
    (tmp_path / "1.jsonl").mkdir()
    with pytest.raises(StoreError, match=r"cannot read .*1\.jsonl"):
        audit_journal(tmp_path)
