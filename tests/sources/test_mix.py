"""Two sources in one run: each as by itself, one after the other, and every fault of the map told in a line."""

import json
from pathlib import Path
from typing import Any

import pytest

from errata.errors import RecipeError
from errata.records.types import Episode
from errata.sources.mix import mix
from errata.sources.procedural import procedural
from errata.sources.worlds import worlds

AGENT: dict[str, Any] = {"use": "worlds", "with": {"world": "crafting", "count": 3}}
GENERAL: dict[str, Any] = {"use": "procedural", "with": {"count": 4}}


def test_each_source_gives_what_it_gives_alone() -> None:
    made = list(mix(sources={"agent": AGENT, "general": GENERAL}))
    assert made == [*worlds(world="crafting", count=3), *procedural(count=4)]
    assert [i.problem.task is not None for i in made if isinstance(i, Episode)] == [True] * 3 + [False] * 4


def test_a_file_is_named_beside_the_sources(tmp_path: Path) -> None:
    file = tmp_path / "chat.jsonl"
    file.write_text(json.dumps({"q": "Hello?", "a": ["Hi."]}) + "\n")
    columns = {"problem": "q", "solution": "a"}
    table = {"use": "table", "with": {"columns": columns, "verifier": "exact"}}
    made = list(mix(sources={"agent": AGENT, "general": table}, path=str(file)))
    assert len(made) == 4 and isinstance(made[3], Episode) and made[3].problem.solution == ("Hi.",)


@pytest.mark.parametrize(
    ("sources", "path", "said"),
    [
        ({"a": {"with": {}}}, "", "a is"),
        ({"a": {"use": "procedural", "with": {"count": 1}, "name": "x"}}, "", "it takes `use`"),
        ({"a": {"use": "nothing"}}, "", "no source is called 'nothing'"),
        ({"a": {"use": "procedural", "with": {"many": 1}}}, "", "procedural of a takes no many"),
        ({"a": {"use": "procedural"}}, "", "needs count"),
        ({"a": {"use": "table", "with": {"path": "x", "columns": {}, "verifier": "exact"}}}, "", "beside `sources`"),
        ({"a": GENERAL}, "x.jsonl", "none reads a file"),
        (
            {n: {"use": "table", "with": {"columns": {}, "verifier": "exact"}} for n in "ab"},
            "x.jsonl",
            "a and b do, and only one can",
        ),
    ],
)
def test_faults_are_told(sources: dict[str, Any], path: str, said: str) -> None:
    with pytest.raises(RecipeError, match=said):
        list(mix(sources=sources, path=path))
