"""Rows of hostile files: each is refused with its place and reason, and the rest is read."""

import json
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from errata.errors import SourceError
from errata.sources import rows
from errata.sources.rows import Input, Row, loads

HOSTILE = [
    (b'{"q": "a"', "no valid JSON"),
    (b'[{"q": 1}]', "it is no JSON object"),
    (b'{"q": NaN}', "NaN is no JSON number"),
    (b'{"q": -Infinity}', "-Infinity is no JSON number"),
    (b'{"q": 1e999}', "a number is too large"),
    (b'{"q": ' + b"7" * 5000 + b"}", "5000 digits"),
    (b'{"q": 1, "q": 2}', "key 'q' stands twice"),
    (b'{"a": {"x": 1, "x": 1}}', "key 'x' stands twice"),
    (b'{"q": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", "nested deeper than 64"),
    (b'{"q": ' + b"[" * 70 + b"]" * 70 + b"}", "nested deeper than 64"),
    (b'{"q": "\\ud800"}', "half a surrogate pair"),
    (b'{"\\udc00": 1}', "half a surrogate pair"),
    (b'{"q": "a\\u0000b"}', "NUL"),
    (b'{"q": "\xff"}', "byte 8 is not UTF-8"),
]


def read(path: Path, *roots: str) -> list[Row]:
    return list(Input(path=str(path)).rows(frozenset(roots)))


def test_hostile_lines_are_refused_by_number_and_the_rest_is_read(tmp_path: Path) -> None:
    lines = [part for wrong, _ in HOSTILE for part in (b'{"q": "\xc3\xa9"}', wrong)]
    path = tmp_path / "t.jsonl"
    path.write_bytes(b"\n".join(lines))
    found = read(path, "q")
    assert [row.place for row in found] == [f"t.jsonl line {i + 1}" for i in range(len(lines))]
    for (_, told), good, bad in zip(HOSTILE, found[::2], found[1::2], strict=True):
        assert good == Row(good.place, {"q": "é"})
        assert told in bad.fault
        assert bad.values == {}


def test_a_mark_blank_lines_and_carriage_returns_are_no_rows(tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl"
    path.write_bytes(b'\xef\xbb\xbf{"q": 1}\r\n\r\n{"q": "\\u2028"}\n\n')
    assert read(path, "q") == [Row("t.jsonl line 1", {"q": 1}), Row("t.jsonl line 3", {"q": "\u2028"})]


def test_a_line_too_long_to_hold_is_skipped(tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl"
    with path.open("wb") as file:
        for _ in range(40):
            file.write(b"x" * 2**20)
        file.write(b'\n{"q": 1}\n')
    tracemalloc.start()
    found = read(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert [row.place for row in found] == ["t.jsonl line 1", "t.jsonl line 2"]
    assert "longer than" in found[0].fault and found[1].values == {"q": 1}
    assert peak < 3 * rows.MAX_ROW_BYTES


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@settings(deadline=None)
@given(st.dictionaries(st.text(), JSON, max_size=4))
def test_every_plain_object_is_read_as_it_is(value: dict[str, object]) -> None:
    text = json.dumps(value, ensure_ascii=True)
    if "\\u0000" in text:
        with pytest.raises(ValueError, match="NUL"):
            loads(text.encode())
    else:
        assert loads(text.encode()) == value


@settings(deadline=None)
@given(st.binary(max_size=40))
def test_any_bytes_are_an_object_or_a_fault(text: bytes) -> None:
    try:
        assert isinstance(loads(text), dict)
    except ValueError as error:
        assert str(error)


def test_parquet_reads_the_columns_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    day = pa.array([0, 1, 2], pa.timestamp("s"))
    table = {"q": ["a", None, "c"], "x": [{"k": [1]}, {"k": []}, None], "score": [1.0, float("nan"), 0.0], "day": day}
    pq.write_table(pa.table(table), path, row_group_size=2)
    assert read(path, "q", "x") == [
        Row("t.parquet row 1", {"q": "a", "x": {"k": [1]}}),
        Row("t.parquet row 2", {"q": None, "x": {"k": []}}),
        Row("t.parquet row 3", {"q": "c", "x": None}),
    ]
    assert [row.fault for row in read(path, "score")] == ["", "nan is no JSON number", ""]
    assert "type datetime" in read(path, "day")[0].fault


def test_a_broken_parquet_file_is_told(tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    path.write_bytes(b"PAR1 this is none")
    with pytest.raises(SourceError, match="cannot be read as Parquet"):
        read(path, "q")


def test_csv(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_bytes(b'\xef\xbb\xbfq,a\r\n"two\nlines",2\r\n\r\nshort\r\n"a"b,3\r\n\xff,4\r\nlast,5\r\n')
    found = read(path, "q")
    assert [(row.place, row.values.get("a"), row.fault[:19]) for row in found] == [
        ("t.csv line 2", "2", ""),
        ("t.csv line 5", None, "it has 1 cells, and"),
        ("t.csv line 6", None, "no valid CSV: ',' e"),
        ("t.csv line 7", None, "character 1 of a te"),
        ("t.csv line 8", "5", ""),
    ]
    assert found[0].values["q"] == "two\nlines"


def test_csv_with_two_columns_of_one_name_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("q,q\n1,2\n")
    with pytest.raises(SourceError, match="two columns of one name"):
        read(path, "q")


def _jsonl(path: Path) -> None:
    path.write_text('broken\n{"question": 1, "b": 2}\n')


def _csv(path: Path) -> None:
    path.write_text("question,b\n1,2\n")


def _parquet(path: Path) -> None:
    pq.write_table(pa.table({"question": ["1"], "b": ["2"]}), path)


@pytest.mark.parametrize(("suffix", "write"), [("jsonl", _jsonl), ("csv", _csv), ("parquet", _parquet)])
def test_an_absent_column_is_told_with_those_there_are(
    tmp_path: Path, suffix: str, write: Callable[[Path], None]
) -> None:
    path = tmp_path / f"t.{suffix}"
    write(path)
    with pytest.raises(SourceError, match=r"has no column 'q': it has 'question', 'b'"):
        read(path, "q", "b")


def test_a_missing_file_names_what_stands_beside_it(tmp_path: Path) -> None:
    (tmp_path / "problems.jsonl").write_text("{}")
    with pytest.raises(SourceError, match=r"no file .*problem\.jsonl: beside it stand problems\.jsonl; set path"):
        read(tmp_path / "problem.jsonl")
    with pytest.raises(SourceError, match="there is no folder"):
        read(tmp_path / "none" / "problem.jsonl")
    (tmp_path / "folder.jsonl").mkdir()
    with pytest.raises(SourceError, match="is a folder"):
        read(tmp_path / "folder.jsonl")


@pytest.mark.parametrize(
    ("place", "told"),
    [
        (Input(), "named either by path"),
        (Input(path="a.jsonl", hub="b/c", revision="v1"), "named either by path"),
        (Input(path="a.txt"), "of no known format: there are .jsonl, .parquet, .csv"),
        (Input(hub="b/c"), "needs a revision"),
        (Input(hub="b/c", revision="main"), "is a branch, which moves"),
    ],
)
def test_a_place_that_cannot_be_read_is_a_fault(place: Input, told: str) -> None:
    assert told in "".join(place.faults())


def test_a_tag_and_a_commit_are_fixed_revisions() -> None:
    assert not Input(hub="b/c", revision="v1.0").faults() + Input(hub="b/c", revision="0" * 40).faults()


def test_memory_does_not_grow_with_the_rows(tmp_path: Path) -> None:
    def peak(count: int) -> int:
        path = tmp_path / f"{count}.jsonl"
        path.write_text("".join(f'{{"q": "problem {i}"}}\n' for i in range(count)))
        tracemalloc.start()
        assert sum(1 for _ in Input(path=str(path)).rows(frozenset({"q"}))) == count
        result = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return result

    peak(10)
    assert peak(4_000) < peak(400) + 30_000
