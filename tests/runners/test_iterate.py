"""Rounds with a new student: what each is made of, that nothing finished is done twice, and how it fails."""

import json
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from errata.cli import main
from errata.engines.pocket import FILES, Pocket
from errata.errors import RecipeError, ReplayMiss, StoreError, TrainingError
from errata.objects import locate
from errata.records.rounds import Round, rounds_schema
from errata.runners.iterate import ROUNDS, iterate, read_rounds
from errata.runners.options import Options
from errata.store.check import check_dataset
from errata.store.reader import open_dataset
from tests.runners.support import ROOT, Recipe, command, environment, one_line, start, told

TRAIN = (
    f"{{python}} {ROOT / 'tests/runners/perturb.py'} --dataset {{dataset}} --config {{config}} --model {{model}} "
    "--out {out} --round {round} --seed {seed}"
)
BASE: dict[str, Any] = {
    "name": "rounds",
    "version": 1,
    "seed": 3,
    "source": {"use": "procedural", "with": {"count": 6, "operations": [1, 2], "distractors": [0, 0]}},
    "engines": {"student": {"use": "pocket", "with": {"threads": 1}, "sampling": {"max_tokens": 60}}},
    "stages": [{"use": "sample", "with": {"n": 3, "steps": "chain"}}, {"use": "verify"}],
    "exports": [{"use": "sft", "with": {"of": ["sample"]}}],
}


@dataclass
class Rounds:
    """A recipe of rounds, and what its training command was given."""

    folder: Path
    extra: str = ""
    block: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.recipe = Recipe(self.folder / "recipe", BASE)
        self.recipe.data["iterate"] = {"train": f"{TRAIN} --calls {self.calls} {self.extra}", **self.block}
        self.recipe.write()
        self.out = self.folder / "out"
        self.lines: list[str] = []

    @property
    def calls(self) -> Path:
        return self.folder / "calls"

    @property
    def given(self) -> list[dict[str, Any]]:
        """What each call of the command was told, in order."""
        return [json.loads(p.read_text()) for p in sorted(self.calls.glob("*.json"))]

    def run(self, *changes: str, rounds: int | None = None, models: Path | None = None, **options: Any) -> list[Round]:
        chosen = Options(recipe=self.recipe.path, out=options.pop("out", self.out), changes=changes, **options)
        self.lines.clear()
        return iterate(chosen, lambda *_: None, rounds=rounds, models=models, tell=self.lines.append)

    @property
    def account(self) -> Path:
        return self.out / "rounds" / ROUNDS

    @property
    def command(self) -> list[str]:
        """The command line, for a process of its own."""
        return command("iterate", self.recipe.path, "--out", self.out)

    def versions(self) -> list[Path]:
        return sorted(p for p in (self.out / "rounds").glob("1-*") if p.is_dir())


@pytest.fixture(scope="module")
def three(tmp_path_factory: pytest.TempPathFactory) -> tuple[Rounds, list[Round]]:
    """Three rounds as a recipe has them by default."""
    made = Rounds(tmp_path_factory.mktemp("three"))
    return made, made.run()


def test_each_round_is_a_version_made_by_the_student_that_the_last_one_trained(
    three: tuple[Rounds, list[Round]],
) -> None:
    made, done = three
    assert [r.round for r in done] == [1, 2, 3]
    assert sorted(r.version for r in done) == [p.name for p in made.versions()] and len(made.versions()) == 3
    assert done[0].before == Pocket().identity.revision
    assert [r.after for r in done[:-1]] == [r.before for r in done[1:]]
    assert len({done[0].before, *(r.after for r in done)}) == 4
    for r in done:
        data = open_dataset(made.out / r.dataset)
        assert check_dataset(data.path) == []
        assert (data.manifest.version, data.manifest.content_hash) == (r.version, r.content_hash)
        assert [m["revision"] for m in data.manifest.models] == [r.before]
        model = made.out / "models" / r.training.name
        assert {*FILES} <= {p.name for p in model.iterdir()}
        assert Pocket(path=str(model)).identity.revision == r.after
        assert model.with_name(f"{model.name}.log").read_text().startswith(f"round {r.round} of a stand-in")


def test_the_command_is_given_what_its_placeholders_stand_for(three: tuple[Rounds, list[Round]]) -> None:
    made, done = three
    given = made.given[:3]  # another test goes on to a fourth
    assert [g["datasets"] for g in given] == [[r.version] for r in done]
    assert [g["model"] for g in given] == ["pocket", *(r.training.name for r in done[:-1])]
    assert [g["config"] for g in given] == ["sft"] * 3
    seeds = [g["seed"] for g in given]
    assert len(set(seeds)) == 3 and all(0 <= s < 2**31 for s in seeds)
    assert [r.training.metrics for r in done] == [
        {"datasets": g["datasets"], "config": "sft", "model": g["model"], "loss": 0.5} for g in made.given
    ]


def test_the_account_holds_every_round_and_fits_its_schema(three: tuple[Rounds, list[Round]]) -> None:
    made, done = three
    assert read_rounds(made.account) == done
    body = json.loads(made.account.read_text())
    assert not list(Draft202012Validator(rounds_schema()).iter_errors(body))
    assert str(made.folder) not in json.dumps(body["rounds"][0]["dataset"])
    damaged = made.folder / "damaged.json"
    damaged.write_text(made.account.read_text().replace('"round": 2', '"round": 7'))
    with pytest.raises(StoreError, match="does not match its seal"):
        read_rounds(damaged)


def test_again_does_nothing_and_more_rounds_go_on(three: tuple[Rounds, list[Round]]) -> None:
    made, done = three
    calls, account = len(made.given), made.account.read_bytes()
    assert made.run() == done
    assert len(made.given) == calls and made.account.read_bytes() == account
    assert all(line.endswith("(was there)") for line in made.lines)
    four = made.run(rounds=4)
    assert four[:3] == done and len(made.given) == calls + 1
    assert read_rounds(made.account) == four
    assert made.run(rounds=1) == done[:1]


def test_a_plain_run_makes_the_first_round_from_its_journal(three: tuple[Rounds, list[Round]], tmp_path: Path) -> None:
    made, done = three
    found = start(made.recipe.path, tmp_path, journal=made.out / "journal")
    assert found.manifest.version == done[0].version and found.manifest.content_hash == done[0].content_hash
    assert isinstance(found.path, Path) and told(found.path)["requests"] == 0
    manifest = (found.path / "_manifest/manifest.json").read_bytes()
    assert manifest == (made.out / done[0].dataset / "_manifest/manifest.json").read_bytes()


def test_a_replay_asks_no_engine_and_runs_no_command(three: tuple[Rounds, list[Round]], tmp_path: Path) -> None:
    made, done = three
    calls = len(made.given)
    again: dict[str, Any] = {"replay": True, "journal": made.out / "journal", "out": tmp_path / "again"}
    assert made.run(models=made.out / "models", **again) == done
    assert len(made.given) == calls
    with pytest.raises(StoreError, match="--replay runs no training"):
        made.run(**{**again, "out": tmp_path / "nowhere"})
    with pytest.raises(ReplayMiss):
        made.run("seed=4", models=made.out / "models", **again)


def test_a_model_that_was_changed_since_is_told(three: tuple[Rounds, list[Round]], tmp_path: Path) -> None:
    made, done = three
    models = tmp_path / "models"
    shutil.copytree(made.out / "models", models)
    assert made.run(models=models, rounds=3) == done, "where models lie changes nothing"
    shutil.copytree(models, tmp_path / "changed")
    with (tmp_path / "changed" / done[1].training.name / "tokenizer.json").open("a") as file:
        file.write(" ")
    with pytest.raises(StoreError, match="is not the model that was trained"):
        made.run(models=tmp_path / "changed", rounds=3)


# ---- what changes between rounds


def test_each_round_has_its_own_changes_and_the_last_entry_stays(tmp_path: Path) -> None:
    sets = [[], ["stages.sample.with.n=2", "seed=9"]]
    made = Rounds(tmp_path, block={"sets": sets})
    done = made.run("engines.student.sampling.max_tokens=50")
    assert [r.changes for r in done] == [(), tuple(sets[1]), tuple(sets[1])]
    recorded = [open_dataset(made.out / r.dataset).manifest.recipe for r in done]
    assert [r["stages"][0]["with"]["n"] for r in recorded] == [3, 2, 2]
    assert [r["seed"] for r in recorded] == [3, 9, 9]
    assert {r["engines"]["student"]["sampling"]["max_tokens"] for r in recorded} == {50}


def test_from_the_base_each_round_and_on_all_data(tmp_path: Path) -> None:
    made = Rounds(tmp_path, block={"start": "base", "keep": "all"})
    done = made.run()
    assert [g["model"] for g in made.given] == ["pocket"] * 3
    versions = [r.version for r in done]
    assert [g["datasets"] for g in made.given] == [versions[: i + 1] for i in range(3)]
    assert [r.trained_on for r in done] == [tuple(versions[: i + 1]) for i in range(3)]
    assert {r.training.start for r in done} == {done[0].before}
    assert [r.after for r in done[:-1]] == [r.before for r in done[1:]]


def test_a_changed_script_trains_anew(tmp_path: Path) -> None:
    script = tmp_path / "train.py"
    script.write_text((ROOT / "tests/runners/perturb.py").read_text())
    made = Rounds(tmp_path, block={"rounds": 1})
    made.recipe.data["iterate"]["train"] = made.recipe.data["iterate"]["train"].replace(
        str(ROOT / "tests/runners/perturb.py"), str(script)
    )
    made.recipe.write()
    (first,) = made.run()
    script.write_text(script.read_text().replace("0.003 *", "0.002 *"))
    (second,) = made.run()
    assert first.version == second.version and first.after != second.after
    assert read_rounds(made.account) == [first, second], "what was said is never taken back"


# ---- killed


def killed_when(ready: Callable[[], bool], arguments: list[str], how: int) -> int:
    with subprocess.Popen(arguments, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        while not ready():
            assert process.poll() is None, process.communicate()[1].decode()
            time.sleep(0.005)
        process.send_signal(how)
        process.communicate()
    return process.returncode


def gone(pid: int) -> bool:
    stat = Path(f"/proc/{pid}/stat")
    return not stat.exists() or stat.read_text().rpartition(")")[2].split()[0] == "Z"


@pytest.mark.parametrize(("how", "code"), [(signal.SIGKILL, -signal.SIGKILL), (signal.SIGTERM, 143)])
def test_killed_in_a_training_it_resumes_there(
    three: tuple[Rounds, list[Round]], tmp_path: Path, how: signal.Signals, code: int
) -> None:
    hang = tmp_path / "hang"
    made = Rounds(tmp_path, extra=f"--hang {hang}", block={"rounds": 2})
    (first,) = made.run(rounds=1)
    hang.touch()
    assert killed_when(lambda: len(made.given) == 2, made.command, how) == code
    for _ in range(500):
        if gone(made.given[-1]["pid"]):
            break
        time.sleep(0.02)
    else:
        pytest.fail("the training outlived the run that started it")
    assert read_rounds(made.account) == [first]
    whole = [p.name for p in (made.out / "models").iterdir() if p.is_dir() and ".tmp-" not in p.name]
    assert whole == [first.training.name]
    hang.unlink()
    done = made.run()
    assert [g["round"] for g in made.given] == [1, 2, 2], "the finished round is not trained again"
    assert read_rounds(made.account) == done
    as_if_nothing_had_happened = [(r.content_hash, r.before, r.after) for r in three[1][:2]]
    assert [(r.content_hash, r.before, r.after) for r in done] == as_if_nothing_had_happened
    assert not list((made.out / "models").glob("*.tmp-*")), "nothing is left over"


def test_killed_between_two_rounds_it_goes_on_with_the_next(tmp_path: Path) -> None:
    made = Rounds(tmp_path, block={"rounds": 2})
    made.recipe.data["source"]["with"]["count"] = 40
    made.recipe.write()

    def second() -> bool:
        """The first round is told of, and the second one's dataset is in the making."""
        return made.account.is_file() and any((made.out / "rounds").glob(".work-*"))

    assert killed_when(second, made.command, signal.SIGKILL) == -signal.SIGKILL
    (first,) = read_rounds(made.account)
    found = subprocess.run(made.command, env=environment(), capture_output=True, text=True, timeout=300, check=False)
    assert (found.returncode, found.stderr) == (0, "")
    assert found.stdout.count("(was there)") == 2 and found.stdout.strip().endswith("rounds.json tells of each")
    assert [g["round"] for g in made.given] == [1, 2]
    done = read_rounds(made.account)
    assert done[0] == first and len(done) == 2
    left = {p.name for p in (made.out / "rounds").iterdir()}
    assert left == {ROUNDS, "LATEST", *(r.version for r in done)}


# ---- what fails


def test_a_command_that_fails_is_one_line_with_its_last_words_and_the_round_before_stays(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = Rounds(tmp_path, extra="--fail 2")
    assert main(["iterate", str(made.recipe.path), "--out", str(made.out)]) == 1
    told = capsys.readouterr()
    one_line(told.err, "training of round 2 ended with 1: ", "CUDA out of memory | or so it says", ".log")
    assert "round 1: model" in told.out
    assert [r.round for r in read_rounds(made.account)] == [1]


@pytest.mark.parametrize(
    ("train", "told"),
    [
        ("no-such-program {dataset} {out}", "cannot start no-such-program"),
        ("true {dataset} {out}", "left no model in {out} that can be run: pocket:"),
        (f"{TRAIN} --half", "has no model.onnx"),
        ("{python} -c 'import os,signal;os.kill(os.getpid(),signal.SIGSEGV)' {dataset} {out}", "was ended by SIGSEGV"),
    ],
)
def test_a_training_that_leaves_no_model_is_told(tmp_path: Path, train: str, told: str) -> None:
    made = Rounds(tmp_path, block={"train": train})
    with pytest.raises(TrainingError) as caught:
        made.run()
    assert told in str(caught.value) and "\n" not in str(caught.value)
    assert not made.account.exists() and not [p for p in (made.out / "models").iterdir() if p.suffix == ".json"]


def test_a_round_without_rows_trains_nothing(tmp_path: Path) -> None:
    made = Rounds(tmp_path)
    made.recipe.data["engines"]["student"]["sampling"]["max_tokens"] = 1
    made.recipe.write()
    with pytest.raises(TrainingError, match="round 1 gave no sft row"):
        made.run()
    assert not made.given


def test_a_recipe_without_the_block_has_no_rounds(recipe: Recipe, out: Path) -> None:
    with pytest.raises(RecipeError, match="has no `iterate:` block"):
        iterate(Options(recipe=recipe.path, out=out), lambda *_: None)


def test_models_need_a_folder_of_this_machine(tmp_path: Path) -> None:
    made = Rounds(tmp_path)
    with pytest.raises(RecipeError, match="models are trained in a folder of this machine, which s3://b/p is not"):
        made.run(out=locate("s3://b/p"))
