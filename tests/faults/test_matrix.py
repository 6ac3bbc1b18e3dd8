"""The matrix is whole: every row has tests that exist, and every test here that is named after a row stands in it."""

import ast
import re
from pathlib import Path

import pytest

from tests.faults.matrix import MATRIX

TESTS = Path(__file__).resolve().parents[1]


def names_in(file: Path) -> list[str]:
    return [n.name for n in ast.walk(ast.parse(file.read_text())) if isinstance(n, ast.FunctionDef)]


def test_there_are_thirty_rows() -> None:
    assert list(MATRIX) == [f"F{number}" for number in range(1, 31)]
    assert all(row.fault and row.outcome and row.tests for row in MATRIX.values())


@pytest.mark.parametrize("name", MATRIX)
def test_each_row_has_its_tests(name: str) -> None:
    for place in MATRIX[name].tests:
        file, _, begins = place.partition("::")
        assert any(t.startswith(begins) for t in names_in(TESTS / file)), f"{place} does not exist"


def test_each_test_named_after_a_row_stands_in_it() -> None:
    for file in sorted((TESTS / "faults").glob("test_*.py")):
        place = file.relative_to(TESTS).as_posix()
        for test in names_in(file):
            for number in re.findall(r"(?<=_)f(\d+)(?=_)", test):
                assert any(f"{place}::{test}".startswith(t) for t in MATRIX[f"F{number}"].tests), (number, test)
