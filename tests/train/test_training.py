"""The real trainer, on TRL: its loss is that of the trained tokens and no others, and three rounds with it go on.

Needs the extra `train`; .ci/run has it in an environment of its own.
"""

import hashlib
import importlib.util
import json
import math
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from errata.engines.pocket import FILES, Pocket, shipped
from errata.engines.pocket_runtime import Decoder
from errata.records.rows import SftRow
from errata.runners.iterate import ROUNDS, read_rounds
from errata.store.check import check_dataset
from errata.store.reader import open_dataset
from tests.engines.llama_numpy import Llama
from tests.runners.support import ROOT, Recipe, command, environment, start
from tests.train.support import SPLICED, labelled, tokenizer

MISSING = [n for n in ("torch", "trl", "onnx") if importlib.util.find_spec(n) is None]
pytestmark = [
    pytest.mark.train,
    pytest.mark.skipif(bool(MISSING), reason=f"{', '.join(MISSING)} is not installed: see the extra train"),
]
TRAIN = "-m errata.train sft --dataset {dataset} --config {config} --model {model} --out {out} --seed {seed}"
FEW = "--batch 8 --steps 12 --learning-rate 1e-3"
OFFLINE = {"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1", "OMP_NUM_THREADS": "1"}


def trained(*arguments: object) -> dict[str, Any]:
    """What the trainer tells in its last line."""
    done = subprocess.run(
        [sys.executable, "-m", "errata.train", *map(str, arguments)],
        env=environment(**OFFLINE), capture_output=True, text=True, timeout=900, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-4000:]
    told: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return told


def loss(model: Llama, ids: Sequence[int], carries: Sequence[bool]) -> float:
    """Mean negative log-likelihood of the tokens that carry loss, by a forward pass that knows no torch."""
    logits = model.logits(list(ids))[:-1]
    logits = logits - logits.max(axis=1, keepdims=True)
    likelihood = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    each = -likelihood[np.arange(len(ids) - 1), list(ids[1:])]
    return float(each[np.array(carries[1:])].mean())


@pytest.fixture(scope="module")
def rounds(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The output of three rounds of the command line."""
    folder = tmp_path_factory.mktemp("rounds")
    recipe = Recipe(folder, {**SPLICED, "iterate": {"rounds": 3, "train": f"{{python}} {TRAIN} {FEW} --held-out 0.2"}})
    done = subprocess.run(
        command("iterate", recipe.path, "--out", folder / "out", strict=False),
        env=environment(**OFFLINE), capture_output=True, text=True, timeout=1800, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return folder / "out"


def test_three_rounds_make_three_datasets_and_three_students(rounds: Path) -> None:
    done = read_rounds(rounds / "rounds" / ROUNDS)
    assert [r.round for r in done] == [1, 2, 3]
    assert len({r.version for r in done}) == 3 and len({r.content_hash for r in done}) == 3
    assert len({done[0].before, *(r.after for r in done)}) == 4 and done[0].before == Pocket().identity.revision
    for r in done:
        path = rounds / r.dataset
        assert check_dataset(path) == []
        assert [m["revision"] for m in open_dataset(path).manifest.models if m["role"] == "student"] == [r.before]
        told = r.training.metrics
        assert told["updates"] == 12 and told["rows"] >= 8 and not told["rows_left_out"]
        assert all(math.isfinite(told[k]) for k in ("loss_first", "loss_last", "held_out_loss_after"))
    assert done[0].training.metrics["loss_last"] < 0.7 * done[0].training.metrics["loss_first"]
    first, last = done[0].training.metrics, done[-1].training.metrics
    assert last["held_out_loss_after"] < 0.7 * first["held_out_loss_before"]


def test_a_new_student_runs_as_its_weights_say(rounds: Path) -> None:
    """Graph, weights and tokenizer belong together: the pocket engine's logits are those of the trained weights."""
    *_, r = read_rounds(rounds / "rounds" / ROUNDS)
    folder = rounds / "models" / r.training.name
    assert {*FILES} <= {p.name for p in folder.iterdir()}
    for name in ("tokenizer.json", "chat_template.jinja"):
        assert (folder / name).read_bytes() == (shipped() / name).read_bytes()
    row = next(open_dataset(rounds / r.dataset).rows("sft"))
    ids, _ = labelled(row, tokenizer(folder).get_vocab())
    runtime = Decoder(folder=folder, slots=1, threads=1, end=5)
    reference = Llama(folder).logits(ids)
    np.testing.assert_allclose(runtime.logits(tuple(ids)), reference, atol=2e-4, rtol=0)
    assert np.abs(reference - Llama(shipped()).logits(ids)).max() > 0.1, "it has learned something"


def test_the_loss_is_that_of_exactly_the_trained_tokens(rounds: Path, tmp_path: Path) -> None:
    """Before any update, the trainer's loss on what is held out is what numpy says of these tokens alone."""
    r = read_rounds(rounds / "rounds" / ROUNDS)[0]
    path = rounds / r.dataset
    options = ("--config", "sft", "--steps", 1, "--batch", 1, "--held-out", 0.3)
    told = trained("sft", "--dataset", path, "--model", shipped(), "--out", tmp_path / "m", *options)
    vocabulary, model = tokenizer().get_vocab(), Llama(shipped())
    rows = [(row, *labelled(row, vocabulary)) for row in open_dataset(path).rows("sft")]
    held = [(ids, carries) for row, ids, carries in rows if _drawn(row) < 0.3]
    kept = [(ids, carries) for row, ids, carries in rows if _drawn(row) >= 0.3]
    assert told["rows_held_out"] == len(held) >= 3
    assert (told["rows"], told["tokens"]) == (len(kept), sum(len(ids) for ids, _ in kept))
    assert told["trained_tokens"] == sum(sum(c) for _, c in kept)
    expected = [loss(model, *x) for x in held]
    assert told["held_out_loss_before"] == pytest.approx(np.mean(expected), rel=1e-3)
    whole = np.mean([loss(model, ids, [True] * len(ids)) for ids, _ in held])
    assert abs(whole - np.mean(expected)) > 0.1 * np.mean(expected), "a loss on all tokens would be told apart"


def _drawn(row: SftRow) -> float:
    """Where the episode's id falls between 0 and 1, for the share that is held out."""
    return int.from_bytes(hashlib.sha256(row.episode.encode()).digest()[:4], "big") / 2**32


@pytest.mark.filterwarnings("default")
def test_a_span_counts_by_its_weight(rounds: Path, tmp_path: Path) -> None:
    from errata.train import sft
    from errata.train.examples import Reading, examples
    from errata.train.model import load
    from errata.train.settings import Settings

    loaded = load(str(shipped()), "float32")
    path = rounds / read_rounds(rounds / "rounds" / ROUNDS)[0].dataset
    how = Reading(tokenizer=loaded.tokenizer, max_length=None, straddle="raise", held_out=0.3)
    settings = Settings(out=tmp_path, epochs=1, steps=1, batch=4, accumulate=1, learning_rate=0.0, seed=1)
    found = []
    for weight in (1.0, 2.5):
        rows = examples([str(path)], "sft", SftRow, how)
        for example in (*rows.train, *rows.held_out):
            example["weights"] = [w * weight for w in example["weights"]]
        rows.weighted = weight != 1.0
        found.append(sft.train(loaded, rows, settings))
    plain, weighted = found
    assert weighted["held_out_loss_before"] == pytest.approx(2.5 * plain["held_out_loss_before"], rel=1e-4)
    assert weighted["loss_first"] == pytest.approx(2.5 * plain["loss_first"], rel=1e-4)


def test_preferences_are_trained_from_even_odds_on(tmp_path: Path) -> None:
    recipe = Recipe(tmp_path, SPLICED)
    path = start(recipe.path, tmp_path / "out").path
    out = tmp_path / "m"
    told = trained(
        "dpo", "--dataset", path, "--model", shipped(), "--out", out, "--steps", 8, "--batch", 4,
        "--learning-rate", 1e-3,
    )  # fmt: skip
    assert told["loss_first"] == pytest.approx(math.log(2), abs=0.01)
    assert told["loss_last"] < 0.6
    assert Pocket(path=str(out)).identity.revision != Pocket().identity.revision


def test_what_cannot_be_trained_is_one_line(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "errata.train", "sft", "--dataset", str(tmp_path), "--model", str(shipped()), "--out",
         str(tmp_path / "m")],
        env=environment(**OFFLINE), capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 1 and "is neither a dataset" in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr and not (tmp_path / "m").exists()


def test_the_shipped_graph_is_what_its_weights_give(tmp_path: Path) -> None:
    for name in ("config.json", "model.safetensors"):
        (tmp_path / name).write_bytes((shipped() / name).read_bytes())
    done = subprocess.run(
        [sys.executable, "-m", "errata.train", "graph", str(tmp_path)], cwd=ROOT, env=environment(), check=True,
        capture_output=True, timeout=120,
    )  # fmt: skip
    assert done.stdout.decode().strip() == str(tmp_path / "model.onnx")
    runtime = Decoder(folder=tmp_path, slots=1, threads=1, end=5)
    ids = tuple(range(6, 40))
    np.testing.assert_allclose(runtime.logits(ids), Llama(tmp_path).logits(list(ids)), atol=2e-4, rtol=0)
