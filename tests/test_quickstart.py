"""The main job as a new user runs it: the quickstart, whole, on the pocket student that is shipped."""

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from errata import chains
from errata.records.rows import DpoRow, SftRow
from errata.records.types import Episode
from errata.store.check import check_dataset
from errata.store.reader import Dataset, open_dataset

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def printed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """(output folder, what the command printed)."""
    out = tmp_path_factory.mktemp("quickstart")
    command = [sys.executable, "-m", "errata.cli", "run", "pipelines/quickstart.yaml", "--out", str(out)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=900, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""  # no terminal, no bars
    return out, done.stdout


@pytest.fixture(scope="module")
def dataset(printed: tuple[Path, str]) -> Dataset:
    return open_dataset(printed[0] / "quickstart")


def episodes(dataset: Dataset) -> list[Episode]:
    return list(dataset.rows("episodes"))


def test_it_writes_at_least_300_rows_of_each_kind(dataset: Dataset) -> None:
    rows = {config: sum(splits.values()) for config, splits in dataset.manifest.configs.items()}
    assert rows["sft"] >= 300
    assert rows["dpo"] >= 300
    assert check_dataset(dataset.path) == []


def test_it_ends_by_telling_where_the_yield_and_an_example(printed: tuple[Path, str], dataset: Dataset) -> None:
    _, text = printed
    assert str(dataset.path) in text
    for entry in dataset.manifest.funnel:
        assert entry["stage"] in text
    assert "  x " in text and "masked" in text and "reflection" in text


def test_trainers_load_it_as_it_is(dataset: Dataset, tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    sft = datasets.load_dataset(str(dataset.path), "sft", cache_dir=str(tmp_path))["train"]
    assert sft.num_rows == sum(dataset.manifest.configs["sft"].values())
    assert {"messages", "spans"} <= set(sft.column_names)
    dpo = datasets.load_dataset(str(dataset.path), "dpo", cache_dir=str(tmp_path))["train"]
    assert {"prompt", "chosen", "rejected"} <= set(dpo.column_names)


def test_the_student_errs_as_the_issue_asks(dataset: Dataset) -> None:
    """Right on 40 to 75 % of all sampled attempts; its errors are spread over kinds and over the solution."""
    measured = json.loads((dataset.path / "_manifest" / "metrics.json").read_text())
    outcomes = measured["outcomes"]["sample"]
    assert 0.40 <= outcomes["right"] / sum(outcomes.values()) <= 0.75
    kinds: Counter[str] = Counter()
    tenths: Counter[int] = Counter()
    for episode in episodes(dataset):
        chain = chains.parse(episode.problem.text)
        assert chain is not None
        for attempt in episode.attempts:
            if attempt.stage == "sample" and episode.outcome(attempt.id) == "fail":
                found = chains.first_error(chain, [s.text for s in attempt.steps])
                assert found is not None
                kinds[found.kind] += 1
                tenths[min(9, 10 * found.step // len(attempt.steps))] += 1
    total = sum(kinds.values())
    assert len([k for k, n in kinds.items() if n >= 0.03 * total]) >= 3
    assert max(kinds.values()) <= 0.8 * total
    # Most errors are made at the start, where the student must find what can be computed first.
    assert tenths[0] <= 0.75 * total
    assert len([t for t, n in tenths.items() if n >= 0.02 * total]) >= 6


def test_a_critique_beats_no_critique_at_all(dataset: Dataset) -> None:
    found = json.loads((dataset.path / "_manifest" / "metrics.json").read_text())["revisions"]["revise"]
    assert found["mended"] > 0.2


def test_every_splice_is_the_students_own_mistake_masked(dataset: Dataset) -> None:
    by_id = {e.id: e for e in episodes(dataset)}
    for row in dataset.rows("sft"):
        assert isinstance(row, SftRow)
        episode = by_id[row.episode]
        spliced = episode.attempt(row.lineage[0])
        first = episode.attempt(row.lineage[1])
        chain = chains.parse(episode.problem.text)
        assert chain is not None and spliced.fork_step is not None
        error = chains.first_error(chain, [s.text for s in first.steps])
        assert error is not None and error.step == spliced.fork_step
        content = row.messages[-1].content
        masked = [content[s.start : s.end] for s in row.spans if not s.train]
        assert masked == [first.steps[error.step].text]
        assert content.startswith("".join(s.text for s in first.steps[: error.step + 1]))
        assert chains.answer(content) == episode.problem.answer
        kept = [s.text for s in spliced.steps if s.train and s.role != "reflection"]
        assert chains.first_error(chain, kept) is None


def test_every_pair_prefers_right_over_wrong(dataset: Dataset) -> None:
    by_id = {e.id: e for e in episodes(dataset)}
    for row in dataset.rows("dpo"):
        assert isinstance(row, DpoRow)
        chain = chains.parse(by_id[row.episode].problem.text)
        assert chain is not None
        assert chains.first_error(chain, row.chosen[0].content.split("\n")) is None
        assert chains.first_error(chain, row.rejected[0].content.split("\n")) is not None
