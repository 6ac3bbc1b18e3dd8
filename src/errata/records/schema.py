"""JSON Schema from the types of records and parameters; `schemas/` holds the generated files."""

import types
import typing
from pathlib import Path
from typing import Any, Literal, Union

from msgspec import Meta, Struct, structs

_PLAIN: dict[Any, dict[str, Any]] = {
    str: {"type": "string"},
    int: {"type": "integer"},
    float: {"type": "number"},
    bool: {"type": "boolean"},
    type(None): {"type": "null"},
    Path: {"type": "string"},
    Any: {},
}


def type_schema(hint: Any) -> dict[str, Any]:
    """JSON Schema of one annotated type: plain types, Literal, unions, tuples, lists, dicts and Structs."""
    if hint in _PLAIN:
        return dict(_PLAIN[hint])
    if typing.get_origin(hint) is typing.Annotated:
        plain, *marks = typing.get_args(hint)
        least = next((m.ge for m in marks if isinstance(m, Meta) and m.ge is not None), None)
        return type_schema(plain) | ({} if least is None else {"minimum": least})
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin is Literal:
        return {"enum": list(args)}
    if origin in (Union, types.UnionType):
        return {"anyOf": [type_schema(a) for a in args]}
    if origin is tuple and len(args) == 2 and args[1] is Ellipsis:
        return {"type": "array", "items": type_schema(args[0])}
    if origin is tuple:
        return {
            "type": "array",
            "prefixItems": [type_schema(a) for a in args],
            "minItems": len(args),
            "maxItems": len(args),
        }
    if origin is list:
        return {"type": "array", "items": type_schema(args[0])}
    if origin is dict or (isinstance(origin, type) and issubclass(origin, typing.Mapping)):
        return {"type": "object", "additionalProperties": type_schema(args[1])}
    if isinstance(hint, type) and issubclass(hint, Struct):
        return record_schema(hint)
    raise TypeError(f"no JSON Schema for {hint!r}")


def record_schema(record: Any) -> dict[str, Any]:
    """JSON Schema of a frozen Struct; unknown keys are refused."""
    hints = typing.get_type_hints(record, include_extras=True)
    fields = structs.fields(record)
    return {
        "type": "object",
        # `with_` stands for the key `with`, which Python reserves.
        "properties": {f.name.rstrip("_"): type_schema(hints[f.name]) for f in fields},
        "required": [f.name for f in fields if f.required],
        "additionalProperties": False,
    }
