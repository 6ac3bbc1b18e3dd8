"""The lines of a journal in a folder: files that are only added to, and what was added to them is on disk.

Each change is announced by `before(operation, path)`, as those of errata.store.files are, so that a test can fail the
k-th. What changes a file raises OSError; a failed sync is never tried again on the same file.
"""

import errno
import os
import time
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from errata.errors import StoreError

Before = Callable[[str, Any], None]
"""Called with the name of an operation (create, write, fsync, mkdir, put) and its path."""
FLUSH_SECONDS = 0.03
"""A compromise: each flush wakes a thread and then the loop, and what came since the last one is asked again after a
kill, which is to be less than 0.2 % of half a run of a minute."""


class Lines(Protocol):
    """Where a journal's lines lie: `Folder` here, `Segments` on an object store, `Packed` in Parquet files."""

    flush_seconds: float
    """Lines that come within this time are added together."""

    @property
    def torn(self) -> int:
        """Lines that a writer left unfinished, or is still at."""
        ...

    def fresh(self) -> Iterator[tuple[int, bytes]]:
        """(place, line) of each whole line that others added since the last look. Raises StoreError."""
        ...

    def line(self, place: int) -> bytes:
        """The line there."""
        ...

    def append(self, names: Sequence[bytes], data: bytes) -> None:
        """Returns when the lines of `data` are durable, and those of `names` before them in the same file."""
        ...

    def close(self) -> None: ...


class Folder:
    """The files of a folder: those of other writers, read from where the last look ended, and one of this one's own.

    A place is the number of a file and the offset in it, 44 bits.
    """

    flush_seconds = FLUSH_SECONDS

    def __init__(self, folder: Path, before: Before, wall: Callable[[], float] = time.time) -> None:
        self.folder, self._before, self._wall = folder, before, wall
        self._torn: set[Path] = set()
        self._files: list[Path] = []
        self._read: dict[Path, int] = {}
        self._handles: dict[int, int] = {}
        self._own: Log | None = None
        self._named = 0

    @property
    def torn(self) -> int:
        return len(self._torn)

    def fresh(self) -> Iterator[tuple[int, bytes]]:
        """What others added; it is durable once the last line is taken."""
        read = []
        paths = [p for p in sorted(self.folder.glob("*.jsonl")) if self._own is None or p != self._own.path]
        for path in paths:
            if path not in self._read:
                self._files.append(path)
                self._read[path] = 0
            number = self._files.index(path)
            start = self._read[path]
            try:
                for offset, line in self._scan(path):
                    yield number << 44 | offset, line
            except OSError as error:
                raise StoreError(f"the journal {path} cannot be read ({error.strerror or error})") from error
            if self._read[path] > start:
                read.append(path)
        try:
            # Their writers may have died between a write and its sync, and what is used from now on must last.
            settle(self.folder, read, self._before)
        except OSError as error:
            raise StoreError(f"the journal in {self.folder} cannot be made durable ({reason(error)})") from error

    def _scan(self, path: Path) -> Iterator[tuple[int, bytes]]:
        self._torn.discard(path)
        with path.open("rb") as file:
            file.seek(self._read[path])
            offset = self._read[path]
            for line in file:
                if line[-1:] != b"\n":
                    # A writer died within this line, or is still at it: look again at the next refresh.
                    self._torn.add(path)
                    break
                yield offset, line
                offset += len(line)
            self._read[path] = offset

    def line(self, place: int) -> bytes:
        """The line there, as far as it is there."""
        number, offset = place >> 44, place & (1 << 44) - 1
        handle = self._handles.get(number)
        if handle is None:
            handle = self._handles[number] = os.open(self._files[number], os.O_RDONLY)
        return line_at(handle, offset)

    def append(self, names: Sequence[bytes], data: bytes) -> None:
        """Add to this writer's own file, which names each engine once."""
        if self._own is None:
            self._own = create(self.folder / f"{int(self._wall() * 1e9):020d}-{os.getpid()}.jsonl", self._before)
        new, self._named = names[self._named :], len(names)
        self._own.append(b"".join((*new, data)))

    def close(self) -> None:
        for handle in (*self._handles.values(), *([self._own.handle] if self._own is not None else [])):
            os.close(handle)
        self._handles.clear()
        self._own = None


def frame(payload: bytes) -> bytes:
    """A line of a journal: what it holds after its checksum."""
    return b"%08x %s\n" % (zlib.crc32(payload), payload)


def line_at(handle: int, offset: int) -> bytes:
    """The line that begins there in an open file."""
    line = b""
    while not line.endswith(b"\n"):
        piece = os.pread(handle, 8192, offset + len(line))
        if not piece:
            break
        end = piece.find(b"\n")
        line += piece if end < 0 else piece[: end + 1]
    return line


def reason(error: Exception) -> str:
    """What an error says, in few words."""
    if not isinstance(error, OSError):
        return f"{type(error).__name__}: {error}"
    return f"{error.strerror or error}{f': {error.filename}' if error.filename else ''}"


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
