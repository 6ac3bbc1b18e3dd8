"""Every recipe that is shipped: it reads, it runs, and its rows are what its method says."""

import json
from pathlib import Path
from typing import Any

import pytest

from errata import prompts, registry
from errata.recipe.read import read
from errata.records.rows import DpoRow, SftRow
from errata.runners import job
from errata.runners.options import Options
from errata.store.check import check_dataset
from errata.store.reader import Dataset, open_dataset

ROOT = Path(__file__).resolve().parents[1]
PIPELINES = sorted((ROOT / "pipelines").glob("*.yaml"))
RECORDED = ROOT / "../shared/recorded"
ORACLE = ("engines.student.use=oracle", "engines.student.with.skill=0.5")


def run(name: str, out: Path, *changes: str) -> Dataset:
    """The dataset of a pipeline, checked by the program that reads only the files."""
    job.run(Options(recipe=ROOT / "pipelines" / f"{name}.yaml", out=out, changes=changes), lambda *_: None)
    made = open_dataset(out / name)
    assert check_dataset(made.path) == []
    return made


def sft(made: Dataset) -> list[SftRow]:
    return [r for r in made.rows("sft") if isinstance(r, SftRow)]


def dpo(made: Dataset) -> list[DpoRow]:
    return [r for r in made.rows("dpo") if isinstance(r, DpoRow)]


@pytest.mark.parametrize("path", PIPELINES, ids=lambda p: p.stem)
def test_every_pipeline_reads_and_says_what_it_is(path: Path) -> None:
    recipe = read(path)
    assert recipe.name == path.stem and recipe.about and recipe.method and recipe.licence
    assert ("arXiv:" in recipe.method) or recipe.name == "recorded_pairs"
    for step in recipe.stages:
        for value in step.with_.values():
            if isinstance(value, str) and (prompts.FILES / f"{value}.yaml").is_file():
                prompts.load(value)
    assert all(registry.find("stage", s.use).doc for s in recipe.stages)


# ---- SCoRe's baselines


@pytest.fixture(scope="module", params=["star_correction", "pair_sft"])
def baseline(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path, Dataset]:
    """(name, output folder, dataset) with the oracle for a student that errs half of the time."""
    name, out = request.param, tmp_path_factory.mktemp("out")
    return name, out, run(name, out, "source.with.count=24", *ORACLE)


def test_a_baseline_gives_two_turn_rows_from_wrong_to_right(baseline: tuple[str, Path, Dataset]) -> None:
    rows = sft(baseline[2])
    assert len(rows) >= 12
    assert {r.transition for r in rows} == {"wrong_to_right"}, "without a share, none is right to right"
    assert {tuple(m.role for m in r.messages) for r in rows} == {("user", "assistant", "user", "assistant")}
    assert {r.messages[2].content for r in rows} == {"There may be an error\nSolve it again"}
    for row in rows:
        assert {s.message: s.train for s in row.spans} == {1: False, 3: True}


@pytest.mark.parametrize("share", [0.1, 0.3])
def test_the_share_of_right_to_right_rows_is_the_one_asked(baseline: tuple[str, Path, Dataset], share: float) -> None:
    name, out, none = baseline
    changed = f"corpus.balance.with.right_to_right={share}"
    made = run(name, out, "source.with.count=24", *ORACLE, changed)
    rows = sft(made)
    right = [r for r in rows if r.transition == "right_to_right"]
    wrong = [r for r in rows if r.transition == "wrong_to_right"]
    assert {r.id for r in wrong} == {r.id for r in sft(none)}, "the share takes nothing from the others"
    assert len(right) == int(len(wrong) * share / (1 - share) + 1e-9) > 0
    assert abs(len(right) / len(rows) - share) <= 1 / len(rows)


def test_star_revises_and_pair_sft_does_not(baseline: tuple[str, Path, Dataset]) -> None:
    name, _, made = baseline
    funnel = {e["stage"]: e for e in made.manifest.funnel}
    assert ("revise" in funnel) == (name == "star_correction")
    for entry in made.manifest.funnel:
        assert entry["in"] == entry["out"] + entry["filtered"] + entry["quarantined"]
        assert sum(entry["reasons"].values()) == entry["filtered"] + entry["quarantined"]


# ---- attempts made elsewhere


def recorded(name: str) -> str:
    file = RECORDED / name
    if not file.is_file():
        pytest.skip(f"the recorded attempts ../shared/recorded/{name} are not here")
    return f"source.with.path={file.resolve()}"


def agreement(made: Dataset, verifier: str) -> dict[str, Any]:
    metrics = json.loads((made.path / "_manifest/metrics.json").read_text())
    tables = [t for t in metrics["agreement"] if t["verifier"] == verifier]
    assert len(tables) == 1 and tables[0]["label"] == "label"
    return {k: v for k, v in tables[0].items() if k not in ("verifier", "label")}


def test_number_agrees_with_every_label_of_gsm8k(tmp_path: Path) -> None:
    made = run("recorded_gsm8k", tmp_path, recorded("gsm8k_model_solutions.jsonl"))
    table = agreement(made, "number")
    assert table["both_pass"] + table["both_fail"] == 1320 and table["both_pass"] > 300 < table["both_fail"]
    assert table["only_verifier_passes"] == table["only_label_passes"] == table["unknown"] == 0
    proven(made, 50)


def test_math_equal_agrees_with_the_scores_of_math_cot(tmp_path: Path) -> None:
    made = run("recorded_math_cot", tmp_path, recorded("math_cot_x8.jsonl"))
    table = agreement(made, "math_equal")
    assert sum(table.values()) == 400
    assert table["both_pass"] + table["both_fail"] >= 0.99 * 400
    proven(made, 5)


def proven(made: Dataset, least: int) -> None:
    """SFT and DPO rows of real models' attempts: from wrong to right, and right before wrong."""
    rows, pairs = sft(made), dpo(made)
    assert len(rows) >= least and len(pairs) >= least
    assert {r.transition for r in rows} == {"wrong_to_right"}
    assert {(p.chosen_outcome, p.rejected_outcome) for p in pairs} == {("pass", "fail")}
    for row in rows:
        assert [m.role for m in row.messages] == ["user", "assistant", "user", "assistant"]
        assert {s.message: s.train for s in row.spans} == {1: False, 3: True}
    for pair in pairs:
        assert [m.role for m in pair.prompt] == ["user"] and pair.chosen[0].content != pair.rejected[0].content
