import dataclasses
import io
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from errata.errors import StoreError
from errata.records.arrow import arrow_schema, from_table, schema_text, to_table
from errata.records.rows import DpoRow, SftRow
from errata.records.types import Attempt, Drop, Episode, Injection, Message, Problem, Step, Verdict
from tests.records.strategies import records

TYPES = [Episode, SftRow, DpoRow, Drop]
DROP = Drop(episode="e", stage="s", code="c", kind="filtered", target="e")


@pytest.mark.parametrize("record", TYPES)
def test_any_rows_come_back_as_they_were(record: type) -> None:
    @settings(max_examples=20, deadline=None, suppress_health_check=list(HealthCheck))
    @given(st.lists(records(record), max_size=4))
    def check(rows: list[Any]) -> None:
        table = to_table(rows, record)
        table.validate(full=True)
        assert table.schema == arrow_schema(record)
        assert from_table(table, record) == rows
        assert from_table(table.slice(1), record) == rows[1:]
        file = io.BytesIO()
        pq.write_table(table, file, store_schema=False)
        assert from_table(pq.read_table(file).replace_schema_metadata(None), record) == rows

    check()


def test_nothing_is_nullable_but_optional_fields() -> None:
    schema = arrow_schema(Attempt)
    assert [f.name for f in schema if f.nullable] == ["parent", "other", "fork_step", "critique", "injection", "call"]
    steps = schema.field("steps").type
    assert not steps.value_field.nullable and not any(f.nullable for f in steps.value_type)
    assert schema_text(arrow_schema(Message)) == "role:string,content:string"
    assert schema_text(arrow_schema(Injection)) == "kind:string,step:int64,original:string"
    assert "score:double?,checks:[{name:string" in schema_text(arrow_schema(Verdict))


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (msgspec.structs.replace(DROP, detail=None), "Drop.detail cannot be stored: it is None"),
        (msgspec.structs.replace(DROP, detail="\ud800"), "Drop.detail cannot be stored: .*surrogates"),
        (msgspec.structs.replace(DROP, detail=3), "Drop.detail cannot be stored"),
    ],
)
def test_a_value_that_the_type_forbids_is_named(row: Drop, message: str) -> None:
    with pytest.raises(StoreError, match=message):
        to_table([DROP, row], Drop)


def test_a_value_deep_inside_is_named() -> None:
    attempt = Attempt(id="a", stage="s", index=0, kind="sampled", steps=(Step(text="x", turn=2**63),))
    episode = Episode(problem=Problem(id="p", messages=(), verifier="v"), attempts=(attempt,))
    with pytest.raises(StoreError, match=r"Step\.turn cannot be stored"):
        to_table([episode], Episode)


def test_a_table_of_other_columns_is_refused() -> None:
    table = to_table([DROP], Drop)
    with pytest.raises(StoreError, match=r"missing detail; unknown more$"):
        from_table(table.drop_columns(["detail"]).append_column("more", pa.array([1])), Drop)
    with pytest.raises(StoreError, match=r"of another type episode, stage, code"):
        from_table(pa.table(table.to_pydict()), Drop)
    with pytest.raises(StoreError, match="another order"):
        from_table(table.select(list(reversed(table.column_names))), Drop)


def test_a_type_that_is_no_record_is_refused() -> None:
    @dataclasses.dataclass
    class Free:
        meta: dict[str, int]

    with pytest.raises(TypeError, match="no Arrow type"):
        arrow_schema(Free)
