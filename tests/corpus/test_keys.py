"""A recipe's corpus operation goes by what its rows say, as they lie on disk."""

from collections import Counter
from pathlib import Path

from errata.records.rows import SftRow
from errata.records.types import Drop
from tests.test_pipelines import ORACLE, run


def test_rows_are_capped_by_a_column_that_only_their_kind_has(tmp_path: Path) -> None:
    changes = ("corpus.balance.with.key=style", "corpus.balance.with.cap=3")
    made = run("pair_sft", tmp_path, "source.with.count=12", *ORACLE, *changes)
    rows = [r for r in made.rows("sft") if isinstance(r, SftRow)]
    drops = Counter(d.code for d in made.rows("drops") if isinstance(d, Drop) and d.stage == "corpus.balance")
    assert len(rows) == 3 and {r.style for r in rows} == {"turn"} and drops["over_cap"] > 0 == drops["over_share"]
