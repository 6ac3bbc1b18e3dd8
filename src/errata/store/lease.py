"""One run at a time makes a version, on an object store: a lease that its holder renews, and others take over.

    .making-<version>.000001     {"host": ..., "process": ..., "time": ...}

It is written where nothing is, renewed every 15 s, and stale when that has not happened for 60 s, by clocks that agree
within seconds, or when its process is one of this host and is dead. Then whoever first writes the next number has it.
What it promises is no more than what a lock is for here: that hardly ever two runs pay for the same requests. A run
that slept through its time goes on beside the other, and so do two that start together on a store without conditional
writes; parts and versions are whole objects, claimed once, so that what both make stays right.
"""

import json
import logging
import os
import secrets
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from errata.errors import StoreError
from errata.objects import ObjectPath
from errata.store.files import alive

STALE = 60.0
"""Seconds without a word from its holder after which a lease is anybody's."""
BEAT = 15.0
_LOG = logging.getLogger("errata")


@contextmanager
def leased(path: ObjectPath, what: str) -> Iterator[None]:
    """Hold the lease `path`. Raises StoreError if another process does; `what` says of what."""
    holder = {"host": socket.gethostname(), "boot": _boot(), "process": os.getpid(), "token": secrets.token_hex(8)}
    try:
        mine = _acquire(path, holder, what)
    except OSError as error:
        reason = error.strerror or error
        raise StoreError(f"cannot lock {path}: {reason}: mend that and run the same command again") from error
    ended = threading.Event()
    beating = threading.Thread(target=_beat, args=(mine, holder, what, ended), daemon=True)
    beating.start()
    try:
        yield
    finally:
        ended.set()
        beating.join()
        with suppress(OSError):  # who comes next sees that this process is dead, or waits until the lease is stale
            if _held(mine, holder):
                mine.remove()


def _acquire(path: ObjectPath, holder: dict[str, Any], what: str) -> ObjectPath:
    while True:
        found = sorted(path.parent.glob(f"{path.name}.[0-9]*"))
        number = 0
        if found:
            number = int(found[-1].name.rpartition(".")[2])
            told = _read(found[-1])
            if told is None:
                continue  # its holder ended between our two calls
            if (age := _age(told)) is not None:
                raise StoreError(
                    f"another run (process {told['process']} on {told['host']}, heard of {age:.0f} s ago) is making "
                    f"{what}: wait until it has ended, or {STALE:.0f} s if it died, or give this one another --out"
                )
        mine = path.parent / f"{path.name}.{number + 1:06d}"
        if mine.create(_body(holder)):
            break
    if mine.create(_body(holder)):  # another body, since time went on: so nothing was refused
        _LOG.warning("errata: the store of %s has no conditional writes: do not start this run twice at once", path)
    for old in found:
        old.remove()
    return mine


def _beat(mine: ObjectPath, holder: dict[str, Any], what: str, ended: threading.Event) -> None:
    """Renew the lease until the run has ended, or another has it."""
    while not ended.wait(BEAT):
        with suppress(OSError):  # the store may answer again by the next time
            if not _held(mine, holder):
                _LOG.warning("errata: another run took over, since this one slept: both make %s now", what)
                return
            mine.put(_body(holder))


def _held(mine: ObjectPath, holder: dict[str, Any]) -> bool:
    told = _read(mine)
    return told is not None and told.get("token") == holder["token"]


def _read(path: ObjectPath) -> dict[str, Any] | None:
    """Who holds a lease; None if there is none."""
    try:
        told = json.loads(path.read_bytes())
    except FileNotFoundError:
        return None
    except ValueError:
        return {}
    return told if isinstance(told, dict) else {}


def _age(told: dict[str, Any]) -> float | None:
    """Seconds since the holder renewed its lease; None if it is stale."""
    try:
        age = time.time() - float(told["time"])
        here = (told["host"], told["boot"]) == (socket.gethostname(), _boot())
        dead = here and not alive(int(told["process"]))
    except (KeyError, TypeError, ValueError):
        return None
    return None if dead or age > STALE else max(0.0, age)


def _body(holder: dict[str, Any]) -> bytes:
    return json.dumps({**holder, "time": time.time()}).encode()


def _boot() -> str:
    """Tells machines of one name apart, where the system says it."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""
