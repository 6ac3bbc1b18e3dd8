"""One order of rows, whatever parts they came in: sorted by key, and cut into row groups by content.

A part file carries four narrow columns in front of the record's own: the key that rows are sorted by, the split, the
row's hash and its size. They are all that has to be in memory for every row at once; the rows themselves are gathered a
row group at a time. A row group ends at a row whose own hash says so, with a chance in proportion to its size, so that
a row added to a later version moves the boundaries near it and no others (Parquet's content-defined chunking alone is
undone by row groups of a fixed number of rows).
"""

import re
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from errata.errors import StoreError
from errata.records.arrow import to_table
from errata.records.types import Drop, Episode
from errata.store.hashing import digests

KEYS = pa.schema(
    [
        pa.field("_key", pa.string(), nullable=False),
        pa.field("_split", pa.string(), nullable=False),
        pa.field("_digest", pa.binary(32), nullable=False),
        pa.field("_size", pa.int64(), nullable=False),
    ]
)
GROUP_LEAST = 4 << 20
"""A row group holds at least this much canonical JSON, in bytes, unless it is a shard's last."""
GROUP_SPREAD = 4 << 20
"""Further bytes, on average, until a row ends the group."""
GROUP_MOST = 16 << 20
"""A row group ends after the row that reaches this, whatever the row's hash."""

_SPLIT = re.compile(r"[A-Za-z0-9_]{1,64}")
Source = Callable[[], pa.Table]
"""Opens one keyed table; called again for every row group, so that no more than one is mapped at a time."""


class Rows(NamedTuple):
    """Where the rows of one split lie, in their final order."""

    source: npt.NDArray[np.int32]
    row: npt.NDArray[np.int32]
    sizes: npt.NDArray[np.int64]
    digests: npt.NDArray[np.uint8]
    """32 bytes a row: arrays, as a million Python objects would be what a long run needs most memory for."""

    @classmethod
    def none(cls) -> "Rows":
        """No rows."""
        none = np.arange(0, dtype=np.int32)
        return cls(none, none, np.arange(0), np.zeros((0, 32), np.uint8))


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


def arrange(sources: Sequence[Source], *, config: str, dropped: Collection[str], unique: bool) -> dict[str, Rows]:
    """The final order of all rows that are not dropped, by split.

    Raises StoreError if two rows share a key where keys are `unique`, or if a dropped key is no row's.
    """
    narrow = [source().select(KEYS.names) for source in sources]
    lengths = [t.num_rows for t in narrow]
    table = pa.concat_tables(narrow)
    source = np.repeat(np.arange(len(narrow), dtype=np.int32), lengths)
    row = np.concatenate([np.arange(n, dtype=np.int32) for n in lengths] or [np.arange(0, dtype=np.int32)])
    order = pc.sort_indices(table, [("_key", "ascending"), ("_digest", "ascending")]).to_numpy()
    if dropped:
        gone = pc.is_in(table["_key"], value_set=pa.array(sorted(dropped), pa.string())).to_numpy()
        if (found := int(gone.sum())) != len(set(dropped)):
            raise StoreError(f"{config}: {len(set(dropped))} rows were to be dropped, but {found} of those ids exist")
        order = order[~gone[order]]
    if unique:
        _refuse_twins(table["_key"].take(pa.array(order)), config)
    splits = table["_split"].dictionary_encode().combine_chunks()
    of = splits.indices.to_numpy()[order] if len(order) else order
    names = splits.dictionary.to_pylist()
    sizes, held = table["_size"].to_numpy(), _bytes(table["_digest"].combine_chunks())
    arranged = {}
    for split in sorted({names[i] for i in np.unique(of)}):
        mine = order[of == names.index(split)]
        arranged[split] = Rows(source[mine], row[mine], sizes[mine], held[mine])
    return arranged


def row_groups(rows: Rows, first: int, last: int) -> Iterator[tuple[int, int]]:
    """Where the row groups of rows `first` to `last` begin and end."""
    start, size = first, 0
    drawn = rows.digests[:, :4].copy().view(">u4")[:, 0]
    for i in range(first, last):
        own = int(rows.sizes[i])
        size += own
        chosen = size >= GROUP_LEAST and int(drawn[i]) / (1 << 32) < own / GROUP_SPREAD
        if chosen or size >= GROUP_MOST or i + 1 == last:
            yield start, i + 1
            start, size = i + 1, 0


def gather(sources: Sequence[Source], rows: Rows, start: int, end: int) -> pa.Table:
    """Rows `start` to `end` in their final order, copied from their sources, without the narrow columns."""
    source, row = rows.source[start:end], rows.row[start:end]
    by_source = np.argsort(source, kind="stable")
    pieces = []
    for index in np.unique(source):
        table = sources[index]()
        pieces.append(
            table.select(table.column_names[len(KEYS) :]).take(pa.array(row[by_source][source[by_source] == index]))
        )
    back = np.empty_like(by_source)
    back[by_source] = np.arange(len(by_source))
    return pa.concat_tables(pieces).take(pa.array(back)).combine_chunks()


def _bytes(column: pa.Array) -> npt.NDArray[np.uint8]:
    """Digests as rows of 32 bytes."""
    held = np.frombuffer(column.buffers()[1], np.uint8) if len(column) else np.zeros(0, np.uint8)
    return held.reshape(-1, 32)[column.offset : column.offset + len(column)]


def _refuse_twins(column: pa.ChunkedArray, config: str) -> None:
    keys = column.combine_chunks()
    if len(keys) < 2:
        return
    same = pc.equal(keys.slice(1), keys.slice(0, len(keys) - 1))
    if pc.any(same).as_py():
        twin = keys[pc.index(same, True).as_py()].as_py()
        raise StoreError(
            f"{config}: two rows have the id {twin!r}, and an id must be one row's: look at where they come from"
        )
