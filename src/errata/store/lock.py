"""One run at a time makes a version: a lock that dies with the process that holds it, and tells whose it is.

Correctness does not hang on it, since parts and versions are claimed by renames; it keeps a second run from paying for
every request again. Where the file system has no locks, there is none. On an object store it is a lease.
"""

import errno
import fcntl
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from errata.errors import StoreError
from errata.objects import Location, ObjectPath
from errata.store.lease import leased


@contextmanager
def exclusive(path: Location, what: str) -> Iterator[None]:
    """Hold the lock `path`, in a folder that exists. Raises StoreError if another process does; `what` says of what."""
    if isinstance(path, ObjectPath):
        with leased(path, what):
            yield
        return
    handle = _acquire(path, what)
    try:
        yield
    finally:
        # While it is held, so that nobody's lock but ours goes with it.
        path.unlink(missing_ok=True)
        os.close(handle)


def _acquire(path: Path, what: str) -> int:
    while True:
        try:
            handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        except OSError as error:
            raise StoreError(
                f"cannot lock {path}: {error.strerror}: mend that and run the same command again"
            ) from error
        try:
            # Not flock: a child that outlives a killed run would hold that for it.
            fcntl.lockf(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno in (errno.EACCES, errno.EAGAIN):
                holder = os.pread(handle, 200, 0).decode("utf-8", "replace").strip() or "another process"
                os.close(handle)
                raise StoreError(
                    f"another run ({holder}) is making {what}: wait until it has ended, or give this one another --out"
                ) from error
            return handle
        if _is(handle, path):
            with suppress(OSError):  # a courtesy to others, which a full disk may refuse
                os.truncate(handle, 0)
                os.pwrite(handle, f"process {os.getpid()} on {socket.gethostname()}\n".encode(), 0)
            return handle
        os.close(handle)  # its holder ended, and took the file along, between our two calls


def _is(handle: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(handle), path.stat())
    except FileNotFoundError:
        return False
