"""Gates hold by name, fail with the number, and keep a run from making a version."""

from pathlib import Path
from typing import Any

import pytest

from errata.errors import GateError, RecipeError
from errata.recipe.spec import Gate
from errata.reports.gates import check_gates
from errata.runners import job
from errata.runners.options import Options
from tests.runners.support import Recipe

METRICS: dict[str, Any] = {
    "rows": {"sft": {"train": 7}},
    "agreement": [{"unknown": 2}],
    "gain": {"a.b": 0.25, "none": None, "flag": True},
}


@pytest.mark.parametrize(
    ("metric", "least", "most"),
    [("rows.sft.train", 7, 7), ("agreement.0.unknown", None, 2), ("gain.a.b", 0.2, None)],
)
def test_gates_that_hold(metric: str, least: float | None, most: float | None) -> None:
    check_gates([Gate(metric=metric, min=least, max=most)], METRICS)


@pytest.mark.parametrize(
    ("metric", "least", "most", "said"),
    [
        ("rows.sft.train", 8, None, "it is 7, and at least 8 is asked"),
        ("gain.a.b", None, 0.1, "it is 0.25, and at most 0.1 is asked"),
        ("rows.dpo.train", 1, None, "it is not there; there are sft"),
        ("agreement.3.unknown", 1, None, "it is not there; there are entries 0 to 0"),
        ("gain.none", 0, None, "it has no figure"),
        ("gain.flag", 0, None, "it has no figure"),
        ("rows.sft", 0, None, "it is not there; there are parts of it alone"),
        ("rows.sft.train.more", 0, None, "it is not there; there are no more parts"),
    ],
)
def test_gates_that_do_not_hold_say_the_number(metric: str, least: float | None, most: float | None, said: str) -> None:
    with pytest.raises(GateError) as told:
        check_gates([Gate(metric=metric, min=least, max=most), Gate(metric="rows.sft.train", min=1)], METRICS)
    assert str(told.value) == f"gate {metric}: {said}"


def test_a_gate_keeps_a_run_from_making_a_version_until_it_is_relaxed(tmp_path: Path) -> None:
    recipe = Recipe(tmp_path / "recipe")

    def run(least: float) -> Any:
        recipe.data["gates"] = [{"metric": "revisions.revise.mended", "min": least}]
        recipe.write()
        return job.run(Options(recipe=recipe.path, out=tmp_path / "out"), lambda *_: None)[1]

    with pytest.raises(GateError, match=r"revisions\.revise\.mended: it is 0\.\d+, and at least 1\.1 is asked"):
        run(1.1)
    assert not list((tmp_path / "out" / "small").glob("1-*"))
    made = run(0.1)
    assert made.manifest.funnel[1]["made"]["requests"] > 0
    with pytest.raises(GateError):
        run(1.1)
    assert run(0.2).path == made.path, "a gate is no part of the version"


def test_a_gate_needs_a_bound(tmp_path: Path) -> None:
    recipe = Recipe(tmp_path)
    recipe.data["gates"] = [{"metric": "rows"}]
    with pytest.raises(RecipeError, match="gates: rows has neither min nor max"):
        job.prepare(Options(recipe=recipe.write()))
