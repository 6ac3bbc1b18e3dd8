"""Records to Arrow and back, without loss, by columns rather than by rows.

The Arrow schema of a record is derived from its type: a tuple becomes a list, a record a struct, `X | None` a
nullable field, and nothing else may be null. Each type is compiled once to a codec that turns a list of values into one
Arrow array; nested records are flattened first, so a part of 30,000 steps costs a few passes over flat lists instead of
30,000 small conversions.
"""

import functools
import itertools
import types
import typing
from collections.abc import Callable, Sequence
from operator import attrgetter
from typing import Any, Literal, NamedTuple, TypeVar, Union

import numpy as np
import pyarrow as pa
from msgspec import Struct
from msgspec.structs import fields as fields_of

from errata.errors import StoreError

T = TypeVar("T")

_PLAIN: dict[Any, tuple[pa.DataType, Any]] = {
    str: (pa.string(), ""),
    int: (pa.int64(), 0),
    float: (pa.float64(), 0.0),
    bool: (pa.bool_(), False),
}


class _Codec(NamedTuple):
    """How values of one type become one Arrow array, and an array such values."""

    kind: pa.DataType
    nullable: bool
    blank: Any
    """What fills this field in a struct that is absent."""
    encode: Callable[[list[Any]], pa.Array]
    decode: Callable[[pa.Array], list[Any]]


def arrow_schema(record_type: type) -> pa.Schema:
    """The Arrow schema of a record's type: fields in their order, non-nullable unless `X | None`, no metadata."""
    return pa.schema(list(_codec(record_type).kind))


def to_table(rows: Sequence[Any], record_type: type) -> pa.Table:
    """One row a record, under the explicit schema of `record_type`.

    Raises StoreError, naming the field, for a value that the type does not allow: None, a lone surrogate, an integer
    beyond 64 bits.
    """
    array = _codec(record_type).encode(list(rows))
    return pa.Table.from_arrays(array.flatten(), schema=arrow_schema(record_type))


def from_table(table: pa.Table, record_type: type[T]) -> list[T]:
    """The records of a table. Raises StoreError if its schema is not that of `record_type`."""
    expected = arrow_schema(record_type)
    if not table.schema.equals(expected):
        difference = _difference(table.schema, expected)
        raise StoreError(f"a table of {record_type.__name__} rows has other columns than this errata's: {difference}")
    if not table.num_rows:
        return []
    columns = [column.combine_chunks() for column in table.columns]
    decoded = _codec(typing.cast(type, record_type)).decode(pa.StructArray.from_arrays(columns, fields=list(expected)))
    return typing.cast(list[T], decoded)


def schema_text(schema: pa.Schema) -> str:
    """Names, types and nullability as one text, the same for every version of pyarrow."""
    return ",".join(_field_text(f) for f in schema)


def _field_text(field: pa.Field) -> str:
    return f"{field.name}:{_type_text(field.type)}{'?' if field.nullable else ''}"


def _type_text(kind: pa.DataType) -> str:
    if pa.types.is_struct(kind):
        return "{" + ",".join(_field_text(f) for f in kind) + "}"
    if pa.types.is_list(kind):
        return "[" + _type_text(kind.value_type) + ("?" if kind.value_field.nullable else "") + "]"
    return str(kind)


def _difference(found: pa.Schema, expected: pa.Schema) -> str:
    has, wants = ({f.name: _field_text(f) for f in s} for s in (found, expected))
    wrong = [n for n in wants if n in has and has[n] != wants[n]]
    parts = (
        ("missing", sorted(wants.keys() - has)),
        ("unknown", sorted(has.keys() - wants)),
        ("of another type", wrong),
    )
    return "; ".join(f"{what} {', '.join(names)}" for what, names in parts if names) or "another order"


@functools.cache
def _codec(hint: Any) -> _Codec:
    if hint in _PLAIN:
        return _scalar(*_PLAIN[hint])
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin is Literal and all(isinstance(a, str) for a in args):
        return _scalar(*_PLAIN[str])
    if origin in (Union, types.UnionType) and len(args) == 2 and type(None) in args:
        return _optional(_codec(next(a for a in args if a is not type(None))))
    if origin is tuple and len(args) == 2 and args[1] is Ellipsis:
        return _list(_codec(args[0]))
    if isinstance(hint, type) and issubclass(hint, Struct):
        return _struct(typing.cast(type, hint))
    raise TypeError(f"no Arrow type for {hint!r}: records are made of str, int, float, bool, tuples and Structs")


def _scalar(kind: pa.DataType, blank: Any) -> _Codec:
    text = pa.types.is_string(kind)

    def encode(values: list[Any]) -> pa.Array:
        return pa.array(values, kind)

    def decode(array: pa.Array) -> list[Any]:
        if array.null_count and not text:  # numpy has no absent integer
            return typing.cast(list[Any], array.to_pylist())
        return typing.cast(list[Any], array.to_numpy(zero_copy_only=False).tolist())

    return _Codec(kind, False, blank, encode, decode)


def _optional(inner: _Codec) -> _Codec:
    """None is a null. Structs and lists get a mask; scalars understand None themselves."""
    if inner.nullable:
        raise TypeError("an optional of an optional cannot be told apart")
    if not pa.types.is_nested(inner.kind):
        return inner._replace(nullable=True, blank=None)

    def encode(values: list[Any]) -> pa.Array:
        absent = [v is None for v in values]
        if not any(absent):
            return inner.encode(values)
        full = inner.encode([inner.blank if v is None else v for v in values])
        mask = pa.array(absent)
        if pa.types.is_list(inner.kind):
            return pa.ListArray.from_arrays(full.offsets, full.values, type=inner.kind, mask=mask)
        return pa.StructArray.from_arrays(_children(full), fields=list(inner.kind), mask=mask)

    def decode(array: pa.Array) -> list[Any]:
        values = inner.decode(array)
        if not array.null_count:
            return values
        return [v if present else None for v, present in zip(values, array.is_valid().to_pylist(), strict=True)]

    return _Codec(inner.kind, True, None, encode, decode)


def _list(inner: _Codec) -> _Codec:
    kind = pa.list_(pa.field("element", inner.kind, nullable=inner.nullable))

    def encode(values: list[Any]) -> pa.Array:
        offsets = np.zeros(len(values) + 1, np.int32)
        np.cumsum([len(v) for v in values], out=offsets[1:])
        flat = inner.encode(list(itertools.chain.from_iterable(values)))
        return pa.ListArray.from_arrays(pa.array(offsets), flat, type=kind)

    def decode(array: pa.Array) -> list[Any]:
        offsets = array.offsets.to_numpy().tolist()
        first = offsets[0]
        flat = inner.decode(array.values.slice(first, offsets[-1] - first))
        return [tuple(flat[a - first : b - first]) for a, b in itertools.pairwise(offsets)]

    return _Codec(kind, False, (), encode, decode)


def _struct(record: type) -> _Codec:
    hints = typing.get_type_hints(record)
    codecs = {f.name: _codec(hints[f.name]) for f in fields_of(record)}
    fields = [pa.field(name, c.kind, nullable=c.nullable) for name, c in codecs.items()]
    names = tuple(codecs)
    blank = types.SimpleNamespace(**{name: c.blank for name, c in codecs.items()})

    def encode(values: list[Any]) -> pa.Array:
        arrays = [_column(f"{record.__name__}.{n}", c, list(map(attrgetter(n), values))) for n, c in codecs.items()]
        return pa.StructArray.from_arrays(arrays, fields=fields)

    def decode(array: pa.Array) -> list[Any]:
        columns = [c.decode(child) for c, child in zip(codecs.values(), _children(array), strict=True)]
        return [record(**dict(zip(names, row, strict=True))) for row in zip(*columns, strict=True)]

    return _Codec(pa.struct(fields), False, blank, encode, decode)


def _children(array: pa.StructArray) -> list[pa.Array]:
    """The fields of a struct array, without its mask."""
    return [array.field(i) for i in range(array.type.num_fields)]


def _column(name: str, codec: _Codec, values: list[Any]) -> pa.Array:
    try:
        array = codec.encode(values)
    except (pa.ArrowException, UnicodeEncodeError, OverflowError, TypeError) as error:
        raise StoreError(f"{name} cannot be stored: {error}") from error
    if array.null_count and not codec.nullable:
        raise StoreError(f"{name} cannot be stored: it is None, and its type does not allow None")
    return array
