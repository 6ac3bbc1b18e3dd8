"""Rows of values: once for what leaves share, the value of the last step alone."""

from errata.exports.base import ExportContext
from errata.exports.values import values
from errata.prompts import load
from errata.records.rows import PrmRow
from errata.records.types import Drop, Tag
from errata.stages.step_values import step_values
from tests.stages.grove import grove
from tests.stages.support import run, user

P = user("q")


def test_every_beginning_with_a_value_is_one_row() -> None:
    e = grove(P, {"a": {"b": "pass", "x": "fail"}, "y": None})
    e = e.add(run(step_values, e))
    found = list(values(e, ExportContext("values", load), tags={"rule": "min_steps"}))
    rows = {"".join(r.completions).replace("\n", ""): r for r in found if isinstance(r, PrmRow)}
    assert {k: (r.values, r.labels) for k, r in rows.items()} == {
        "a": ((0.5,), (True,)),
        "ab": ((None, 1.0), (None, True)),
        "ax": ((None, 0.25), (None, False)),
    }
    assert [d.code for d in found if isinstance(d, Drop)] == ["no_values"], "y is open: nobody can tell"
    assert len(found) == 4 and len({r.id for r in rows.values()}) == 3
    for row in rows.values():
        assert row.prompt == P.messages and row.tags == (Tag(name="rule", value="min_steps"),)
        assert row.seen == ("reference", "x"), "the verifier knew the answer"
        assert {m.name: m.value for m in row.metrics} == {"ends": 2.0 if row is rows["a"] else 1.0}
    assert [rows[k].verdict for k in ("a", "ab", "ax")] == ["unknown", "pass", "fail"]
