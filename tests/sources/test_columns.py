"""The expression language of column maps."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from errata.sources.columns import ColumnError, MissingKey, as_index, as_text, as_truth, evaluate, parse, parse_map

ROW: dict[str, Any] = {
    "q": "one A: two\nA:  72 ",
    "6b model": {"solution": "s", "none": None},
    "code": ["x A: 1", None, "y A: 2"],
    "turns": [{"text": "hello"}, {"text": "bye"}],
    "number": 5,
}


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("q", ROW["q"]),
        (" 6b model.solution ", "s"),
        ("6b model.none.deeper", None),
        ("turns.1.text", "bye"),
        ("turns.*.text", ["hello", "bye"]),
        ("code.* | after('A:')", ["1", None, "2"]),
        ('q | after("A:")', "72"),
        ("q|lines", ["one A: two", "A:  72"]),
        ("q | lines ", ["one A: two", "A:  72"]),
        ("6b model.none | after('A:')", None),
        ("'a | b.c'", "a | b.c"),
        ('"it\'s" | after("\'")', "s"),
        ("number", 5),
    ],
)
def test_an_expression_gives_its_value(expression: str, value: Any) -> None:
    assert evaluate(parse(expression), ROW) == value


@pytest.mark.parametrize(
    ("expression", "error", "told"),
    [
        ("question", MissingKey, "the row has no 'question'"),
        ("6b model.solutions", MissingKey, "6b model has no 'solutions': it has solution"),
        ("turns.2", ColumnError, "turns has 2 items and none at 2"),
        ("turns.x", ColumnError, "turns holds no 'x': it is a list"),
        ("number.a", ColumnError, "number holds no 'a': it is a number"),
        ("q.*", ColumnError, "q is no list"),
        ("q | after('B:')", ColumnError, "the text holds no 'B:'"),
        ("number | lines", ColumnError, "lines needs a text, not a number"),
        ("code | after('A:')", ColumnError, "needs a text, not a list"),
    ],
)
def test_what_a_row_lacks_is_told(expression: str, error: type[Exception], told: str) -> None:
    with pytest.raises(error) as found:
        evaluate(parse(expression), ROW)
    assert told in str(found.value)
    assert type(found.value) is error


@pytest.mark.parametrize(
    ("expression", "told"),
    [
        ("", "neither a path"),
        ("a..b", "neither a path"),
        ("a | ", "is no pipe: there are after('A:'), lines, opening"),
        ("a | upper", "'upper' is no pipe"),
        ("a | after", "is written after('A:')"),
        ("a | after('')", "is written after('A:')"),
        ("a | lines('x')", "is written lines"),
        ("a | after('x", "a quote is not closed"),
        ("*.a", "`*` stands once"),
        ("a.*.b.*", "`*` stands once"),
        ("a(b)", "neither a path"),
    ],
)
def test_a_wrong_expression_says_what_is_wrong(expression: str, told: str) -> None:
    with pytest.raises(ValueError) as found:
        parse(expression)
    assert told in str(found.value)


@settings(deadline=None)
@given(st.text(alphabet="a.*|'\"() lines after", max_size=30))
def test_any_text_is_parsed_or_refused(source: str) -> None:
    try:
        parsed = parse(source)
    except ValueError:
        return
    assert (parsed.constant is None) == bool(parsed.path)


def test_all_faults_of_a_map_are_told() -> None:
    wrong: dict[str, Any] = {"problem": "q", "sulotion": "x", "meta.": "y", "answer": "a |", "id": 5, "meta.level": "n"}
    found, faults = parse_map(wrong, ("problem", "answer", "id", "meta."), "columns")
    assert sorted(found) == ["meta.level", "problem"]
    assert len(faults) == 4
    assert "columns has no field 'sulotion': there are problem, answer, id, meta.NAME" in faults


def test_labels_of_correctness() -> None:
    assert [as_truth(x) for x in (True, 1, 1.0, "Correct", " right", "1")] == [True] * 6
    assert [as_truth(x) for x in (False, 0, 0.0, "wrong", "FAIL", "0")] == [False] * 6
    assert [as_truth(x) for x in (None, "", "unknown")] == [None] * 3
    for value in (0.5, 2, "maybe", [True]):
        with pytest.raises(ColumnError):
            as_truth(value)


def test_indices_and_texts() -> None:
    assert [as_index(x) for x in (3, 3.0, "3", -1, " -1 ", None, "")] == [3, 3, 3, -1, -1, None, None]
    assert [as_text(x) for x in ("a", 5, 2.5, None)] == ["a", "5", "2.5", None]
    for value in (True, 1.5, "x", "٣", [1]):
        with pytest.raises(ColumnError):
            as_index(value)
    for wrong in (True, ["a"], {"a": 1}):
        with pytest.raises(ColumnError):
            as_text(wrong)
