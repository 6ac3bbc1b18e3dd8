"""A lease is one run's at a time, says whose it is, and is taken over from those who are dead or asleep."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from errata.errors import StoreError
from errata.objects import ObjectPath
from errata.store import lease
from errata.store.lock import exclusive
from tests.objects import Store
from tests.runners.support import environment

HOLD = """
import sys, time
from errata.objects import locate
from errata.store.lock import exclusive
with exclusive(locate(sys.argv[1]), "it"):
    print("held", flush=True)
    time.sleep(600)
"""


@pytest.fixture
def path(s3: Store) -> ObjectPath:
    return s3.root / ".making-1-ab"


def names(path: ObjectPath) -> list[str]:
    return [p.name for p in path.parent.iterdir()]


def write(path: ObjectPath, number: int, **changes: Any) -> None:
    told = {"host": "elsewhere", "boot": "b", "process": 7, "token": "t", "time": time.time(), **changes}
    (path.parent / f"{path.name}.{number:06d}").put(json.dumps(told).encode())


def test_the_second_is_told_who_holds_it_and_a_dead_holder_is_none(path: ObjectPath) -> None:
    arguments = [sys.executable, "-c", HOLD, str(path)]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True, env=environment()) as process:
        assert process.stdout is not None and process.stdout.readline() == "held\n"
        try:
            whose = rf"another run \(process {process.pid} on {socket.gethostname()}, heard of \d s ago\) is making x: "
            with pytest.raises(StoreError, match=whose + r"wait .* or 60 s if it died, .* another --out") as told:
                exclusive(path, "x").__enter__()
            assert "\n" not in str(told.value)
        finally:
            process.send_signal(signal.SIGKILL)
        process.wait()
    with exclusive(path, "x"):
        assert names(path) == [".making-1-ab.000002"]
    assert names(path) == []


@pytest.mark.parametrize("age", [0.0, 50.0, 70.0])
def test_another_hosts_lease_is_stale_after_a_minute(path: ObjectPath, age: float) -> None:
    write(path, 4, time=time.time() - age)
    if age < lease.STALE:
        with pytest.raises(StoreError, match=rf"process 7 on elsewhere, heard of {age:.0f} s ago"):
            exclusive(path, "x").__enter__()
        assert names(path) == [".making-1-ab.000004"]
    else:
        with exclusive(path, "x"):
            assert names(path) == [".making-1-ab.000005"]


@pytest.mark.parametrize("odd", [b"", b"[]", b"{}", b'{"time": "soon"}'])
def test_what_is_no_lease_holds_nobody_up(path: ObjectPath, odd: bytes) -> None:
    (path.parent / f"{path.name}.000001").put(odd)
    with exclusive(path, "x"):
        pass
    assert names(path) == []


def test_of_many_who_take_over_one_has_it(path: ObjectPath) -> None:
    for _ in range(3):
        write(path, 1, time=0)
        start, end, held = threading.Barrier(5), threading.Barrier(5), []

        def contend(start: threading.Barrier = start, end: threading.Barrier = end, held: list[int] = held) -> str:
            start.wait()
            try:
                with exclusive(path, "x"):
                    held.append(1)
                    end.wait()
            except StoreError as error:
                end.wait()
                return str(error)
            return ""

        with ThreadPoolExecutor(5) as pool:
            said = [future.result() for future in [pool.submit(contend) for _ in range(5)]]
        assert len(held) == 1 and sum("another run" in s for s in said) == 4
        assert names(path) == []


def test_it_is_renewed_and_who_lost_it_says_so(
    path: ObjectPath, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(lease, "BEAT", 0.05)
    with exclusive(path, "x"):
        (mine,) = path.parent.iterdir()
        first = json.loads(mine.read_bytes())
        assert (first["process"], first["host"]) == (os.getpid(), socket.gethostname())
        wait_for(lambda: json.loads(mine.read_bytes())["time"] > first["time"])
        write(path, 1, token="another's")
        wait_for(lambda: bool(caplog.messages))
        assert caplog.messages == ["errata: another run took over, since this one slept: both make x now"]
    assert names(path) == [mine.name], "it is another's"


def wait_for(ready: Any) -> None:
    end = time.monotonic() + 10
    while not ready():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_a_store_that_stops_answering_for_a_while_is_asked_again(
    s3: Store, path: ObjectPath, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(lease, "BEAT", 0.05)
    with exclusive(path, "x"):
        (mine,) = path.parent.iterdir()
        s3.refuse = lambda method, path: True
        time.sleep(0.2)
        s3.obey()
        first = mine.read_bytes()
        wait_for(lambda: mine.read_bytes() != first)
    assert caplog.messages == [] and names(path) == []


def test_a_store_without_conditional_writes_is_told_in_one_line(
    s3: Store, path: ObjectPath, caplog: pytest.LogCaptureFixture
) -> None:
    with exclusive(path, "x"):
        assert caplog.messages == []
    s3.conditional = False
    with exclusive(path, "x"):
        (said,) = caplog.messages
        assert f"the store of {path} has no conditional writes: do not start this run twice at once" in said
        with pytest.raises(StoreError, match="another run"):
            exclusive(path, "x").__enter__()
    assert names(path) == []


def test_a_store_that_refuses_is_told(s3: Store, path: ObjectPath) -> None:
    s3.refuse = lambda method, path: method == "PUT"
    with pytest.raises(StoreError, match=r"cannot lock s3://.*: Access Denied: mend that"):
        exclusive(path, "x").__enter__()
