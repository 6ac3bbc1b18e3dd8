"""Any record of any type, small: hypothesis strategies derived from the types themselves."""

import types
import typing
from typing import Any, Literal

from hypothesis import strategies as st
from msgspec import structs

TEXT = st.text(max_size=6) | st.sampled_from(["", "\0", "é\u2028\U0001f600", '"\\\n', "%s {}"])
PLAIN: dict[Any, st.SearchStrategy[Any]] = {
    str: TEXT,
    int: st.integers(-(2**63), 2**63 - 1),
    float: st.floats(allow_nan=False),
    bool: st.booleans(),
}


def values(hint: Any) -> st.SearchStrategy[Any]:
    """Values of a type of which records are made."""
    if hint in PLAIN:
        return PLAIN[hint]
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin is Literal:
        return st.sampled_from(args)
    if origin is types.UnionType:
        return st.none() | values(next(a for a in args if a is not type(None)))
    if origin is tuple:
        return st.lists(values(args[0]), max_size=2).map(tuple)
    return records(hint)


def records(record: type) -> st.SearchStrategy[Any]:
    """Records of a type, every field drawn."""
    hints = typing.get_type_hints(record)
    return st.builds(record, **{f.name: values(hints[f.name]) for f in structs.fields(record)})
