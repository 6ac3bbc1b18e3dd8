"""F7 to F11: connections that break, answers that are none, that never come, or that come too late."""

import asyncio
import time
from pathlib import Path

import pytest

from errata.engines.base import Reply
from errata.engines.journal import Journal, exchange_key
from tests.engines.client import ask, quick
from tests.faults.support import ran, undisturbed

BROKEN = ("reset", "reset_headers", "reset_body")
NO_REPLY = ("short", "overrun", "truncated", "html", "empty_body")


def test_f7_a_connection_that_breaks_is_asked_again_and_no_part_is_taken(tmp_path: Path) -> None:
    told = ran(tmp_path, *(f"{kind}=0.15" for kind in BROKEN)).unharmed()
    faults = told.account["faults"]
    assert faults.keys() == set(BROKEN)
    after = faults["reset_headers"] + faults["reset_body"]
    assert told.retries == {"reset": faults["reset"], "bad_envelope": after}


def test_f8_what_is_no_reply_is_asked_again(tmp_path: Path) -> None:
    told = ran(tmp_path, *(f"{kind}=0.1" for kind in NO_REPLY)).unharmed()
    assert told.account["faults"].keys() == set(NO_REPLY)
    assert told.retries == {"bad_envelope": sum(told.account["faults"].values())}


def test_f8_beyond_the_budget_it_costs_the_request(tmp_path: Path) -> None:
    faults = [f"{kind}=0.1" for kind in NO_REPLY]
    told = ran(tmp_path, *faults, fault_attempts=99, engine={"retries": 1}).sound().accounted()
    assert told.lost.keys() == {"bad_envelope"} and told.lost.total() == told.journal.errors
    assert sum(told.account["faults"].values()) == told.retries["bad_envelope"] + told.lost["bad_envelope"]


@pytest.mark.parametrize("kind", ["hang", "drip"])
def test_f9_silence_ends_at_a_deadline_and_is_asked_again(tmp_path: Path, kind: str) -> None:
    told = ran(tmp_path, f"{kind}=0.1", drip_seconds=10.0, engine={"deadline": 2.0}).unharmed()
    assert told.retries == {"timeout": told.account["faults"][kind]}
    assert told.facts["seconds"] < 15


def test_f9_silence_for_ever_costs_the_request_and_frees_its_slot(tmp_path: Path) -> None:
    # Were a slot not given back, the later samples would wait for ever.
    told = ran(tmp_path, "hang=1", fault_attempts=99, engine={"deadline": 0.2, "concurrency": 16}).sound()
    assert told.lost == {"deadline": 32} and told.journal.errors == 32 and not told.rows
    assert told.account["running"] == told.account["queued"] == told.account["answered"] == 0


def test_f10_a_straggler_within_the_deadline_is_waited_for(tmp_path: Path) -> None:
    told = ran(tmp_path, "slow=0.1", step_ms=0.2, straggler=20.0).unharmed()
    assert told.retries == {} and told.account["cancelled"] == 0


def test_f10_f11_a_straggler_beyond_it_is_asked_again_and_recorded_once(tmp_path: Path) -> None:
    began = time.monotonic()
    told = ran(tmp_path, "slow=0.1", step_ms=0.5, straggler=10_000.0, engine={"deadline": 2.0}).unharmed()
    assert time.monotonic() - began < 20, "the straggler alone would take minutes"
    assert told.retries == {"timeout": told.account["faults"]["slow"]} == {"timeout": told.account["cancelled"]}
    assert told.journal.replies == undisturbed().requests


def test_f11_of_two_replies_to_one_request_the_first_that_was_recorded_counts(tmp_path: Path) -> None:
    identity = quick("http://h/v1").identity
    key = exchange_key(identity, ask())

    async def record(text: str) -> None:
        journal = Journal(tmp_path)
        journal.introduce(identity)
        await journal.add(key, b"{}", Reply(text=text, finish="stop", prompt_tokens=1, completion_tokens=1))
        await journal.close()

    async def main() -> None:
        for text in ("first", "second"):
            await record(text)
        journal = Journal(tmp_path)
        found = journal.find(key)
        assert found is not None and found.reply is not None and found.reply.text == "first"
        await journal.close()

    asyncio.run(main())
