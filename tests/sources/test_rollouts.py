"""Problems with attempts made elsewhere."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from errata.errors import RecipeError, SourceError
from errata.recipe.read import read
from errata.records.types import Drop, Episode
from errata.sources.rollouts import rollouts
from errata.sources.table import table
from tests.sources.support import RECORDED, drops, episodes

KEYS = ("6b_finetuning", "6b_verification", "175b_finetuning", "175b_verification")
GSM8K: dict[str, Any] = {
    "columns": {"problem": "question", "answer": "ground_truth | after('A:')", "solution": "ground_truth | lines"},
    "attempts": [{"text": f"{k}.solution", "label": f"{k}.is_correct", "model": f"'{k}'"} for k in KEYS],
}
LISTS: dict[str, Any] = {"columns": {"problem": "q"}, "attempts": [{"text": "code.*", "label": "score.*"}]}
STEPS: dict[str, Any] = {"columns": {"problem": "q"}, "attempts": [{"steps": "steps", "first_error": "label"}]}


def run(path: Path, **config: Any) -> list[Episode | Drop]:
    return list(rollouts(path=str(path), **{"verifier": "number", **config}))


def write(folder: Path, *rows: dict[str, Any]) -> Path:
    path = folder / "t.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_parallel_lists_become_attempts_with_verdicts(tmp_path: Path) -> None:
    row = {"q": "x", "code": ["a\nb\n\nc", "d", "e"], "score": [True, 0, None]}
    (item,) = run(write(tmp_path, row), **LISTS)
    assert isinstance(item, Episode)
    assert [a.text for a in item.attempts] == row["code"]
    assert [s.text for s in item.attempts[0].steps] == ["a\n", "b\n\n", "c"]
    assert [a.index for a in item.attempts] == [0, 1, 2] and len({a.id for a in item.attempts}) == 3
    for attempt in item.attempts:
        assert (attempt.kind, attempt.stage, attempt.complete, attempt.call, attempt.parent) == (
            "rollout",
            "source",
            True,
            None,
            None,
        )
        assert {s.source for s in attempt.steps} == {"rollout"}
    assert [item.outcome(a.id, "label") for a in item.attempts] == ["pass", "fail", "unknown"]
    assert {(v.stage, v.verifier, v.version) for v in item.verdicts} == {("source", "label", 1)}
    assert len(item.verdicts) == 3 and not item.critiques


def test_steps_become_an_attempt_and_first_errors_critiques(tmp_path: Path) -> None:
    steps = ["First.", "", "Then.\n", "Last."]
    labels = (0, 3, -1, None)
    items = run(write(tmp_path, *({"q": str(n), "steps": steps, "label": n} for n in labels)), **STEPS)
    found = episodes(items)
    assert [s.text for s in found[0].attempts[0].steps] == ["First.\n", "\n", "Then.\n", "Last."]
    assert [(e.critiques[0].verdict, e.critiques[0].first_error) for e in found] == [
        ("error", 0),
        ("error", 3),
        ("no_error", None),
        ("unknown", None),
    ]
    assert all(e.critiques[0].attempt == e.attempts[0].id and e.critiques[0].source == "label" for e in found)
    assert not any(e.verdicts for e in found)


def test_labels_from_one_and_null_as_no_error(tmp_path: Path) -> None:
    rows = [{"q": str(n), "steps": ["a", "b"], "label": n} for n in (1, 2, None, 0, 3)]
    items = run(write(tmp_path, *rows), **STEPS, label_base=1, null_first_error="no_error")
    assert [(e.critiques[0].verdict, e.critiques[0].first_error) for e in episodes(items)] == [
        ("error", 0),
        ("error", 1),
        ("no_error", None),
    ]
    assert [d.detail for d in drops(items)] == [
        f"t.jsonl line {line}: attempts.0.first_error: {n} is none of the 2 steps, counted from 1"
        for line, n in ((4, 0), (5, 3))
    ]


def test_no_label_is_invented(tmp_path: Path) -> None:
    (item,) = episodes(
        run(write(tmp_path, {"q": "x", "code": ["a"]}), columns={"problem": "q"}, attempts=[{"text": "code.*"}])
    )
    assert len(item.attempts) == 1 and not item.verdicts and not item.critiques


def test_reasons_and_models_are_kept(tmp_path: Path) -> None:
    row = {"q": "x", "steps": ["a"], "label": 0, "why": "a is wrong", "m": "m1", "other": "b"}
    entries = [{**STEPS["attempts"][0], "reason": "why", "model": "m"}, {"text": "other"}]
    (item,) = episodes(run(write(tmp_path, row), columns={"problem": "q", "meta.level": "label"}, attempts=entries))
    assert item.critiques[0].text == "a is wrong"
    assert json.loads(item.problem.meta) == {"level": 0, "models": ["m1", None]}


def test_an_empty_attempt_is_a_drop_and_leaves_the_others_their_ids(tmp_path: Path) -> None:
    whole = episodes(run(write(tmp_path, {"q": "x", "code": ["a", "b", "c"], "score": [1, 0, 1]}), **LISTS))[0]
    items = run(write(tmp_path, {"q": "x", "code": ["a", " ", None, "d"], "score": [1, 0, 1, 1]}), **LISTS)
    item, *told = items
    assert isinstance(item, Episode)
    assert [a.index for a in item.attempts] == [0, 3]
    assert item.attempts[0] == whole.attempts[0]
    assert [(d.episode, d.code, d.target) for d in drops(told)] == [
        (item.id, "empty_attempt", whole.attempts[k].id) for k in (1, 2)
    ]
    assert drops(told)[0].detail == "t.jsonl line 1: attempts.0 item 1 is empty"


@pytest.mark.parametrize(
    "row", [{"code": [], "score": []}, {"code": None, "score": None}, {"code": [""], "score": [True]}]
)
def test_a_row_without_attempts_is_one_drop(tmp_path: Path, row: dict[str, Any]) -> None:
    (drop,) = drops(run(write(tmp_path, {"q": "x", **row}), **LISTS))
    assert (drop.code, drop.episode == drop.target, drop.kind) == ("no_attempts", True, "quarantined")


@pytest.mark.parametrize(
    ("row", "told"),
    [
        ({"code": ["a"], "score": []}, "attempts.0: its lists differ in length: code.* has 1, score.* has 0"),
        ({"code": "a", "score": []}, "attempts.0.text (code.*): code is no list"),
        ({"code": ["a"], "score": ["maybe"]}, "attempts.0 item 0.label: 'maybe' is no label of correctness"),
        ({"code": [["a"]], "score": [True]}, "attempts.0 item 0.text: it is a list, not a text"),
        ({"code": ["a"]}, "attempts.0.label (score.*): the row has no 'score': it has code, q"),
    ],
)
def test_a_malformed_row_is_told(tmp_path: Path, row: dict[str, Any], told: str) -> None:
    good = {"q": "good", "code": ["a"], "score": [True]}
    items = run(write(tmp_path, good, {"q": "x", **row}, {**good, "q": "better"}), **LISTS)
    assert len(episodes(items)) == 2
    (drop,) = drops(items)
    assert drop.code == "malformed_row"
    assert drop.detail.startswith(f"t.jsonl line 2: {told}")


def test_a_repeated_problem_takes_its_attempts_along(tmp_path: Path) -> None:
    items = run(write(tmp_path, *2 * [{"q": "x", "code": ["a", ""], "score": [1, 1]}]), **LISTS)
    assert [type(i).__name__ for i in items] == ["Episode", "Drop", "Drop"]
    assert [d.code for d in drops(items)] == ["empty_attempt", "duplicate_problem"]


def test_a_problem_has_the_id_that_it_has_in_a_table(tmp_path: Path) -> None:
    path = write(tmp_path, {"q": "x", "code": ["a"], "score": [1]})
    plain = episodes(table(path=str(path), columns={"problem": "q"}, verifier="number"))
    assert [e.id for e in plain] == [e.id for e in episodes(run(path, **LISTS))]


@pytest.mark.parametrize(
    ("config", "told"),
    [
        ({"attempts": []}, "attempts is a list of entries"),
        ({"attempts": [{"label": "x"}]}, "attempts.0 needs one of `text`, `steps`"),
        ({"attempts": [{"text": "x", "steps": "y"}]}, "attempts.0 needs one of"),
        ({"attempts": [{"text": "x", "lable": "y"}]}, "attempts.0 has no field 'lable'"),
        ({"attempts": [{"text": "x", "label": "y.*"}]}, "attempts.0: `*` in a label"),
        ({"attempts": [{"text": "x", "reason": "y"}]}, "reason for no `first_error`"),
        ({"columns": {"answer": "a"}}, "columns has no `problem`"),
        ({"segment": "words"}, "segment 'words' is no rule"),
        ({"label_base": 2}, "label_base is 2"),
        ({"null_first_error": "none"}, "null_first_error is 'none'"),
    ],
)
def test_bad_configuration_is_refused(config: dict[str, Any], told: str) -> None:
    with pytest.raises(RecipeError) as error:
        run(Path("absent.jsonl"), **{**LISTS, **config})
    assert told in str(error.value)


def test_a_wrong_key_in_the_first_row_stops_the_run(tmp_path: Path) -> None:
    path = write(tmp_path, {"q": "x", "a": {"text": "y"}})
    with pytest.raises(SourceError, match=r"attempts\.0\.text \(a\.txt\): a has no 'txt': it has text"):
        run(path, columns={"problem": "q"}, attempts=[{"text": "a.txt"}])
    with pytest.raises(SourceError, match="has no column 'b': it has 'q', 'a'"):
        run(path, columns={"problem": "q"}, attempts=[{"text": "b.text"}])


recorded = pytest.mark.skipif(not RECORDED.is_dir(), reason="the recorded files of ../shared are not here")


@recorded
def test_recorded_gsm8k_solutions() -> None:
    items = episodes(run(RECORDED / "gsm8k_model_solutions.jsonl", **GSM8K))
    assert len(items) == 330 and not drops(run(RECORDED / "gsm8k_model_solutions.jsonl", **GSM8K))
    assert Counter(v.outcome for e in items for v in e.verdicts) == {"fail": 832, "pass": 488}
    assert items[0].problem.answer == "90" and items[0].problem.solution[-1] == "A: 90"
    assert json.loads(items[0].problem.meta) == {"models": list(KEYS)}
    with (RECORDED / "gsm8k_model_solutions.jsonl").open() as file:
        texts = [json.loads(line)[key]["solution"] for line in file for key in KEYS]
    assert [a.text for e in items for a in e.attempts] == texts


@recorded
def test_recorded_math_cot() -> None:
    items = run(
        RECORDED / "math_cot_x8.jsonl",
        columns={"problem": "question", "answer": "gt", "meta.level": "level"},
        attempts=[{"text": "code.*", "label": "score.*"}],
        segment="paragraphs",
    )
    assert len(episodes(items)) == len(items) == 50
    assert Counter(v.outcome for e in episodes(items) for v in e.verdicts) == {"pass": 370, "fail": 30}


@recorded
@pytest.mark.parametrize(
    ("file", "columns", "steps", "label", "config", "counts"),
    [
        ("processbench_gsm8k", {"problem": "problem", "id": "id"}, "steps", "label", {}, (101, 103)),
        ("processbench_math", {"problem": "problem", "id": "id"}, "steps", "label", {}, (214, 136)),
        (
            "mr_gsm8k_wrong",
            {"problem": "question", "id": "uuid", "answer": "ground_truth_answer"},
            "model_output_steps",
            "model_output_solution_first_error_step",
            {"label_base": 1},
            (310, 0),
        ),
        *(
            (
                f"bbmistake_{name}",
                {"problem": "input"},
                "steps",
                "mistake_index",
                {"null_first_error": "no_error"},
                counts,
            )
            for name, counts in (
                ("dyck_languages", (149, 101)),
                ("logical_deduction", (140, 2)),
                ("multistep_arithmetic", (114, 32)),
            )
        ),
    ],
)
def test_recorded_first_errors(
    file: str, columns: dict[str, str], steps: str, label: str, config: dict[str, Any], counts: tuple[int, int]
) -> None:
    entries = [{"steps": steps, "first_error": label}]
    items = run(RECORDED / f"{file}.jsonl", columns=columns, attempts=entries, **config)
    assert not drops(items)
    found = Counter(c.verdict for e in episodes(items) for c in e.critiques)
    assert (found["error"], found["no_error"], found["unknown"]) == (*counts, 0)


# ---- critiques made elsewhere

SAID: dict[str, Any] = {
    "columns": {"problem": "q"},
    "label_base": 1,
    "critique_error": r"Step (\d+) is wrong",
    "critique_no_error": "all fine",
}


def test_words_about_an_attempt_become_a_critique_with_its_label(tmp_path: Path) -> None:
    rows = [
        {"q": "1", "a": "x\ny", "c": "Step 2 is wrong", "ok": "correct", "by": "m1"},
        {"q": "2", "a": "x\ny", "c": "all fine", "ok": False, "by": None},
        {"q": "3", "a": "x\ny", "c": "Step 9 is wrong", "ok": None, "by": "m2"},
        {"q": "4", "a": "x\ny", "c": None, "ok": True, "by": "m2"},
    ]
    entry = {"text": "a", "critique": "c", "critique_label": "ok", "critic": "by"}
    found = episodes(run(write(tmp_path, *rows), **SAID, attempts=[entry]))
    told = [[(c.verdict, c.first_error, c.text, c.source, c.stage) for c in e.critiques] for e in found]
    assert told == [
        [("error", 1, "Step 2 is wrong", "critic", "source")],
        [("no_error", None, "all fine", "critic", "source")],
        [("unknown", None, "Step 9 is wrong", "critic", "source")],
        [],
    ]
    assert [[e.outcome(c.id, "label") for c in e.critiques] for e in found] == [["pass"], ["fail"], ["unknown"], []]
    assert [[t.value for c in e.critiques for t in c.tags] for e in found] == [["m1"], [], ["m2"], []]
    assert all(e.critiques[0].attempt == e.attempts[0].id for e in found[:3])


def test_one_attempt_may_have_several_critiques_and_several_attempts_one_each(tmp_path: Path) -> None:
    row = {"q": "1", "a": "x", "cs": [{"t": "all fine", "ok": 1}, {"t": "Step 1 is wrong", "ok": 0}], "as": ["u", "v"]}
    entries = [{"text": "a", "critique": "cs.*.t", "critique_label": "cs.*.ok", "critic": "'m'"}]
    (one,) = episodes(run(write(tmp_path, row), **SAID, attempts=entries))
    assert [(c.index, c.text, one.outcome(c.id, "label")) for c in one.critiques] == [
        (0, "all fine", "pass"), (1, "Step 1 is wrong", "fail"),
    ]  # fmt: skip
    assert [c.tags[0].value for c in one.critiques] == ["m", "m"]
    (two,) = episodes(run(write(tmp_path, row), **SAID, attempts=[{"text": "as.*", "critique": "cs.*.t"}]))
    assert {two.attempt(c.attempt).text: c.text for c in two.critiques} == {"u": "all fine", "v": "Step 1 is wrong"}
    assert not two.verdicts


def test_a_second_file_is_joined_and_every_row_of_it_accounted_for(tmp_path: Path) -> None:
    main = write(tmp_path, {"q": "1", "a": "x", "id": 1}, {"q": "2", "a": "y", "id": 2})
    other = tmp_path / "c.jsonl"
    said = [{"id": 1, "t": "all fine"}, {"id": 3, "t": "all fine"}, {"id": 1, "t": "Step 1 is wrong"}]
    other.write_text("".join(json.dumps(r) + "\n" for r in said) + "{\n")
    items = run(main, **SAID, attempts=[{"text": "a", "critique": "joined.*.t"}], join=str(other))
    assert [[c.text for c in e.critiques] for e in episodes(items)] == [["all fine", "Step 1 is wrong"], []]
    assert sorted((d.code, d.detail.split(":")[0]) for d in drops(items)) == [
        ("malformed_row", "c.jsonl line 4"), ("no_such_row", "c.jsonl line 2"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"attempts": [{"text": "a", "critique_label": "ok"}]}, "has a label or a name for no `critique`"),
        ({"critique_error": "Step"}, "needs a group"),
        ({"critique_error": "Step ("}, "is no pattern"),
        ({"join": "c.txt"}, "is of no known format"),
    ],
)
def test_faults_of_critiques_are_told(tmp_path: Path, changes: dict[str, Any], told: str) -> None:
    config = {**SAID, "attempts": [{"text": "a", "critique": "c"}], **changes}
    with pytest.raises(RecipeError, match=told):
        run(write(tmp_path, {"q": "1", "a": "x", "c": "all fine"}), **config)


def test_lists_of_critiques_that_differ_in_length_are_a_malformed_row(tmp_path: Path) -> None:
    row = {"q": "1", "a": "x", "c": ["u", "v"], "ok": [True]}
    entry = {"text": "a", "critique": "c.*", "critique_label": "ok.*"}
    good = {"q": "2", "a": "x", "c": ["u"], "ok": [True]}
    (drop,) = drops(run(write(tmp_path, good, row), **SAID, attempts=[entry]))
    assert drop.code == "malformed_row" and "differ in length" in drop.detail


def test_the_recorded_critiques_come_in_whole() -> None:
    paths = {name: RECORDED / f"mr_gsm8k_{name}.jsonl" for name in ("wrong", "critiques")}
    if not all(p.is_file() for p in paths.values()):
        pytest.skip("the recorded critiques ../shared/recorded/mr_gsm8k_*.jsonl are not here")
    recipe = read(Path(__file__).resolve().parents[2] / "pipelines/recorded_critiques.yaml")
    options = {**recipe.source.with_, "path": str(paths["wrong"]), "join": str(paths["critiques"])}
    found = list(rollouts(**options))
    assert not drops(found)
    labels = Counter(e.outcome(c.id, "label") for e in episodes(found) for c in e.critiques if c.source == "critic")
    assert labels == {"pass": 98, "fail": 142}
    by_attempt = {(c.attempt, c.source): c.first_error for e in episodes(found) for c in e.critiques}
    places = [(at, by_attempt[a, "label"]) for (a, source), at in by_attempt.items() if source == "critic"]
    assert len(places) == 200 and all(said == true for said, true in places), "only these have a label of their reason"
