"""Corpus operations over the parts of a run, and the rows that they are given: of parts, or of a finished version.

Narrow columns of all rows are in memory while operations run; texts are decoded a batch at a time, when one asks.
"""

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from errata import registry
from errata.corpus.base import FIELDS, ORIGIN, Narrow, Part, Rows, Selection, Text
from errata.corpus.texts import row_text
from errata.errors import StoreError
from errata.records.arrow import from_table
from errata.records.types import Drop, Problem
from errata.reports.exported import measure_rows
from errata.runners.part import Count
from errata.runners.plan import Plan
from errata.store.parts import Parts
from errata.store.reader import Dataset, parquet

_BATCH = 64
_NARROW = ("id", "episode", "split", "transition", "tags", "metrics")
_OTHERS = ("episodes", "drops")
Tables = Callable[[str, Collection[str]], Iterator[pa.Table]]
"""The rows of a config as tables: their columns that are among some, or all where none are named."""


class Operated(NamedTuple):
    """What the corpus operations of a recipe did, one after the other."""

    dropped: dict[str, dict[str, str]]
    """By config, the reason by row id."""
    drops: list[Drop]
    entries: list[dict[str, Any]]
    """Lines of the funnel."""
    figures: dict[str, Any]


def operate(plan: Plan, parts: Parts, indices: Sequence[int]) -> Operated:
    """Run the recipe's corpus operations over the rows of all parts."""
    made = Operated({}, [], [], {})
    # Narrow as they are, the columns of all rows are what a long run needs most memory for at its end.
    rows = rows_of(plan.types, _parts_tables(parts, indices)) if plan.recipe.corpus else Rows()
    for use in plan.recipe.corpus:
        component = registry.find("corpus", use.use, plan.folder)
        found = component.make(rows, **use.with_)
        reasons, told, details = found if isinstance(found, Selection) else Selection(found, {})
        if told:
            name = component.name
            made.figures[name if name not in made.figures else f"{name}_{len(made.entries)}"] = told
        count = Count(unit="rows")
        stage = f"corpus.{component.name}"
        for row in rows:
            code = reasons.get(row.id)
            count.count("filtered" if code else "out", code or "")
            if code:
                made.dropped.setdefault(row.config, {})[row.id] = code
                made.drops.append(
                    Drop(
                        episode=row.episode, stage=stage, code=code, kind="filtered", target=row.id,
                        detail=details.get(row.id, ""),
                    )
                )  # fmt: skip
        made.entries.append(count.entry(stage))
        rows = rows.without(reasons)
    return made


def kept(
    plan: Plan, parts: Parts, indices: Sequence[int], dropped: Mapping[str, Mapping[str, str]]
) -> dict[str, Counter[str]]:
    """By config, the rows that were not dropped by their transition."""
    found: dict[str, Counter[str]] = {name: Counter() for name in plan.exports}
    for config, count in found.items():
        for table in stayed(parts, indices, config, ["transition"], dropped):
            count.update({v["values"]: v["counts"] for v in pc.value_counts(table["transition"]).to_pylist()})
    return found


def stayed(
    parts: Parts, indices: Sequence[int], config: str, columns: Sequence[str], dropped: Mapping[str, Mapping[str, str]]
) -> Iterator[pa.Table]:
    """Of each part in turn, these columns of the rows that were not dropped."""
    gone = pa.array(list(dropped.get(config, ())), pa.string())
    for index in indices:
        table = parts.read(index, config).select(["id", *columns])
        yield table.filter(pc.invert(pc.is_in(table["id"], value_set=gone))) if len(gone) else table


def measured(
    total: Counter[str], plan: Plan, parts: Parts, indices: Sequence[int], dropped: Mapping[str, Mapping[str, str]]
) -> Counter[str]:
    """The measures of all parts without what the dropped rows had added: metrics tell of the rows that stayed."""
    left = Counter(total)
    for config, ids in dropped.items():
        gone = pa.array(list(ids), pa.string())
        for index in indices:
            table = parts.read(index, config)
            rows = table.filter(pc.is_in(table["id"], value_set=gone))
            for batch in rows.to_batches(max_chunksize=_BATCH):
                left.subtract(measure_rows(config, from_table(pa.Table.from_batches([batch]), plan.types[config])))
    return Counter({key: n for key, n in left.items() if n})


def version_rows(dataset: Dataset) -> Rows:
    """The rows of a finished version, as an operation would see them. Raises StoreError where a file cannot be read."""
    types = {config: dataset.record_type(config) for config in dataset.manifest.configs}

    def tables(config: str, columns: Collection[str]) -> Iterator[pa.Table]:
        for path in dataset.files(config):
            try:
                with parquet(path) as file:
                    chosen = [n for n in file.schema_arrow.names if n in columns] or None
                    for batch in file.iter_batches(batch_size=_BATCH, columns=chosen):
                        yield pa.Table.from_batches([batch]).replace_schema_metadata(None)
            except (OSError, pa.ArrowException) as error:
                raise StoreError(f"cannot read {path}: {error}".replace("\n", " ")) from error

    return rows_of(types, tables)


def rows_of(types: Mapping[str, type], tables: Tables) -> Rows:
    """The rows of all exports; `types` gives the record's type of every config, `episodes` among them."""
    origins = {id: told for table in tables("episodes", ("problem",)) for id, told in _origins(table)}
    configs = [c for c in types if c not in _OTHERS]
    narrow = [row for c in configs for table in tables(c, (*_NARROW, *FIELDS)) for row in _narrow(c, table, origins)]

    def read(part: Part, wanted: Collection[str]) -> Iterator[Text]:
        if part == "problem":
            for table in tables("episodes", ("problem",)):
                for batch in table.to_batches(max_chunksize=_BATCH):
                    problems = pa.Table.from_struct_array(batch.column("problem"))
                    yield from (Text(p.id, p.text) for p in from_table(problems, Problem))
            return
        for config in (c for c in configs if c in wanted):
            for table in tables(config, ()):
                for batch in table.to_batches(max_chunksize=_BATCH):
                    rows: list[Any] = from_table(pa.Table.from_batches([batch]), types[config])
                    yield from (Text(row.id, row_text(row, part)) for row in rows)

    return Rows(sorted(narrow, key=lambda r: (r.config, r.id)), read)


def _parts_tables(parts: Parts, indices: Sequence[int]) -> Tables:
    def tables(config: str, columns: Collection[str]) -> Iterator[pa.Table]:
        for index in indices:
            table = parts.read(index, config)
            yield table.select([n for n in table.column_names if n in columns]) if columns else table

    return tables


def _origins(table: pa.Table) -> Iterator[tuple[str, Mapping[str, str]]]:
    """By episode, what its problem says of where it comes from; episodes of one source share one mapping."""
    problem = table["problem"].combine_chunks()
    columns = [problem.field(name).to_pylist() for name in ("id", *ORIGIN)]
    shared: dict[tuple[str, ...], Mapping[str, str]] = {}
    for id, *told in zip(*columns, strict=True):
        found = {name: value for name, value in zip(ORIGIN, told, strict=True) if value}
        yield id, shared.setdefault(tuple(told), found)


def _narrow(config: str, table: pa.Table, origins: Mapping[str, Mapping[str, str]]) -> Iterator[Narrow]:
    words = [f.name for f in table.schema if f.name in FIELDS and pa.types.is_string(f.type)]
    for row in table.select([*_NARROW, *words]).to_pylist():
        for name in ("tags", "metrics"):
            row[name] = {x["name"]: x["value"] for x in row[name]}
        fields = {name: row.pop(name) for name in words}
        yield Narrow(config=config, fields={**origins.get(row["episode"], {}), **fields}, **row)
