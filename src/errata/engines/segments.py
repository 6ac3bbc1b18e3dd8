"""The lines of a journal on an object store, which cannot add to an object: one object a flush, numbered by its writer.

    <time>-<random>-000007.jsonl

An object is there whole or not at all, and never changes. So reading is listing and fetching what is new, many objects
at a time, into one nameless file on the local disk, from which lines are then taken as from any journal.
"""

import io
import os
import secrets
import tempfile
import time
from collections.abc import Iterator, Sequence

from errata.engines.log import Before, line_at, reason
from errata.errors import StoreError
from errata.objects import ObjectPath, read_each

SEGMENT_SECONDS = 0.1
"""A store bills by the request, and answers in some 50 ms: so a flush waits longer for company than on a disk."""


class Segments:
    """The objects below a name. A place is an offset in the local copy."""

    flush_seconds = SEGMENT_SECONDS
    torn = 0

    def __init__(self, folder: ObjectPath, before: Before) -> None:
        self.folder, self._before = folder, before
        self._writer = f"{time.time_ns():020d}-{secrets.token_hex(4)}"
        self._number = 0
        self._known: set[str] = set()
        self._copy: int | None = None
        self._end = 0

    def fresh(self) -> Iterator[tuple[int, bytes]]:
        """What others added."""
        try:
            new = sorted(
                p
                for p in self.folder.glob("*.jsonl")
                if p.name not in self._known and not p.name.startswith(self._writer)
            )
            for path, data in read_each(new):
                self._known.add(path.name)
                yield from self._keep(data)
        except OSError as error:
            raise StoreError(f"the journal in {self.folder} cannot be read ({reason(error)})") from error

    def _keep(self, data: bytes) -> Iterator[tuple[int, bytes]]:
        if self._copy is None:
            with tempfile.TemporaryFile() as file:
                self._copy = os.dup(file.fileno())
        if not data.endswith(b"\n"):
            data += b"\n"  # damaged: no line may run on into the next object
        view = memoryview(data)
        while view:
            view = view[os.write(self._copy, view) :]
        place, self._end = self._end, self._end + len(data)
        for line in io.BytesIO(data):
            yield place, line
            place += len(line)

    def line(self, place: int) -> bytes:
        """The line there."""
        return line_at(self._copy, place) if self._copy is not None else b""

    def append(self, names: Sequence[bytes], data: bytes) -> None:
        """Write the next object, which names every engine; returns when the store has it."""
        path = self.folder / f"{self._writer}-{self._number:06d}.jsonl"
        self._number += 1
        self._before("put", path)
        path.put(b"".join((*names, data)))

    def close(self) -> None:
        """Let go of the local copy."""
        if self._copy is not None:
            os.close(self._copy)
            self._copy = None
