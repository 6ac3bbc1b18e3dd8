"""The pipeline version: another for every byte that can change a row, the same wherever and whenever it is asked."""

import json
import os
import shutil
import sys
from pathlib import Path
from subprocess import run
from typing import Any

import pytest

from errata.engines.base import Identity, Request, Sampling
from errata.engines.journal import exchange_key
from errata.records.types import Message
from tests.runners.support import ROOT, Recipe, environment, errata, parquet, prepared, start, told

ASK = """
import json, sys
from pathlib import Path
from errata.engines.base import Request, Sampling
from errata.engines.journal import exchange_key
from errata.records.types import Message
from errata.runners import job
from errata.runners.options import Options
made = job.prepare(Options(recipe=Path(sys.argv[1]), changes=tuple(sys.argv[2:])))
asked = Request(messages=(Message(role="user", content="q"),), sampling=Sampling(), seed=1)
keys = {role: exchange_key(identity, asked) for role, identity in made.models.items()}
print(json.dumps({"version": made.pipeline, "keys": keys, "parts": made.components}))
"""


def found(recipe: Path, package: Path) -> Any:
    """The version, its components and the journal keys that another process finds, with this copy of the package."""
    done = run(
        [sys.executable, "-c", ASK, str(recipe)],
        capture_output=True, text=True, check=True, env={**environment(), "PYTHONPATH": str(package)}, cwd=ROOT,
    )  # fmt: skip
    return json.loads(done.stdout)


FILES = {
    "src/errata/verifiers/readings.py": set(),
    "src/errata/prompts/files/chains_revise.yaml": set(),
    "src/errata/store/order.py": set(),
    "src/errata/records/segment.py": {"student", "teacher"},
    "src/errata/chains.py": {"student", "teacher"},
    "src/errata/engines/oracle.py": {"student", "teacher"},
    "src/errata/engines/chat.py": {"server"},
    "src/errata/engines/pocket_runtime.py": {"pocket"},
    "data/pocket/model.onnx": {"pocket"},
    "data/pocket/tokenizer.json": {"pocket"},
}
"""Files, and the roles whose replies may be others when one is changed: their keys must be others too."""


@pytest.mark.long
def test_a_byte_of_code_prompt_or_model_changes_the_version_and_the_keys_it_must(
    recipe: Recipe, tmp_path: Path
) -> None:
    recipe.data["engines"] |= {
        "pocket": {"use": "pocket"},
        "server": {"use": "openai", "with": {"model": "m", "base_url": "http://127.0.0.1:9/v1"}},
    }
    recipe.write()
    ignored = shutil.ignore_patterns("__pycache__", "*.egg-info")
    for folder in ("src", "data/pocket"):
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=ignored)
    before = found(recipe.path, tmp_path / "src")
    assert before["version"] == prepared(recipe.path).pipeline, "where the package lies changes nothing"
    for file, roles in FILES.items():
        changed(tmp_path / file)
        after = found(recipe.path, tmp_path / "src")
        assert after["version"] != before["version"], file
        assert {r for r, key in before["keys"].items() if after["keys"][r] != key} == roles, file
        before = after


def changed(path: Path) -> None:
    """One byte more, where it means nothing."""
    path.write_bytes(path.read_bytes() + b"\n")


def test_everything_in_a_recipe_but_how_it_runs_changes_the_version(recipe: Recipe) -> None:
    same = ["concurrency=3", "part_size=7"]
    other = [
        "seed=6",
        "limit=3",
        "version=2",
        "source.with.count=13",
        "source.with.distractors=[0, 2]",
        "engines.student.with.skill=0.51",
        "engines.student.system=Think.",
        "engines.student.sampling.temperature=0.71",
        "engines.teacher.schema={type: object}",
        "stages.sample.with.n=4",
        "stages.verify.with.options={strict: true}",
        "stages.filter.with.need=[splice]",
        "exports.sft.with.most=1",
    ]
    base = prepared(recipe.path).pipeline
    assert {prepared(recipe.path, change).pipeline for change in same} == {base}
    assert len({base, *(prepared(recipe.path, change).pipeline for change in other)}) == len(other) + 1


def test_own_files_and_prompts_are_in_the_version(recipe: Recipe) -> None:
    folder = recipe.path.parent
    for name in ("a", "b"):
        (folder / name).mkdir()
        (folder / name / "stage.py").write_text(
            "from errata.records.types import Additions\nfrom errata.registry import stage\n\n\n"
            "@stage(version=1)\nasync def mine(episode, ctx):\n    return Additions()\n"
        )
        recipe.data["stages"].append({"name": f"mine_{name}", "use": f"{name}/stage.py:mine"})
    (folder / "own.yaml").write_text((ROOT / "src/errata/prompts/files/chains_revise.yaml").read_text())
    recipe.data["stages"][3]["with"]["prompt"] = "own.yaml"
    recipe.write()
    seen = {prepared(recipe.path).pipeline}
    for file in ("a/stage.py", "b/stage.py", "own.yaml"):
        changed(folder / file)
        seen.add(prepared(recipe.path).pipeline)
    (folder / "a/beside.py").write_text("")
    seen.add(prepared(recipe.path).pipeline)
    assert len(seen) == 5


def test_the_source_file_is_in_the_version_by_content_and_not_by_place(recipe: Recipe, tmp_path: Path) -> None:
    rows = "".join(json.dumps({"q": f"{i} + 1 = ?", "a": str(i + 1)}) + "\n" for i in range(3))
    recipe.data["source"] = {
        "use": "table",
        "with": {"path": "rows.jsonl", "columns": {"problem": "q", "answer": "a"}, "verifier": "number"},
    }
    (recipe.path.parent / "rows.jsonl").write_text(rows)
    here = prepared(recipe.write()).pipeline
    (tmp_path / "rows.jsonl").write_text(rows)
    assert prepared(recipe.path, f"source.with.path={tmp_path}/rows.jsonl").pipeline == here
    (recipe.path.parent / "rows.jsonl").write_text(rows.replace("0 +", "00 +"))
    assert prepared(recipe.path).pipeline != here


def test_a_system_prompt_a_seed_and_a_schema_reach_the_engine(recipe: Recipe, tmp_path: Path) -> None:
    """None of them may be left out of the key: the same journal never answers for another."""
    out = tmp_path / "out"
    asked = told(start(recipe.path, out).path)["requests"]
    for change in ("engines.student.system=Think.", "seed=6", "engines.student.sampling.max_tokens=190"):
        progress = told(start(recipe.path, out, change).path)
        # The teacher is asked again where the student said something else.
        assert progress["requests"] >= asked / 2, change


def test_the_same_tree_gives_the_same_version_and_bytes_anywhere(recipe: Recipe, tmp_path: Path) -> None:
    """Another folder, working folder, hash seed and time zone."""
    copy = tmp_path / "elsewhere/far"
    shutil.copytree(recipe.path.parent, copy)
    made = []
    for path, cwd, seed, zone in ((recipe.path, ROOT, "1", "UTC"), (copy / "small.yaml", copy, "2", "Asia/Tokyo")):
        out = tmp_path / f"out{seed}"
        done = errata("run", path, "--out", out, cwd=cwd, env=environment(PYTHONHASHSEED=seed, TZ=zone))
        assert done.returncode == 0, done.stderr
        (version,) = (out / "small").glob("1-*")
        made.append((version.name, parquet(version), (version / "_manifest/manifest.json").read_bytes()))
    assert made[0] == made[1]
    assert os.fsencode(tmp_path) not in made[0][2], "a manifest names no machine"


def test_keys_hold_on_every_machine() -> None:
    """A key is a promise to journals that exist: it changes only by intent."""
    identity = Identity(engine="openai", version=1, model="m", revision="r", detail="d", licence="any")
    asked = Request(
        messages=(Message(role="user", content="Wie viel ist 2 + 2 ? \u2028"),),
        sampling=Sampling(temperature=0.7, stop=("\n\n",)),
        seed=2**62,
        schema='{"type":"object"}',
    )
    assert exchange_key(identity, asked) == "69927cb7d0a2cfaf5f2af73acbefcea3"
