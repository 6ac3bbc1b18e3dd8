"""One order of rows, whatever parts they came in: sorted by key, and cut into row groups by content.

A part file carries four narrow columns in front of the record's own: the key that rows are sorted by, the split, the
row's hash and its size. Rows of all parts are sorted outside of memory: spread once over ranges of keys in an unnamed
file, then read and sorted a range at a time, so that memory does not grow with the rows and time grows as they do. A
row group ends at a row whose own hash says so, with a chance in proportion to its size, so that a row added to a later
version moves the boundaries near it and no others (Parquet's content-defined chunking alone is undone by row groups of
a fixed number of rows).
"""

import re
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from itertools import pairwise
from typing import IO, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from errata.errors import StoreError
from errata.records.arrow import to_table
from errata.records.types import Drop, Episode
from errata.store.hashing import Total, digests

KEYS = pa.schema(
    [
        pa.field("_key", pa.string(), nullable=False),
        pa.field("_split", pa.string(), nullable=False),
        pa.field("_digest", pa.binary(32), nullable=False),
        pa.field("_size", pa.int64(), nullable=False),
    ]
)
GROUP_LEAST = 8 << 20
"""A row group holds at least this much canonical JSON, in bytes, unless it is a shard's last.

Large enough for the description of a wide table's groups, 2 kB a column and group in the writer's memory, to stay small
beside them; the hub's viewer reads groups of up to 100 MB.
"""
GROUP_SPREAD = 8 << 20
"""Further bytes, on average, until a row ends the group."""
GROUP_MOST = 20 << 20
"""A row group ends after the row that reaches this, whatever the row's hash."""

AT_ONCE = 16 << 20
"""Canonical JSON, in bytes, of the rows that are sorted in memory together; more where that would be MANY times."""
MANY = 256
"""Ranges at most: rows are spread in pieces, of which there are as many as the square of this."""
_SAMPLES = 64
"""Keys looked at for each range, so that ranges are about equally large."""

_SPLIT = re.compile(r"[A-Za-z0-9_]{1,64}")
Source = Callable[[], pa.Table]
"""Opens one keyed table; called again when it is needed again, so that few are mapped at a time."""


def row_key(row: Any) -> str:
    """What a row is sorted by before its digest: its id, or the episode of a drop, which has none of its own.

    Drops are by far the most rows: what they say would be most of what a long run keeps in memory.
    """
    return row.episode if isinstance(row, Drop) else str(row.id)


def row_split(row: Any) -> str:
    """The split that a row belongs to; drops are all in `train`."""
    if isinstance(row, Drop):
        return "train"
    return row.problem.split if isinstance(row, Episode) else str(row.split)


def keyed_table(rows: Sequence[Any], record_type: type) -> pa.Table:
    """The rows, sorted by key, with the narrow columns in front. Raises StoreError for a name that is no split."""
    hashed = sorted(
        zip(map(row_key, rows), digests(rows, record_type), range(len(rows)), strict=True), key=lambda x: (x[0], x[1])
    )
    ordered = [rows[i] for _, _, i in hashed]
    splits = [row_split(row) for row in ordered]
    for split in set(splits):
        if not _SPLIT.fullmatch(split):
            raise StoreError(f"{split!r} cannot name a split: use up to 64 letters, digits and underscores")
    keys = [
        pa.array([key for key, _, _ in hashed], pa.string()),
        pa.array(splits, pa.string()),
        pa.array([digest.sha256 for _, digest, _ in hashed], pa.binary(32)),
        pa.array([digest.size for _, digest, _ in hashed], pa.int64()),
    ]
    table = to_table(ordered, record_type)
    return pa.Table.from_arrays([*keys, *table.columns], schema=pa.schema([*KEYS, *table.schema]))


_Places = list[tuple[int, int]]
"""Where record batches lie in a file: offset and bytes of each."""


class Sorted:
    """The rows of one config that were not dropped, in their final order; they lie in `file`, a range after another."""

    def __init__(self, file: IO[bytes], schema: pa.Schema, *, unique: bool) -> None:
        self._file, self._schema, self._unique = file, schema, unique
        self._keys: dict[int, _Places] = {}
        self._rows: dict[str, dict[int, _Places]] = {}
        self.splits: Counter[str] = Counter()
        """Rows by split."""
        self.sizes: Counter[str] = Counter()
        """Bytes of canonical JSON by split."""
        self.total = Total()

    def add(self, rows: pa.Table, borders: Sequence[str]) -> None:
        """Spread rows over the ranges that `borders` divide. Raises OSError."""
        order = pc.sort_indices(rows, [("_split", "ascending"), ("_key", "ascending"), ("_digest", "ascending")])
        ordered = rows.take(order).combine_chunks()
        self.total = self.total.plus(ordered["_digest"].to_pylist())
        keys, start = ordered["_key"].to_pylist(), 0
        for split, count in Counter(ordered["_split"].to_pylist()).items():  # in their order
            end = start + count
            cuts = [start, *(bisect_left(keys, border, start, end) for border in borders), end]
            for i, (a, b) in enumerate(pairwise(cuts)):
                for batch in ordered.slice(a, b - a).to_batches() if a < b else ():
                    self._write(self._rows.setdefault(split, {}).setdefault(i, []), batch)
                    if self._unique:
                        self._write(self._keys.setdefault(i, []), batch.select(["_key"]))
            self.splits[split] += count
            self.sizes[split] += pc.sum(ordered["_size"].slice(start, count)).as_py()
            start = end

    def refuse_twins(self, config: str) -> None:
        """Raise StoreError if two rows share a key that must be `unique`, whatever their splits."""
        for _, places in sorted(self._keys.items()):
            keys = self._read(places, KEYS.field("_key"))["_key"].combine_chunks()
            keys = keys.take(pc.sort_indices(keys))
            same = pc.equal(keys.slice(1), keys.slice(0, len(keys) - 1))
            if pc.any(same).as_py():
                twin = keys[pc.index(same, True).as_py()].as_py()
                raise StoreError(
                    f"{config}: two rows have the id {twin!r}, and an id is one row's: look at where they come from"
                )

    def tables(self, split: str) -> Iterator[pa.Table]:
        """The rows of one split with the narrow columns in front, a range at a time. Raises OSError."""
        for _, places in sorted(self._rows.get(split, {}).items()):
            yield self._ordered(places)

    def _ordered(self, places: _Places) -> pa.Table:
        table = self._read(places, *self._schema)
        order = pc.sort_indices(table, [("_key", "ascending"), ("_digest", "ascending")])
        return table.take(order).combine_chunks()

    def _write(self, places: _Places, batch: pa.RecordBatch) -> None:
        data = batch.serialize()
        places.append((self._file.tell(), data.size))
        self._file.write(data)

    def _read(self, places: _Places, *fields: pa.Field) -> pa.Table:
        batches = []
        for offset, size in places:
            self._file.seek(offset)
            batches.append(pa.ipc.read_record_batch(pa.py_buffer(self._file.read(size)), pa.schema(fields)))
        return pa.Table.from_batches(batches)


def sort(
    sources: Sequence[Source], file: IO[bytes], *, config: str, dropped: Collection[str], unique: bool,
    at_once: int = AT_ONCE,
) -> Sorted:  # fmt: skip
    """Sort all rows that are not dropped, about `at_once` bytes of them in memory at a time, the others in `file`.

    Raises StoreError if two rows share a key where keys are `unique`, or if a dropped key is no row's; OSError if the
    file refuses.
    """
    at_once = max(at_once, sum(pc.sum(source()["_size"]).as_py() or 0 for source in sources) // MANY)
    borders = _borders(sources, at_once)
    gone = pa.array(sorted(set(dropped)), pa.string())
    found = 0
    rows: Sorted | None = None
    for table in _runs(sources, at_once):
        if len(gone):
            dead = pc.is_in(table["_key"], value_set=gone)
            found += pc.sum(dead).as_py() or 0
            table = table.filter(pc.invert(dead))
        rows = rows or Sorted(file, table.schema, unique=unique)
        rows.add(table, borders)
    if found != len(gone):
        raise StoreError(f"{config}: {len(gone)} rows were to be dropped, but {found} of those ids exist")
    rows = rows or Sorted(file, KEYS, unique=unique)
    rows.refuse_twins(config)
    return rows


def _borders(sources: Sequence[Source], at_once: int) -> list[str]:
    """Keys that divide all rows into ranges of about so many bytes."""
    samples: list[tuple[str, int]] = []
    passed, every = 0, max(1, at_once // _SAMPLES)
    for source in sources:
        keyed = source()
        ends = passed + np.cumsum(keyed["_size"].to_numpy())
        crossed = np.diff(ends // every, prepend=passed // every)
        chosen = np.flatnonzero(crossed)
        samples += zip(keyed["_key"].take(pa.array(chosen)).to_pylist(), crossed[chosen].tolist(), strict=True)
        passed = int(ends[-1]) if len(ends) else passed
    borders: list[str] = []
    size = 0
    for key, weight in sorted(samples):
        if size >= _SAMPLES:
            borders.append(key)
            size = 0
        size += weight
    return borders


def _runs(sources: Sequence[Source], at_once: int) -> Iterator[pa.Table]:
    """The rows of some sources after others, about so many bytes together."""
    held: list[pa.Table] = []
    size = 0
    for source in sources:
        held.append(source())
        size += pc.sum(held[-1]["_size"]).as_py() or 0
        if size >= at_once:
            yield pa.concat_tables(held)
            held, size = [], 0
    if held:
        yield pa.concat_tables(held)


def row_groups(tables: Iterator[pa.Table], per_shard: int) -> Iterator[pa.Table]:
    """Ordered rows with the narrow columns, cut where row groups end and after every `per_shard` rows.

    A table is let go of before the next one is asked for.
    """
    held: list[pa.Table] = []
    size = passed = 0
    for table in tables:
        sizes, drawn = table["_size"].to_numpy(), _drawn(table["_digest"])
        start = 0
        for i, own in enumerate(sizes.tolist()):
            size += own
            passed += 1
            chosen = size >= GROUP_LEAST and int(drawn[i]) / (1 << 32) < own / GROUP_SPREAD
            if chosen or size >= GROUP_MOST or passed % per_shard == 0:
                yield pa.concat_tables([*held, table.slice(start, i + 1 - start)])
                held, start, size = [], i + 1, 0
        if start < len(table):
            held.append(table.slice(start))
        del table
    if held:
        yield pa.concat_tables(held)


def without_keys(table: pa.Table) -> pa.Table:
    """The record's own columns, each in one piece, so that equal rows are written as equal bytes."""
    return table.select(table.column_names[len(KEYS) :]).combine_chunks()


def _drawn(column: pa.ChunkedArray) -> npt.NDArray[np.uint32]:
    """The beginning of each row's hash, as a number."""
    return np.array([int.from_bytes(digest[:4], "big") for digest in column.to_pylist()], np.uint32)
