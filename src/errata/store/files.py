"""Every change that the store makes, on disk or on an object store, durable and atomic, through one small class.

A file is written whole and synced under a name that no reader looks for; only a rename makes it visible. A folder that
holds a whole part or version is claimed by renaming it to a name that must not exist yet, so of two writers one loses.
On an object store (errata.objects) nothing can be renamed: there a whole folder is made on the local disk, and put
object by object, the one that readers look for last, where nothing may be yet.

All of it passes `before(operation, path)`, where a test (or a drill on a real disk) can fail the k-th operation. A
failed sync is fatal: it is never tried again on the same file.
"""

import errno
import hashlib
import io
import json
import os
import re
import secrets
import shutil
import socket
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

from errata.errors import StoreError
from errata.objects import Location, ObjectPath, tree
from errata.records.ids import canonical

Before = Callable[[str, Any], None]
"""Called with the name of an operation (create, write, fsync, rename, claim, mkdir, remove, put) and its path."""

_HOST = re.sub(r"[^A-Za-z0-9]", "", socket.gethostname())[:32] or "host"
_TEMPORARY = re.compile(r".*\.tmp-(?P<host>[A-Za-z0-9]+)-(?P<pid>\d+)-[0-9a-f]{8}")
_BUFFER = 1 << 20


class Stored(NamedTuple):
    """What a written file holds."""

    bytes: int
    sha256: str


class Sink(io.RawIOBase):
    """A new file that is hashed as it is written; made by `Files.create`."""

    def __init__(self, files: "Files", path: Path) -> None:
        self._files = files
        self._path = path
        self._hash = hashlib.sha256()
        self._bytes = 0
        with files.step("create", path):
            self._file = open(path, "xb", buffering=0)  # noqa: SIM115  closed by close()

    @property
    def stored(self) -> Stored:
        """Size and hash of what has been written so far."""
        return Stored(self._bytes, self._hash.hexdigest())

    def writable(self) -> bool:
        """Always: this is an output."""
        return True

    def write(self, data: Any) -> int:
        """Write all of `data`."""
        view = memoryview(data).cast("B")
        with self._files.step("write", self._path):
            written = 0
            while written < len(view):
                written += self._file.write(view[written:])
        self._hash.update(view)
        self._bytes += len(view)
        return len(view)

    def sync(self) -> None:
        """Make what was written durable."""
        with self._files.step("fsync", self._path):
            os.fsync(self._file.fileno())

    def close(self) -> None:
        if not self.closed:
            self._file.close()
        super().close()


class Output:
    """A buffered `Sink`: what a writer of Parquet or Arrow files is given."""

    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self._pending = bytearray()
        self._position = 0
        self.closed = False

    def write(self, data: Any) -> int:
        """Write all of `data`, sooner or later."""
        view = memoryview(data)
        self._pending += view
        self._position += view.nbytes
        if len(self._pending) >= _BUFFER:
            self._drain()
        return view.nbytes

    def tell(self) -> int:
        """Bytes written so far."""
        return self._position

    def flush(self) -> None:
        """Nothing: what counts is the sync at the end."""

    def close(self) -> None:
        """Nothing: whoever made the file closes it, once it is synced."""

    @property
    def stored(self) -> Stored:
        """Size and hash of the file; final once the block of `Files.create` is left."""
        return self._sink.stored

    def finish(self) -> None:
        """Write what is pending and sync."""
        self._drain()
        self._sink.sync()

    def _drain(self) -> None:
        if self._pending:
            pending, self._pending = self._pending, bytearray()
            self._sink.write(pending)


class Files:
    """Durable changes to a file system. Raises StoreError with the path and the reason when one fails."""

    def __init__(self, before: Before | None = None) -> None:
        self._before = before

    @contextmanager
    def step(self, operation: str, path: Location) -> Iterator[None]:
        """One change: announced first, its OSError told as one line."""
        try:
            if self._before is not None:
                self._before(operation, path)
            yield
        except OSError as error:
            raise StoreError(failure(operation, path, error)) from error

    @contextmanager
    def create(self, path: Path) -> Iterator[Output]:
        """A new file, synced when the block ends without an error. The file must not exist."""
        with Sink(self, path) as sink:
            output = Output(sink)
            yield output
            output.finish()

    def write_bytes(self, path: Path, data: bytes) -> Stored:
        """Write and sync a new file."""
        with self.create(path) as output:
            output.write(data)
        return output.stored

    def replace(self, path: Location, data: bytes) -> None:
        """Put `data` in the place of `path`, at once."""
        if isinstance(path, ObjectPath):
            with self.step("put", path):
                path.put(data)
            return
        made = temporary(path)
        try:
            self.write_bytes(made, data)
            with self.step("rename", path):
                os.replace(made, path)
        except Exception:
            made.unlink(missing_ok=True)
            raise
        self.sync(path.parent)

    def claim(self, made: Path, target: Path) -> bool:
        """Rename a whole, synced folder to `target`; False, and nothing changed, if `target` exists."""
        with self.step("claim", target):
            try:
                os.rename(made, target)
            except OSError as error:
                if error.errno in (errno.ENOTEMPTY, errno.EEXIST):
                    return False
                raise
        self.sync(target.parent)
        return True

    def publish(self, made: Path, target: Location, last: str) -> bool:
        """Let a whole, synced folder appear as `target`; False, and nothing changed, if that exists.

        Objects exist once their `last` file does; what else a run that died left there is removed.
        """
        if isinstance(target, Path):
            return self.claim(made, target)
        with self.step("claim", target):
            if (target / last).exists():
                return False
            names, found = tree(made), tree(target)
        for name in sorted(found - names):
            self.remove(target / name)
        for name in sorted(names - {last}):
            with self.step("put", target / name):
                (target / name).put_file(made / name)
        return self.create_object(target / last, (made / last).read_bytes())

    def create_object(self, path: ObjectPath, data: bytes) -> bool:
        """Write an object where nothing is; whether it holds `data` now."""
        with self.step("claim", path):
            return path.create(data)

    def mkdir(self, folder: Path) -> None:
        """Make a folder and those above it; `claim` or `sync_tree` make it durable."""
        with self.step("mkdir", folder):
            folder.mkdir(parents=True, exist_ok=True)

    def settle(self, folder: Location) -> None:
        """Make a folder and those above it, durably."""
        if isinstance(folder, ObjectPath):
            return
        if not folder.is_dir():
            self.settle(folder.parent)
            with self.step("mkdir", folder):
                folder.mkdir(exist_ok=True)
        # Also where it was there: whoever made it may have died before that was durable. A folder above ours may be
        # one that we can only pass through.
        if os.access(folder.parent, os.R_OK):
            self.sync(folder.parent)

    def sync(self, folder: Location) -> None:
        """Make the entries of a folder durable."""
        if isinstance(folder, ObjectPath):
            return
        with self.step("fsync", folder):
            handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
            try:
                os.fsync(handle)
            finally:
                os.close(handle)

    def sync_tree(self, folder: Path) -> None:
        """Make the entries of a folder, and of all below it, durable."""
        for below, _, _ in os.walk(folder, topdown=False):
            self.sync(Path(below))

    def remove(self, folder: Location) -> None:
        """Remove a folder and all in it; what is not there, or another removes meanwhile, is removed already."""
        with self.step("remove", folder):
            if isinstance(folder, ObjectPath):
                folder.remove()
                return
            while folder.exists():
                with suppress(FileNotFoundError):
                    shutil.rmtree(folder)


def temporary(path: Path) -> Path:
    """A name beside `path` that no reader looks for, and that tells whose it is."""
    return path.with_name(f"{path.name}.tmp-{_HOST}-{os.getpid()}-{secrets.token_hex(4)}")


def scratch(path: Location) -> Path:
    """`temporary(path)`, or a name on the local disk for what will be put on an object store.

    What dead processes of this host left there is removed.
    """
    if isinstance(path, Path):
        sweep(path.parent, f"{path.name}.tmp-")
        return temporary(path)
    own = Path(tempfile.gettempdir()) / f"errata-{os.getuid()}"
    try:
        own.mkdir(mode=0o700, exist_ok=True)
        mine = own.lstat().st_uid == os.getuid() and not own.is_symlink()
    except OSError as error:
        raise StoreError(f"cannot mkdir {own}: {error.strerror}: name another folder by TMPDIR") from error
    if not mine:
        raise StoreError(f"{own} is not this user's folder: name another by TMPDIR")
    sweep(own, "")
    return temporary(own / path.name)


def discard(folder: Path) -> None:
    """Free the space of an unfinished folder, as far as that is possible; leftovers harm nobody."""
    shutil.rmtree(folder, ignore_errors=True)


def sweep(folder: Location, stem: str) -> None:
    """Remove what dead processes of this host left unfinished: temporary names that begin with `stem`."""
    if isinstance(folder, ObjectPath):
        return
    for path in folder.glob(f"{stem}*"):
        match = _TEMPORARY.fullmatch(path.name)
        if match and match["host"] == _HOST and not alive(int(match["pid"])):
            discard(path)
            if path.is_file():
                path.unlink(missing_ok=True)


def alive(pid: int) -> bool:
    """Whether this host has such a process."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


def failure(operation: str, path: Location, error: OSError) -> str:
    """What could not be done, why, and what to do about it."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"cannot {operation} {path}: disk full: free space and run the same command again"
    reason = error.strerror or str(error)
    return f"cannot {operation} {path}: {reason}: mend that and run the same command again"


def sealed(body: dict[str, Any]) -> bytes:
    """JSON text with sorted keys and a `seal`: the SHA-256 of everything else in it, so that damage shows."""
    seal = hashlib.sha256(canonical(body).encode()).hexdigest()
    return render_json({**body, "seal": seal})


def render_json(value: Any) -> bytes:
    """Readable JSON text, one for one value."""
    return (json.dumps(value, indent=1, sort_keys=True, ensure_ascii=True, allow_nan=False) + "\n").encode()


def read_sealed(path: Location) -> dict[str, Any]:
    """The body that `sealed` wrote. Raises StoreError if the file is missing or differs by one bit."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise StoreError(f"cannot read {path}: {error.strerror or error}") from error
    try:
        body = json.loads(data)
        seal = body.pop("seal")
        whole = data == sealed(body)
    except (ValueError, RecursionError, KeyError, TypeError, AttributeError) as error:
        raise StoreError(f"{path} is damaged: it is not the JSON that was written") from error
    if not whole or not isinstance(seal, str):
        raise StoreError(f"{path} is damaged: its content does not match its seal")
    return dict(body)
