"""The JSON Schemas in `schemas/`, generated from the types: `python -m errata.records.generate schemas/`."""

import json
import sys
from pathlib import Path
from typing import Any

from errata.records.manifest import manifest_schema
from errata.records.rounds import rounds_schema
from errata.records.rows import (
    ContrastRow,
    CriticRow,
    DpoRow,
    JudgeRow,
    KtoRow,
    OfflineRow,
    PrmRow,
    RlRow,
    SftRow,
)
from errata.records.schema import record_schema
from errata.records.types import Drop, Episode, Problem

RECORDS: dict[str, type] = {
    "problem": Problem,
    "episode": Episode,
    "drop": Drop,
    "sft_row": SftRow,
    "dpo_row": DpoRow,
    "kto_row": KtoRow,
    "prm_row": PrmRow,
    "critic_row": CriticRow,
    "judge_row": JudgeRow,
    "rl_row": RlRow,
    "offline_row": OfflineRow,
    "contrast_row": ContrastRow,
}


def schemas() -> dict[str, dict[str, Any]]:
    """Every generated schema by the name of its file, without `.json`."""
    found = {name: (record.__name__, record_schema(record)) for name, record in RECORDS.items()}
    found["manifest"] = ("Manifest", manifest_schema())
    found["rounds"] = ("Rounds", rounds_schema())
    dialect = "https://json-schema.org/draft/2020-12/schema"
    return {name: {"$schema": dialect, "title": title, **schema} for name, (title, schema) in found.items()}


def render(schema: dict[str, Any]) -> str:
    """The text of a schema's file."""
    return json.dumps(schema, indent=2, ensure_ascii=True) + "\n"


def main(folder: Path) -> None:
    """Write every schema into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, schema in schemas().items():
        (folder / f"{name}.json").write_text(render(schema), encoding="utf-8")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python -m errata.records.generate FOLDER")
    main(Path(sys.argv[1]))
