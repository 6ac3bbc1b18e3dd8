"""Recipes of location: what they measure and what they write, row by row."""

import json
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from errata import chains
from errata.records.rows import OfflineRow, PrmRow, SftRow
from errata.records.types import Drop, Episode
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


# ---- glore


@pytest.fixture(scope="module")
def glore(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return run("glore", tmp_path_factory.mktemp("glore"), "source.with.count=7", "stages.sample.with.n=3")


def episodes(made: Dataset) -> dict[str, Episode]:
    return {e.id: e for e in made.rows("episodes") if isinstance(e, Episode)}


def test_sorm_rows_label_one_prefix_each_by_whether_any_continuation_passes(glore: Dataset) -> None:
    whole, rows = episodes(glore), [r for r in glore.rows("sorm") if isinstance(r, PrmRow)]
    assert len(rows) > 10
    for row in rows:
        e, n = whole[row.episode], len(row.completions)
        draft = e.attempt(row.lineage[0])
        assert row.prompt == e.problem.messages and row.completions == tuple(s.text for s in draft.steps[:n])
        assert row.labels[:-1] == (None,) * (n - 1) and row.labels[-1] is not None
        begun = [s.text for s in draft.steps[:n]]
        saved = [
            a for a in e.attempts
            if (a is draft or (a.parent == draft.id and a.kind == "forked")) and e.outcome(a.id) == "pass"
            and [s.text for s in a.steps[:n]] == begun
        ]  # fmt: skip
        # Positive iff a passing trace goes through the prefix, which speaks for all before it, too.
        assert row.labels[-1] == bool(saved)
        if not row.labels[-1] and n < len(draft.steps):
            (tried,) = {x.n for x in e.estimates if x.target == draft.id and x.name == "mc_value" and x.step == n}
            assert tried >= 8, "dead only after all K, and continuations of shorter prefixes that say the same"


def test_sorm_labels_are_balanced_per_prefix_length(glore: Dataset) -> None:
    count = Counter(
        (len(r.completions), r.labels[-1]) for r in glore.rows("sorm") if isinstance(r, PrmRow)
    )  # fmt: skip
    assert all(count[n, True] == count[n, False] for n, _ in count)
    assert any(d.code == "over_even" for d in glore.rows("drops") if isinstance(d, Drop))


def test_refinement_rows_train_the_right_solution_alone(glore: Dataset) -> None:
    whole = episodes(glore)
    for config in ("global_rows", "local_rows"):
        rows = [r for r in glore.rows(config) if isinstance(r, SftRow)]
        assert rows
        for row in rows:
            e = whole[row.episode]
            assert [m.role for m in row.messages] == ["user", "assistant", "user", "assistant"]
            assert {s.message: s.train for s in row.spans} == {1: False, 3: True}
            assert row.transition == "wrong_to_right" and row.messages[:1] == e.problem.messages
            draft, second = e.attempt(row.lineage[1]), e.attempt(row.lineage[2])
            assert e.outcome(draft.id) == "fail" and e.outcome(second.id) == "pass"
            assert row.messages[3].content == second.text
            said = row.messages[1].content
            if config == "global_rows":
                assert said == draft.text and second.stage == "sample"
                continue
            place = next(c for c in e.critiques if c.attempt == draft.id and c.source == "forks")
            good, bad = said.split("[BAD] ")
            assert good + bad == draft.text and good == "".join(s.text for s in draft.steps[: place.first_error])
            assert second.parent == draft.id and second.text.startswith(good), "it shares the good prefix"


# ---- spc


@pytest.fixture(scope="module")
def spc(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return run("spc", tmp_path_factory.mktemp("spc"), "source.with.count=14")


def offline(made: Dataset, config: str) -> list[OfflineRow]:
    return [r for r in made.rows(config) if isinstance(r, OfflineRow)]


def test_every_sneaky_step_is_proven_by_completions(spc: Dataset) -> None:
    injected = [(e, a) for e in episodes(spc).values() for a in e.attempts if a.stage == "inject"]
    assert len(injected) >= 4
    for e, a in injected:
        assert a.injection is not None and a.kind == "injected" and e.outcome(a.id) == "fail"
        assert (e.estimate(a.id, "success_original") or 0) >= 0.75
        assert (e.estimate(a.id, "success_injected") or 0) <= 0.5
        parent = e.attempt(str(a.parent))
        assert a.injection.original == parent.steps[a.injection.step].text != a.steps[a.injection.step].text
        chain = chains.parse(e.problem.text)
        found = chains.first_error(chain, [s.text for s in a.steps]) if chain else None
        assert found is not None and found.step == a.injection.step
    codes = {d.code for d in spc.rows("drops") if isinstance(d, Drop) and d.stage == "inject"}
    assert codes <= {"original_fails", "still_saved", "not_proven_wrong", "unchanged"}


def test_the_critic_is_rewarded_for_true_answers_on_wrong_and_on_right_steps(spc: Dataset) -> None:
    whole, rows = episodes(spc), offline(spc, "critic_rl")
    sides = Counter()  # type: ignore[var-annotated]
    for row in rows:
        e = whole[row.episode]
        critique = e.critique(row.lineage[0])
        partial = e.attempt(critique.attempt)
        side = next(t.value for t in partial.tags if t.name == "side")
        k = len(partial.steps) - 1
        asked = "".join(s.text for s in partial.steps)
        assert [m.content for m in row.messages[-3:-1]] == [asked, "Is the last step right?"]
        assert row.messages[-1].content == critique.text and [s.train for s in row.spans if s.message == 3] == [True]
        true = critique.first_error == k if side == "injected" else critique.verdict == "no_error"
        assert row.reward == (1.0 if true else -1.0)
        sides[side, row.reward] += 1
        # No answer, no later step and no wrong conclusion is in what the critic saw.
        assert "The answer is" not in row.messages[1].content
    assert {s for s, _ in sides} == {"injected", "original"} and {r for _, r in sides} == {1.0, -1.0}


def test_the_generator_wins_where_the_critic_loses(spc: Dataset) -> None:
    whole, rows = episodes(spc), offline(spc, "sneaky_rl")
    critic = {r.lineage[1]: r.reward for r in offline(spc, "critic_rl")}
    assert rows
    for row in rows:
        e = whole[row.episode]
        original, injected = e.attempt(row.lineage[1]), e.attempt(row.lineage[2])
        (against,) = [a for a in e.attempts if a.kind == "truncated" and a.parent == injected.id]
        assert row.reward == -critic[against.id]
        shown = [m.content for m in row.messages[:-1]]
        assert shown == [e.problem.text, original.text, "Make the last step wrong"]
        told = json.loads(row.messages[-1].content)
        assert injected.steps[len(original.steps) - 1].text.strip() == told["step"]
        assert injected.injection is not None and told["error_type"] == injected.injection.kind


def test_the_report_sets_injected_errors_beside_the_students_own(spc: Dataset) -> None:
    told = metrics(spc)["injection"]
    assert sum(told["injected"]["kinds"].values()) == sum(told["injected"]["rules"].values()) >= 4
    assert sum(told["own"]["kinds"].values()) > 0 and 0 < told["kinds_distance"] <= 1
