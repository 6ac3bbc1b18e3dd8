"""Names that climb out of their folder, and YAML and Parquet that run code or grow without bound."""

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from errata.cli import main
from errata.errors import ErrataError
from errata.sources.rows import Input
from tests.runners.support import Recipe, Server, environment, start

NAMES = ["../up", "/abs", "a/b", "..", ".", "a\\b", "a\0b", "a\nb", "x" * 300, "\u0430dmin", "-rf", "~", "$HOME"]
PLACES: dict[str, list[Any]] = {
    "name": ["name"], "version": ["version"], "export": ["exports", 0, "name"], "split": ["source", "with", "split"],
}  # fmt: skip
SECONDS, MEBIBYTES = 10, 512


def tree(folder: Path) -> set[str]:
    """All that there is beside and below a test's folder."""
    return {str(p) for p in [*folder.rglob("*"), *folder.parent.iterdir()]}


@pytest.mark.parametrize("place", PLACES)
def test_no_name_leads_out_of_its_folder(tmp_path: Path, place: str) -> None:
    for number, name in enumerate(NAMES):
        recipe = Recipe(tmp_path / str(number))
        recipe.data["source"]["with"]["count"] = 4
        recipe.data["stages"] = [*recipe.data["stages"][:2], {"use": "pair"}]
        recipe.data["exports"] = [{"use": "dpo"}]
        here: Any = recipe.data
        *way, last = PLACES[place]
        for key in way:
            here = here[key]
        here[last] = name
        recipe.write()
        before = tree(tmp_path)
        with pytest.raises(ErrataError) as told:
            start(recipe.path, tmp_path / f"{number}/out")
        assert "\n" not in str(told.value) and "\0" not in str(told.value)
        new = {path for path in tree(tmp_path) - before if not path.startswith(str(tmp_path / f"{number}/out"))}
        assert not new, name


def test_ids_and_texts_of_a_table_name_no_file(recipe: Recipe, tmp_path: Path) -> None:
    rows = [{"i": name, "q": f"What is {n} + 1 ?", "a": str(n + 1), "s": name} for n, name in enumerate(NAMES)]
    (recipe.path.parent / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    columns = {"problem": "q", "answer": "a", "id": "i"}
    recipe.data["source"] = {"use": "table", "with": {"path": "rows.jsonl", "columns": columns, "verifier": "number"}}
    recipe.data["stages"] = [*recipe.data["stages"][:2], {"use": "pair"}]
    recipe.data["exports"] = [{"use": "dpo"}]
    before = tree(tmp_path)
    with Server(answer=lambda body: "The answer is 1") as server:
        recipe.served(server.url)
        made = start(recipe.path, tmp_path / "out")
    files = {p.relative_to(tmp_path / "out").as_posix() for p in (tmp_path / "out").rglob("*") if p.is_file()}
    allowed = ("small/LATEST", "journal/", f"small/{made.path.name}/", "small/.making-")
    assert all(f.startswith(allowed) and f.isascii() and ".." not in f for f in files), files
    assert {p for p in tree(tmp_path) - before if not p.startswith(str(tmp_path / "out"))} == set()


@pytest.mark.parametrize(
    "text",
    ["!!python/object/apply:os.system ['touch {marker}']", "name: !!python/object/new:os.system ['touch {marker}']",
     "a: !!python/name:os.system", "a0: &a0 [x,x,x,x,x,x,x,x,x]\n"
     + "".join(f"a{i}: &a{i} [{','.join([f'*a{i - 1}'] * 9)}]\n" for i in range(1, 12))],
    ids=["apply", "new", "name", "aliases"],
)  # fmt: skip
def test_yaml_runs_nothing_and_does_not_grow(tmp_path: Path, text: str, capsys: pytest.CaptureFixture[str]) -> None:
    path, marker = tmp_path / "bad.yaml", tmp_path / "marker"
    path.write_text(text.replace("{marker}", str(marker)))
    began = time.monotonic()
    assert main(["check", str(path)]) == 1
    assert time.monotonic() - began < SECONDS and not marker.exists()
    assert "bad.yaml" in capsys.readouterr().err


def test_a_parquet_file_of_a_kilobyte_does_not_fill_the_memory(tmp_path: Path) -> None:
    path = tmp_path / "bomb.parquet"
    column = pa.DictionaryArray.from_arrays(pa.array([0] * 1_000, pa.int32()), ["x" * 10_000_000])
    pq.write_table(pa.table({"q": column}), path, compression="zstd", store_schema=False)
    assert path.stat().st_size < 10_000 and pq.read_schema(path).field("q").type == pa.string()
    program = f"""
from pathlib import Path
from errata.sources.rows import Input
rows = Input(path={str(path)!r}).rows(frozenset({{"q"}}))
print(sum(len(row.values["q"]) for row, _ in zip(rows, range(100))))
# Not ru_maxrss, which a process begins with at its parent's.
print(next(int(x.split()[1]) // 1024 for x in Path("/proc/self/status").open() if x.startswith("VmHWM")))
"""
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, capture_output=True, text=True, env=environment(), timeout=60)
    characters, peak = map(int, done.stdout.split())
    assert characters == 100 * 10_000_000 and peak < MEBIBYTES, done.stderr


def test_a_parquet_file_with_an_extension_type_runs_nothing(tmp_path: Path) -> None:
    path, marker = tmp_path / "evil.parquet", tmp_path / "marker"
    # The pickle of a call of os.system, written by hand.
    call = b"cos\nsystem\n(S'touch " + str(marker).encode() + b"'\ntR."
    named = {b"ARROW:extension:name": b"arrow.py_extension_type", b"ARROW:extension:metadata": call}
    field = pa.field("q", pa.string(), metadata=named)
    pq.write_table(pa.table([pa.array(["2 + 2 ?"])], schema=pa.schema([field])), path)
    assert [row.values for row in Input(path=str(path)).rows(frozenset({"q"}))] == [{"q": "2 + 2 ?"}]
    assert not marker.exists()
