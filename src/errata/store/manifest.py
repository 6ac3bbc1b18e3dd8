"""Reading and writing the manifest, and finding the version that a path means.

A version is a folder with a manifest that matches its seal; anything else does not exist for readers. `LATEST`, beside
the versions, names the newest.
"""

import re
from typing import Any

import msgspec
import pyarrow as pa

from errata.errors import StoreError
from errata.objects import Location
from errata.records.manifest import FileEntry, Manifest, manifest_schema
from errata.records.types import FORMAT_VERSION
from errata.store.files import Files, read_sealed, sealed, sweep

MANIFEST = "_manifest/manifest.json"
METRICS = "_manifest/metrics.json"
RUN = "_manifest/run.json"
CARD = "README.md"
LATEST = "LATEST"

PARQUET: dict[str, Any] = {
    "version": "2.6",
    "compression": "zstd",
    "compression_level": 3,
    "write_page_checksum": True,
    "write_page_index": True,
    "use_content_defined_chunking": True,
}
"""Options of pyarrow's ParquetWriter. Without page checksums, most flipped bits read back as wrong data."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")


def check_name(kind: str, name: str) -> str:
    """`name`, if it can name a folder. Raises StoreError otherwise."""
    if not _NAME.fullmatch(name):
        raise StoreError(
            f"{name!r} cannot name a {kind}: use letters, digits, '.', '_' and '-', and begin with a letter or digit"
        )
    return name


def writer(shard: dict[str, int]) -> dict[str, Any]:
    """What wrote the Parquet files, and how they were cut: their bytes depend on it, the content hash does not."""
    return {"library": f"pyarrow {pa.__version__}", "options": PARQUET, "shard": shard}


def data_path(config: str, split: str, shard: int, shards: int) -> str:
    """Path of one Parquet file, relative to the version's folder."""
    return f"data/{config}/{split}-{shard:05d}-of-{shards:05d}.parquet"


def manifest_bytes(manifest: Manifest) -> bytes:
    """The text of `manifest.json`: equal manifests give equal bytes."""
    return sealed(msgspec.to_builtins(manifest))


def read_manifest(version: Location) -> Manifest:
    """The manifest of a version's folder. Raises StoreError if it is missing, damaged or of another format."""
    return parse_manifest(version / MANIFEST)


def parse_manifest(path: Location) -> Manifest:
    """The manifest in a file, wherever that lies. Raises StoreError as `read_manifest` does."""
    from jsonschema import Draft202012Validator

    body = read_sealed(path)
    if body.get("format") != FORMAT_VERSION:
        raise StoreError(
            f"{path} is in format {body.get('format')}, not {FORMAT_VERSION}: use the errata that wrote it"
        )
    schema = manifest_schema()
    schema["required"].remove("seal")
    faults = sorted(f"{e.json_path}: {e.message}" for e in Draft202012Validator(schema).iter_errors(body))
    if faults:
        raise StoreError(f"{path} is no manifest: {faults[0]}")
    files = tuple(FileEntry(**entry) for entry in body.pop("files"))
    return Manifest(files=files, models=tuple(body.pop("models")), funnel=tuple(body.pop("funnel")), **body)


def find_version(path: Location) -> Location:
    """The version's folder that `path` means: itself, or the newest of a dataset `OUT/<name>`.

    Raises StoreError, saying what is there instead.
    """
    if (path / MANIFEST).is_file():
        return path
    latest = path / LATEST
    if latest.is_file():
        name = latest.read_text(encoding="utf-8", errors="replace").strip()
        if _NAME.fullmatch(name) and (path / name / MANIFEST).is_file():
            return path / name
        raise StoreError(f"{latest} names {name[:80]!r}, which is no version: {_versions(path)}")
    if not path.exists():
        raise StoreError(f"there is no dataset at {path}: it does not exist")
    raise StoreError(
        f"{path} is neither a dataset (no {LATEST}) nor a version of one (no {MANIFEST}): {_versions(path)}"
    )


def point_latest(dataset: Location, version: str, files: Files) -> None:
    """Let `LATEST` name `version`, unless the version that it names was finished later.

    A run that died after its version was claimed is mended by the next one, which makes durable what that one may have
    left to chance; running an old recipe again does not make an old version the newest.
    """
    sweep(dataset, f"{LATEST}.tmp-")
    try:
        current = find_version(dataset) if (dataset / LATEST).exists() else None
    except StoreError:
        current = None
    ours = dataset / version
    if current is None or (current != ours and _finished(current) <= _finished(ours)):
        files.replace(dataset / LATEST, f"{version}\n".encode())
    else:
        files.sync(dataset)


def _finished(version: Location) -> int:
    return (version / MANIFEST).stat().st_mtime_ns


def _versions(path: Location) -> str:
    if not path.is_dir():
        return "it is a file"
    found = sorted(p.name for p in path.iterdir() if ".tmp-" not in p.name and (p / MANIFEST).is_file())
    return f"the versions there are {', '.join(found)}" if found else "no version is in it"
