"""A file that is only added to, and what was added to it is on disk.

Each change is announced by `before(operation, path)`, as those of errata.store.files are, so that a test can fail the
k-th. All of it raises OSError; a failed sync is never tried again on the same file.
"""

import errno
import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

Before = Callable[[str, Path], None]
"""Called with the name of an operation (create, write, fsync, mkdir) and its path."""


@dataclass(slots=True)
class Log:
    """An open file; made by `create`."""

    path: Path
    handle: int
    before: Before
    size: int = 0
    """Bytes that are on disk."""

    def append(self, data: bytes) -> None:
        """Returns when all of `data` is on disk. After an error nothing may be added."""
        view = memoryview(data)
        while view:
            self.before("write", self.path)
            view = view[os.write(self.handle, view) :]
        try:
            self.before("fsync", self.path)
            os.fsync(self.handle)
        except OSError:
            # The kernel may hold for clean what it could not write: whoever read it back would trust a lie.
            with suppress(OSError):
                os.ftruncate(self.handle, self.size)
            raise
        self.size += len(data)


def create(path: Path, before: Before) -> Log:
    """A new file that will be there after a power loss, and so will the folders that it is in."""
    _mkdir(path.parent, before)
    before("create", path)
    log = Log(path, os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o644), before)
    try:
        _sync(path.parent, before)
    except BaseException:
        os.close(log.handle)
        raise
    return log


def settle(folder: Path, files: Sequence[Path], before: Before) -> None:
    """Make durable what others wrote to `files` of `folder`."""
    for path in files:
        _sync(path, before)
    if files:
        _sync(folder, before)
        _sync(folder.parent, before)


def _mkdir(folder: Path, before: Before) -> None:
    if not folder.is_dir():
        _mkdir(folder.parent, before)
        before("mkdir", folder)
        folder.mkdir(exist_ok=True)
    # Also where it was there: whoever made it may have died before that was durable.
    _sync(folder.parent, before)


def _sync(path: Path, before: Before) -> None:
    before("fsync", path)
    try:
        handle = os.open(path, os.O_RDONLY)
    except PermissionError:
        return  # a folder above ours that we may pass through only
    try:
        os.fsync(handle)
    except OSError as error:
        # On a medium that cannot be written nothing can be lost.
        if error.errno not in (errno.EINVAL, errno.EROFS, errno.ENOTSUP):
            raise
    finally:
        os.close(handle)
