"""From parts to a dataset version: sorted, sharded, hashed, and visible at once or not at all.

The whole version is assembled under a temporary name, its manifest last, and claimed by one rename (on an object store:
by its manifest, put last, where none is); a version that exists is never written again. Equal rows give equal bytes,
however many parts they came in and whoever made them.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq
from msgspec.structs import replace

from errata.errors import StoreError
from errata.memory import give_back
from errata.objects import Location
from errata.records.arrow import arrow_schema, from_table
from errata.records.manifest import FileEntry, Manifest
from errata.records.types import FORMAT_VERSION, Drop
from errata.store import manifest as manifests
from errata.store.files import Files, Stored, discard, render_json, scratch, sealed
from errata.store.hashing import Total, content_hash, schema_hash
from errata.store.order import Sorted, keyed_table, row_groups, sort, without_keys
from errata.store.parts import Parts


class Shard(NamedTuple):
    """What one Parquet file holds: so many rows at most, and fewer where they are large.

    Files of about 500 MB are what `datasets` writes itself, and bound what a writer keeps of a file until its end.
    """

    rows: int = 100_000
    bytes: int = 500_000_000
    """Canonical JSON, on average over the files of a split."""
    files: int = 32
    """A split of as many files is not divided further: a commit to the hub should not have more than 100."""

    def rows_of(self, rows: int, size: int) -> int:
        """Rows a file where a split has so many rows and bytes: halved, so that a later version seldom changes it."""
        found = self.rows
        while found > 1 and size * min(found, rows) > self.bytes * rows and rows <= found * self.files // 2:
            found //= 2
        return found


SHARD = Shard()


@dataclass(frozen=True, slots=True, kw_only=True)
class Description:
    """What a version says of itself beside its rows. All but `run` must be the same whenever the run is repeated."""

    name: str
    version: str
    pipeline_version: str
    components: Mapping[str, Any]
    recipe: Mapping[str, Any]
    models: Sequence[Mapping[str, Any]]
    funnel: Sequence[Mapping[str, Any]]
    """Entries of errata.records.manifest.FUNNEL, in the order of the stages."""
    determinism: str
    metrics: Mapping[str, Any]
    """Written to `metrics.json`."""
    run: Mapping[str, Any]
    """Written to `run.json`: what may differ between runs."""
    card: Callable[[Manifest], Mapping[str, str] | str] | str
    """The text of `README.md`, or what makes it from the manifest (which lists all files but those made here), alone or
    with the texts that belong to it, by path."""
    dropped: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """Rows that corpus operations took out: by config, the reason by id."""
    drops: Sequence[Drop] = ()
    """Drops that belong to no part, among them one for each row in `dropped`."""


class Finished(NamedTuple):
    """A version on disk."""

    path: Location
    manifest: Manifest
    new: bool
    """False if the version was there already; nothing has been changed then."""


def finish(
    parts: Parts, indices: Sequence[int], about: Description, *, out: Location, shard: Shard = SHARD
) -> Finished:
    """Write the version `out/<name>/<version>/` from the parts `indices`, and let `out/<name>/LATEST` name it.

    Raises StoreError if two rows share an id, if a dropped id is no row's, or if the disk refuses; then no version is
    visible and the same call can be made again.
    """
    dataset = out / manifests.check_name("dataset", about.name)
    target = dataset / manifests.check_name("version", about.version)
    files = parts.files
    if found := published(out, about.name, about.version):
        manifests.point_latest(dataset, about.version, files)
        return found
    files.settle(dataset)
    made = scratch(dataset / f".{about.version}")
    try:
        manifest = _assemble(made, parts, indices, about, shard)
        won = files.publish(made, target, manifests.MANIFEST)
    except Exception:
        discard(made)
        raise
    discard(made)
    if not won:
        existing = published(out, about.name, about.version)
        if existing is None:
            raise StoreError(
                f"{target} exists but holds no {manifests.MANIFEST}: move it away and run the same command again"
            )
        manifests.point_latest(dataset, about.version, files)
        return existing
    manifests.point_latest(dataset, about.version, files)
    return Finished(target, manifest, True)


def published(out: Location, name: str, version: str) -> Finished | None:
    """The version, if it is there and whole enough to be read; None if there is no such version."""
    path = out / name / version
    if not (path / manifests.MANIFEST).is_file():
        return None
    return Finished(path, manifests.read_manifest(path), False)


def sorted_rows(parts: Parts, indices: Sequence[int], config: str) -> Iterator[Any]:
    """The records of one config over all parts, by split and id: what corpus operations should see.

    Their order does not depend on how the source was cut into parts. Some row groups are in memory at a time.
    """
    with _sorted(parts, indices, config, {}, ()) as rows:
        for split in sorted(rows.splits):
            for table in row_groups(rows.tables(split), rows.splits[split]):
                yield from from_table(without_keys(table), parts.types[config])


class _Written(NamedTuple):
    """One config on disk."""

    files: list[FileEntry]
    splits: dict[str, int]
    total: Total


def _assemble(folder: Path, parts: Parts, indices: Sequence[int], about: Description, shard: Shard) -> Manifest:
    files = parts.files
    files.mkdir(folder / "_manifest")
    written = {config: _write_config(folder, parts, indices, about, config, shard) for config in parts.types}
    listed = [entry for config in written.values() for entry in config.files]
    metrics = files.write_bytes(folder / manifests.METRICS, render_json(dict(about.metrics)))
    listed.append(_entry(manifests.METRICS, metrics))
    manifest = Manifest(
        format=FORMAT_VERSION,
        name=about.name,
        version=about.version,
        pipeline_version=about.pipeline_version,
        components=dict(about.components),
        content_hash=content_hash({config: w.total for config, w in written.items()}, parts.types),
        recipe=dict(about.recipe),
        models=tuple(dict(m) for m in about.models),
        files=_by_path(listed),
        funnel=tuple(dict(f) for f in about.funnel),
        configs={config: w.splits for config, w in written.items()},
        records={config: record.__name__ for config, record in parts.types.items()},
        schemas={config: schema_hash(record) for config, record in parts.types.items()},
        writer=manifests.writer(shard._asdict()),
        determinism=about.determinism,
    )
    card = about.card if isinstance(about.card, str) else about.card(manifest)
    for path, text in ({manifests.CARD: card} if isinstance(card, str) else card).items():
        files.mkdir((folder / path).parent)
        listed.append(_entry(path, files.write_bytes(folder / path, text.encode())))
    manifest = replace(manifest, files=_by_path(listed))
    files.write_bytes(folder / manifests.RUN, sealed(dict(about.run)))
    files.write_bytes(folder / manifests.MANIFEST, manifests.manifest_bytes(manifest))
    files.sync_tree(folder)
    return manifest


def _by_path(entries: list[FileEntry]) -> tuple[FileEntry, ...]:
    return tuple(sorted(entries, key=lambda e: e.path))


def _entry(path: str, stored: Stored) -> FileEntry:
    return FileEntry(path=path, bytes=stored.bytes, sha256=stored.sha256)


@contextmanager
def _sorted(
    parts: Parts, indices: Sequence[int], config: str, dropped: Mapping[str, str], extra: Sequence[Drop]
) -> Iterator[Sorted]:
    record = parts.types[config]
    more = keyed_table(extra, record)
    sources = [*parts.sources(config, indices), lambda: more]
    with parts.scratch() as file:
        yield sort(sources, file, config=config, dropped=dropped, unique=record is not Drop)


def _write_config(
    folder: Path, parts: Parts, indices: Sequence[int], about: Description, config: str, shard: Shard
) -> _Written:
    """Write every split of one config; one without rows still gets a file, so that it can be loaded."""
    extra = about.drops if config == "drops" else ()
    record = parts.types[config]
    files = parts.files
    files.mkdir(folder / "data" / config)
    entries: list[FileEntry] = []
    with _sorted(parts, indices, config, about.dropped.get(config, {}), extra) as rows:
        splits = {split: rows.splits[split] for split in sorted(rows.splits)} or {"train": 0}
        for split, count in splits.items():
            each = shard.rows_of(count, rows.sizes[split])
            shards = max(1, -(-count // each))
            groups = row_groups(rows.tables(split), each)
            for i in range(shards):
                path = manifests.data_path(config, split, i, shards)
                tables = _next(groups, min(count - i * each, each))
                entries.append(_write_parquet(files, folder, path, record, tables))
        written = _Written(entries, splits, rows.total)
    give_back()  # what the description of a wide table's row groups took
    return written


def _next(groups: Iterator[pa.Table], rows: int) -> Iterator[pa.Table]:
    """The next row groups, so many rows of them."""
    while rows > 0:
        table = without_keys(next(groups))
        rows -= table.num_rows
        yield table
        del table
        give_back()  # or pieces of many row groups add up


def _write_parquet(files: Files, folder: Path, path: str, record: type, tables: Iterator[pa.Table]) -> FileEntry:
    """One file; each table becomes one row group."""
    footer: list[pq.FileMetaData] = []
    with files.create(folder / path) as output:
        writer = pq.ParquetWriter(output, arrow_schema(record), metadata_collector=footer, **manifests.PARQUET)
        try:
            for table in tables:
                writer.write_table(table, row_group_size=max(1, table.num_rows))
                del table  # before the next is made
        except BaseException:
            writer.is_open = False  # closing would write a footer to a file that is given up
            raise
        writer.close()
    groups = [footer[0].row_group(i).total_byte_size for i in range(footer[0].num_row_groups)]
    return replace(_entry(path, output.stored), rows=footer[0].num_rows, uncompressed=sum(groups))
