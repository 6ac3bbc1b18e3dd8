import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from jsonschema import Draft202012Validator

from errata.records.generate import RECORDS, main, render, schemas
from tests.records.strategies import records

FOLDER = Path(__file__).resolve().parents[2] / "schemas"


@pytest.mark.parametrize("name", sorted(schemas()))
def test_the_files_are_those_of_the_types(name: str) -> None:
    file = (FOLDER / f"{name}.json").read_text(encoding="utf-8")
    assert file == render(schemas()[name]), "run: python -m errata.records.generate schemas/"


@pytest.mark.parametrize("name", sorted(RECORDS))
def test_every_record_fits_its_schema_and_a_stranger_does_not(name: str) -> None:
    schema = schemas()[name]
    Draft202012Validator.check_schema(schema)
    validator = Draft202012Validator(schema)

    @settings(max_examples=8, deadline=None, suppress_health_check=list(HealthCheck))
    @given(records(RECORDS[name]))
    def check(record: Any) -> None:
        row = json.loads(json.dumps(msgspec.to_builtins(record)))
        assert not list(validator.iter_errors(row))
        assert list(validator.iter_errors({**row, "stranger": 1}))
        first = next(iter(row))
        assert list(validator.iter_errors({**row, first: 1.5}))

    check()


def test_it_writes_into_a_new_folder(tmp_path: Path) -> None:
    main(tmp_path / "made")
    assert {p.name for p in (tmp_path / "made").iterdir()} == {f"{name}.json" for name in schemas()}
