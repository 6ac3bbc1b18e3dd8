"""Parts: the unit of commit. A part is written once, whole, or it does not exist.

A worker writes the episodes, drops and exported rows of some 256 problems into a folder under a temporary name, syncs
it and renames it to `part-00012/`. The rename is the commit: a worker that finds the part there was slower, and
discards its own, which holds the same rows. A part whose files are not what was written is set aside and made again.

On an object store a part is one object, `part-00012.tar`, put where none is; `done` fetches what it finds to the local
disk, and all else is as it is there.
"""

import io
import re
import shutil
import tarfile
import tempfile
import weakref
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO, Any, NamedTuple

import pyarrow as pa

from errata.errors import StoreError
from errata.objects import Location, ObjectPath, read_each
from errata.records.arrow import from_table
from errata.records.types import FORMAT_VERSION, Drop, Episode
from errata.store.files import Files, discard, failure, read_sealed, scratch, sealed, sweep, temporary
from errata.store.hashing import Total, file_sha256, schema_hash
from errata.store.order import KEYS, Source, keyed_table

_NAME = re.compile(r"part-(\d{5,})(?:\.tar)?")


@dataclass(frozen=True, slots=True, kw_only=True)
class PartFile:
    """The rows of one config in one part."""

    bytes: int
    sha256: str
    rows: int
    schema: str
    """Hash of the record's Arrow schema."""
    sum: str
    """Sum of the rows' hashes, as 64 hexadecimal digits: see errata.store.hashing."""

    @property
    def total(self) -> Total:
        return Total(self.rows, int(self.sum, 16))


@dataclass(frozen=True, slots=True, kw_only=True)
class PartInfo:
    """A committed part: what `part.json` says."""

    index: int
    counts: dict[str, Any]
    """Whatever the runner counted."""
    files: dict[str, PartFile]
    """By config."""


class Found(NamedTuple):
    """The parts that can be used, by index in ascending order, and those that were set aside, one line each."""

    parts: dict[int, PartInfo]
    damaged: list[str]


class Parts:
    """The work folder of one run of one pipeline version.

    `types` gives the record's type of every config: `episodes`, `drops` and one per export.
    """

    def __init__(self, folder: Location, types: Mapping[str, type], files: Files | None = None) -> None:
        if types.get("episodes") is not Episode or types.get("drops") is not Drop:
            raise StoreError("a store of parts needs the configs 'episodes' of Episode and 'drops' of Drop")
        self.folder = folder
        self.types = dict(types)
        self.files = files or Files()
        self._local = folder if isinstance(folder, Path) else scratch(folder)
        if isinstance(folder, ObjectPath):
            weakref.finalize(self, shutil.rmtree, self._local, ignore_errors=True)

    def path(self, index: int) -> Path:
        """The folder of a committed part; on this disk, wherever it was committed."""
        return self._local / f"part-{index:05d}"

    def commit(
        self,
        index: int,
        episodes: Sequence[Episode],
        drops: Sequence[Drop],
        rows: Mapping[str, Sequence[Any]],
        counts: Mapping[str, Any],
    ) -> bool:
        """Write a part and make it visible; False, and nothing changed, if another worker was faster.

        `rows` are exported rows by config; a config without rows may be left out. `counts` is JSON. Raises StoreError
        when a value cannot be stored or the disk refuses; then nothing is visible and the part can be committed again.
        """
        unknown = sorted(rows.keys() - self.types.keys() | rows.keys() & {"episodes", "drops"})
        if unknown:
            raise StoreError(
                f"part {index}: rows for {', '.join(unknown)}, but the exports are {', '.join(self._exports)}"
            )
        if self._committed(index).exists():
            return False
        content = {"episodes": episodes, "drops": drops, **{name: rows.get(name, ()) for name in self._exports}}
        self.files.settle(self.folder)
        made = temporary(self.path(index))
        try:
            self._write(made, index, content, counts)
            if isinstance(place := self._committed(index), ObjectPath):
                won = self.files.create_object(place, pack(made))
            else:
                won = self.files.claim(made, place)
        except Exception:
            discard(made)
            raise
        discard(made)
        return won

    def done(self) -> Found:
        """Every committed part whose files are, byte for byte, what was written. Damaged ones are removed."""
        sweep(self.folder, "part-")
        parts: dict[int, PartInfo] = {}
        damaged = []
        for index in self._fetched():
            try:
                parts[index] = self._verified(index)
            except StoreError as error:
                damaged.append(f"part {index} is made again: {error}")
                aside = temporary(self.path(index))
                if self.files.claim(self.path(index), aside):
                    self.files.remove(aside)
                if isinstance(place := self._committed(index), ObjectPath):
                    self.files.remove(place)
        return Found(parts, damaged)

    def read(self, index: int, config: str) -> pa.Table:
        """The rows of one config in one part, sorted by id: a memory map, so columns that are not used cost nothing."""
        table = self._keyed(index, config)
        return table.select(table.column_names[len(KEYS) :])

    def rows(self, index: int, config: str) -> Iterator[Any]:
        """The records of one config in one part, sorted by id."""
        for batch in self.read(index, config).to_batches(max_chunksize=64):
            yield from from_table(pa.Table.from_batches([batch]), self.types[config])

    def sources(self, config: str, indices: Sequence[int]) -> list[Source]:
        """What errata.store.order sorts: one keyed table a part."""
        return [partial(self._keyed, index, config) for index in indices]

    @contextmanager
    def scratch(self) -> Iterator[IO[bytes]]:
        """An unnamed file beside the parts, of which nothing is left, however a run ends. Raises StoreError."""
        try:
            with tempfile.TemporaryFile(dir=self._local if self._local.is_dir() else None) as file:
                yield file
        except OSError as error:
            raise StoreError(failure("sort the rows in", self._local, error)) from error

    def _committed(self, index: int) -> Location:
        """What is there once the part is committed."""
        return self.folder / f"part-{index:05d}.tar" if isinstance(self.folder, ObjectPath) else self.path(index)

    def _fetched(self) -> list[int]:
        """The indices of all that look like parts, which lie on this disk now."""
        found = [(int(m[1]), p) for p in self.folder.glob("part-*") if (m := _NAME.fullmatch(p.name))]
        new = {p: i for i, p in found if isinstance(p, ObjectPath) and not self.path(i).exists()}
        try:
            for path, data in read_each(sorted(new)):
                unpack(data, self.path(new[path]))
        except OSError as error:
            raise StoreError(f"cannot fetch the parts in {self.folder}: {error.strerror or error}") from error
        return sorted(index for index, _ in found)

    @property
    def _exports(self) -> list[str]:
        return [name for name in self.types if name not in ("episodes", "drops")]

    def _file(self, index: int, config: str) -> Path:
        return self.path(index) / f"{config}.arrow"

    def _keyed(self, index: int, config: str) -> pa.Table:
        path = self._file(index, config)
        try:
            with pa.memory_map(str(path)) as source:
                return pa.ipc.open_file(source).read_all()
        except (OSError, pa.ArrowException) as error:
            raise StoreError(f"cannot read {path}: {error}") from error

    def _write(self, folder: Path, index: int, content: Mapping[str, Sequence[Any]], counts: Mapping[str, Any]) -> None:
        self.files.mkdir(folder)
        described = {}
        for config, rows in content.items():
            record_type = self.types[config]
            table = keyed_table(rows, record_type)
            with (
                self.files.create(folder / f"{config}.arrow") as output,
                pa.ipc.new_file(output, table.schema) as writer,
            ):
                writer.write_table(table)
            total = Total().plus(table["_digest"].to_pylist())
            described[config] = {
                **output.stored._asdict(),
                "rows": total.rows,
                "schema": schema_hash(record_type),
                "sum": f"{total.sum:064x}",
            }
        body = {"format": FORMAT_VERSION, "index": index, "counts": dict(counts), "files": described}
        self.files.write_bytes(folder / "part.json", sealed(body))
        self.files.sync(folder)

    def _verified(self, index: int) -> PartInfo:
        body = read_sealed(self.path(index) / "part.json")
        if body.get("format") != FORMAT_VERSION or body.get("index") != index:
            raise StoreError(f"{self.path(index)} is part {body.get('index')} in format {body.get('format')}")
        files = {config: PartFile(**entry) for config, entry in body["files"].items()}
        if {c: f.schema for c, f in files.items()} != {c: schema_hash(t) for c, t in self.types.items()}:
            raise StoreError(f"{self.path(index)} holds other configs or columns than this run")
        for config, entry in files.items():
            path = self._file(index, config)
            if not path.is_file() or path.stat().st_size != entry.bytes or file_sha256(path) != entry.sha256:
                raise StoreError(f"{path} is not what was written")
        return PartInfo(index=index, counts=body["counts"], files=files)


def pack(folder: Path) -> bytes:
    """The files of a folder as one archive."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for path in sorted(folder.iterdir()):
            data = path.read_bytes()
            told = tarfile.TarInfo(path.name)
            told.size = len(data)
            archive.addfile(told, io.BytesIO(data))
    return out.getvalue()


def unpack(data: bytes, folder: Path) -> None:
    """The inverse of `pack`; of a damaged archive, what can be had."""
    folder.mkdir(parents=True)
    try:
        with tarfile.open(fileobj=io.BytesIO(data)) as archive:
            for told in archive:
                if (file := archive.extractfile(told)) is not None and Path(told.name).name == told.name:
                    (folder / told.name).write_bytes(file.read())
    except tarfile.TarError:
        return  # whoever reads the files finds out
