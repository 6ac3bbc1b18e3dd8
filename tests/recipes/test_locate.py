"""Recipes of location: what they measure and what they write, row by row."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from errata.records.rows import PrmRow
from errata.runners import job
from errata.runners.options import Options
from errata.store.check import check_dataset
from errata.store.reader import Dataset, open_dataset

ROOT = Path(__file__).resolve().parents[2]
RECORDED = ROOT / "../shared/recorded"


def run(name: str, out: Path, *changes: str) -> Dataset:
    """The dataset of a pipeline, checked by the program that reads only the files."""
    job.run(Options(recipe=ROOT / "pipelines" / f"{name}.yaml", out=out, changes=changes), lambda *_: None)
    made = open_dataset(out / name)
    assert check_dataset(made.path) == []
    return made


def metrics(made: Dataset) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((made.path / "_manifest/metrics.json").read_text())
    return found


# ---- bench_locate

CHANGES = {
    "processbench_gsm8k": (),
    "processbench_math": (),
    "bbmistake_multistep_arithmetic": (
        "source.with.columns={id: row, problem: input, answer: target}",
        "source.with.null_first_error=no_error",
        "source.with.attempts=[{steps: steps, first_error: mistake_index}]",
    ),
    "mr_gsm8k_wrong": (
        "source.with.label_base=1",
        "source.with.columns={id: uuid, problem: question, answer: ground_truth_answer}",
        "source.with.attempts=[{steps: model_output_steps, first_error: model_output_solution_first_error_step, "
        "reason: model_output_solution_first_error_reason, label: model_output_answer_correctness}]",
    ),
}
ROWS = {
    "processbench_gsm8k": (101, 103), "processbench_math": (214, 136), "bbmistake_multistep_arithmetic": (114, 32),
    "mr_gsm8k_wrong": (310, 0),
}  # fmt: skip


@pytest.mark.parametrize("name", CHANGES)
def test_the_arithmetic_locator_reaches_its_figures_on_human_labels(name: str, tmp_path: Path) -> None:
    file = RECORDED / f"{name}.jsonl"
    if not file.is_file():
        pytest.skip(f"the labelled solutions ../shared/recorded/{name}.jsonl are not here")
    made = run("bench_locate", tmp_path, f"source.with.path={file.resolve()}", *CHANGES[name])
    (found,) = metrics(made)["location"]
    assert (found["source"], found["locator"], found["label"]) == (file.name, "arithmetic", "label")
    assert (found["errors"], found["clean"], found["unlabelled"]) == (*ROWS[name], 0)
    assert found["rows"] == sum(ROWS[name]), "every row counts, also the second solution of one problem"
    if name.startswith("bbmistake"):
        assert found["f1"] >= 0.85
    elif name.startswith("processbench"):
        assert found["f1"] >= 0.07 and found["accuracy_clean"] > 0.92
        a, b = found["accuracy_error"], found["accuracy_clean"]
        assert found["f1"] == pytest.approx(2 * a * b / (a + b), abs=1e-5)
    else:
        assert found["f1"] is None and found["accuracy_clean"] is None and found["accuracy_error"] > 0.1


def written(folder: Path, rows: Iterable[tuple[list[str], Any]]) -> str:
    lines = [
        json.dumps({"id": i, "problem": f"What is {i}?", "steps": steps, "label": label, "final_answer_correct": None})
        for i, (steps, label) in enumerate(rows)
    ]
    (folder / "own.jsonl").write_text("\n".join(lines))
    return f"source.with.path={folder / 'own.jsonl'}"


def test_a_row_without_a_readable_label_is_unknown_and_never_wrong(tmp_path: Path) -> None:
    right, wrong = ["1 + 1 = 2", "2 + 2 = 4"], ["1 + 1 = 2", "2 + 2 = 5"]
    rows = [(right, -1), (wrong, -1), (wrong, 1), (wrong, 0), (right, 0), (right, None), (wrong, ""), (wrong, None)]
    made = run("bench_locate", tmp_path / "out", written(tmp_path, rows))
    assert metrics(made)["location"] == [
        {
            "source": "own.jsonl", "locator": "arithmetic", "label": "label", "rows": 5, "accuracy_error": 0.333333,
            "accuracy_clean": 0.5, "f1": 0.4, "errors": 3, "clean": 2, "unlabelled": 3,
        }
    ]  # fmt: skip
    spoilt = run("bench_locate", tmp_path / "again", written(tmp_path, [*rows, (wrong, "second"), (wrong, 7)]))
    assert metrics(spoilt)["location"] == metrics(made)["location"]
    assert [d.code for d in spoilt.rows("drops") if d.stage == "source"] == ["malformed_row"] * 2  # type: ignore[union-attr]


def test_steps_with_labels_come_out_for_a_process_reward_model(tmp_path: Path) -> None:
    made = run("bench_locate", tmp_path / "out", written(tmp_path, [(["1 + 1 = 2", "2 + 2 = 5", "So 5"], 1)]))
    (row,) = [r for r in made.rows("prm") if isinstance(r, PrmRow)]
    assert row.completions == ("1 + 1 = 2\n", "2 + 2 = 5\n", "So 5")
    assert row.labels == (True, False, False) and row.first_error == 1 and row.verdict == "unknown"
