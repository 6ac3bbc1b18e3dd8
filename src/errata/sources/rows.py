"""Rows of other people's tables, read one at a time and trusted with nothing.

A row is a plain JSON object: finite numbers, text that is valid Unicode without NUL, bounded in bytes, depth and
digits, with no key twice. A row that is not comes back with its fault and place, and reading goes on.
"""

import csv
import json
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from errata.errors import MissingExtra, SourceError
from errata.sources.base import near

MAX_ROW_BYTES = 16 * 2**20
MAX_DEPTH = 64
MAX_DIGITS = 1000
"""Well under the 4,300 digits at which Python's own limit, which can be configured, would decide."""

FORMATS = (".jsonl", ".parquet", ".csv")
_BATCH = 64
"""Rows of Parquet decoded at once: a small file can hold enormous lists."""

_BRANCH = re.compile(r"main|master|HEAD|refs/(?:heads|pr|convert)/.*")


class Row(NamedTuple):
    """One row: where it stands, and either its values or what is wrong with it."""

    place: str
    """File name (never the folder) and line, e.g. `problems.jsonl line 17`."""
    values: dict[str, Any]
    fault: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Input:
    """Where rows come from: a local file, or a dataset of the hub at a fixed revision."""

    path: str = ""
    hub: str = ""
    config: str = ""
    split: str = "train"
    revision: str = ""

    @property
    def name(self) -> str:
        """What to call it in a record: no folder, so that moving a file changes nothing."""
        return Path(self.path or self.hub).name if self.path or Path(self.hub).is_dir() else self.hub

    def faults(self) -> list[str]:
        """What is wrong with the configuration."""
        if bool(self.path) == bool(self.hub):
            return ["a table is named either by path (a file) or by hub (a dataset of the hub)"]
        if self.path:
            known = ", ".join(FORMATS)
            fits = Path(self.path).suffix.lower() in FORMATS
            return [] if fits else [f"path {self.path!r} is of no known format: there are {known}"]
        if not self.revision and not Path(self.hub).is_dir():
            return [f"hub dataset {self.hub!r} needs a revision, a commit or tag, so that its rows cannot change"]
        if _BRANCH.fullmatch(self.revision):
            return [f"revision {self.revision!r} is a branch, which moves: name a commit (40 hex digits) or a tag"]
        return []

    def rows(self, roots: frozenset[str]) -> Iterator[Row]:
        """The rows in the order of the table, of which the columns `roots` are needed.

        Raises SourceError where the table cannot be read or lacks one of the columns.
        """
        if self.hub:
            return _hub(self, roots)
        path = Path(self.path)
        if not path.is_file():
            raise SourceError(_missing(path))
        return {".jsonl": _jsonl, ".parquet": _parquet, ".csv": _csv}[path.suffix.lower()](path, roots)


def _missing(path: Path) -> str:
    if path.is_dir():
        return f"{path} is a folder: name one of its files, such as {near(path.name, _tables(path))}"
    folder = path.parent
    if not folder.is_dir():
        return f"no file {path}: there is no folder {folder}; set path to a .jsonl, .parquet or .csv file"
    return f"no file {path}: beside it stand {near(path.name, _tables(folder))}; set path to the right file"


def _tables(folder: Path) -> list[str]:
    return [p.name for p in folder.iterdir() if p.suffix.lower() in FORMATS]


def _require(name: str, roots: frozenset[str], found: list[str]) -> None:
    absent = sorted(roots - set(found))
    if absent:
        raise SourceError(f"{name} has no column {', '.join(map(repr, absent))}: it has {', '.join(map(repr, found))}")


def loads(text: bytes) -> dict[str, Any]:
    """One JSON object, read strictly. Raises ValueError that says what is wrong."""
    try:
        value = json.loads(
            text.decode("utf-8"),
            object_pairs_hook=_object,
            parse_constant=_constant,
            parse_float=_float,
            parse_int=_int,
        )
    except UnicodeDecodeError as error:
        raise ValueError(f"byte {error.start + 1} is not UTF-8") from None
    except json.JSONDecodeError as error:
        raise ValueError(f"no valid JSON: {error.msg} at character {error.pos + 1}") from None
    except RecursionError:
        raise ValueError(f"nested deeper than {MAX_DEPTH} levels") from None
    if not isinstance(value, dict):
        raise ValueError("it is no JSON object")
    check(value)
    return value


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        names = [k for k, _ in pairs]
        twice = next(k for k in names if names.count(k) > 1)
        raise ValueError(f"key {twice!a} stands twice in one object")
    return found


def _constant(text: str) -> float:
    raise ValueError(f"{text} is no JSON number")


def _float(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError("a number is too large")
    return value


def _int(text: str) -> int:
    if len(text) > MAX_DIGITS:
        raise ValueError(f"a number has {len(text)} digits, more than {MAX_DIGITS}")
    return int(text)


def check(value: Any) -> None:
    """Raise ValueError unless `value` is plain, finite, valid text all through and within the limits."""
    size, pending = 0, [(value, 1)]
    while pending:
        item, depth = pending.pop()
        if depth > MAX_DEPTH:
            raise ValueError(f"nested deeper than {MAX_DEPTH} levels")
        if isinstance(item, str):
            size += len(item)
            _check_text(item)
        elif isinstance(item, dict):
            pending.extend((part, depth + 1) for entry in item.items() for part in entry)
        elif isinstance(item, list):
            pending.extend((part, depth + 1) for part in item)
        elif isinstance(item, float) and not math.isfinite(item):
            raise ValueError(f"{item} is no JSON number")
        elif item is not None and not isinstance(item, bool | int | float):
            raise ValueError(f"a value is of type {type(item).__name__}, which JSON does not have")
        if size > MAX_ROW_BYTES:
            raise ValueError(f"its text is longer than {MAX_ROW_BYTES} characters")


def _check_text(text: str) -> None:
    if "\0" in text:
        raise ValueError("a text holds a NUL character")
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        at = error.start + 1
        raise ValueError(f"character {at} of a text is half a surrogate pair or a byte that is not UTF-8") from None


def _checked(place: str, values: dict[str, Any]) -> Row:
    try:
        check(values)
    except ValueError as error:
        return Row(place, {}, str(error))
    return Row(place, values)


def _jsonl(path: Path, roots: frozenset[str]) -> Iterator[Row]:
    first = True
    with path.open("rb") as file:
        for number, line in enumerate(_lines(file), 1):
            place = f"{path.name} line {number}"
            if line is None:
                yield Row(place, {}, f"longer than {MAX_ROW_BYTES} bytes")
                continue
            text = line.removeprefix(b"\xef\xbb\xbf") if number == 1 else line
            if not text.strip():
                continue
            try:
                row = Row(place, loads(text))
            except ValueError as error:
                row = Row(place, {}, str(error))
            if first and not row.fault:
                _require(place, roots, list(row.values))
                first = False
            yield row


def _lines(file: IO[bytes]) -> Iterator[bytes | None]:
    """The lines of a file; None for one that is too long to hold."""
    while line := file.readline(MAX_ROW_BYTES + 1):
        whole = len(line) <= MAX_ROW_BYTES or line.endswith(b"\n")
        yield line if whole else None
        line = b""  # its memory is free before the rest is passed over
        while not whole:
            rest = file.readline(2**16)
            whole = not rest or rest.endswith(b"\n")


def _parquet(path: Path, roots: frozenset[str]) -> Iterator[Row]:
    # A kilobyte can hold one text of 10 MB for each of a thousand rows: as a dictionary it is in memory once, and rows
    # are made one at a time.
    try:
        schema = pq.read_schema(path)
        _require(path.name, roots, schema.names)
        texts = [f.name for f in schema if f.name in roots and pa.types.is_string(f.type)]
        with pq.ParquetFile(path, page_checksum_verification=True, read_dictionary=texts) as file:
            number = 0
            for batch in file.iter_batches(batch_size=_BATCH, columns=sorted(roots)):
                columns = dict(zip(batch.schema.names, batch.columns, strict=True))
                for i in range(batch.num_rows):
                    number += 1
                    values = {name: column[i].as_py() for name, column in columns.items()}
                    yield _checked(f"{path.name} row {number}", values)
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise SourceError(f"{path} cannot be read as Parquet: {_first_line(error)}; name another file") from error


def _csv(path: Path, roots: frozenset[str]) -> Iterator[Row]:
    with path.open(newline="", encoding="utf-8-sig", errors="surrogateescape") as file:
        reader = csv.reader(file, strict=True)
        try:
            header = next(reader, [])
        except csv.Error as error:
            raise SourceError(f"{path}: its first line names no columns: {error}") from None
        _require(path.name, roots, header)
        if len(set(header)) != len(header):
            raise SourceError(f"{path} has two columns of one name: it has {', '.join(map(repr, header))}")
        while True:
            place = f"{path.name} line {reader.line_num + 1}"
            try:
                cells = next(reader, None)
            except csv.Error as error:
                yield Row(place, {}, f"no valid CSV: {error}")
                continue
            if cells is None:
                return
            if not cells:
                continue
            if len(cells) != len(header):
                yield Row(place, {}, f"it has {len(cells)} cells, and the header {len(header)}")
                continue
            yield _checked(place, dict(zip(header, cells, strict=True)))


def _hub(table: Input, roots: frozenset[str]) -> Iterator[Row]:
    try:
        import datasets
    except ImportError:
        raise MissingExtra("datasets", "hub", f"reading the hub dataset {table.hub}") from None
    at = table.name + (f"@{table.revision}" if table.revision else "") + (f" {table.config}" if table.config else "")
    try:
        rows = datasets.load_dataset(
            table.hub, table.config or None, split=table.split, revision=table.revision or None, streaming=True
        )
        for number, values in enumerate(rows, 1):
            if number == 1:
                _require(at, roots, list(values))
            yield _checked(f"{at} {table.split} row {number}", {name: values[name] for name in roots if name in values})
    except (OSError, ValueError, datasets.exceptions.DatasetsError) as error:
        raise SourceError(f"hub dataset {at}, split {table.split!r}, cannot be read: {_first_line(error)}") from error


def _first_line(error: BaseException) -> str:
    text = str(error).strip()
    return text.split("\n", 1)[0] if text else type(error).__name__
