"""What users meet when something is wrong: one line that says what to do, nothing lost, the same command goes on."""

import json
import os
import resource
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from errata.cli import main
from errata.store.check import check_dataset
from errata.store.reader import open_dataset
from tests.runners.support import Recipe, Server, command, environment, errata, one_line, parquet, start, told
from tests.servers import ChatServer, Fault, status

Said = Callable[..., tuple[int, str, str]]


@pytest.fixture
def said(capsys: pytest.CaptureFixture[str]) -> Said:
    """Run a command in this process: (exit code, output, errors)."""

    def run(*arguments: object) -> tuple[int, str, str]:
        capsys.readouterr()
        code = main([str(a) for a in arguments])
        found = capsys.readouterr()
        return code, found.out, found.err

    return run


def test_every_fault_of_a_recipe_is_told_at_once(recipe: Recipe, said: Said, out: Path) -> None:
    recipe.data["concurency"] = 3
    recipe.data["stages"][0]["with"]["m"] = 4
    recipe.data["stages"][3]["use"] = "revize"
    recipe.data["engines"]["teacher"]["with"] = {"skil": 1}
    recipe.data["exports"][0]["after"] = ["x"]
    recipe.write()
    code, output, errors = said("run", recipe.path, "--out", out)
    assert code == 1 and output == "" and not out.exists()
    assert "unknown key 'concurency', did you mean 'concurrency'?" in errors
    assert "exports.0: unknown key 'after'" in errors
    del recipe.data["concurency"], recipe.data["exports"][0]["after"]
    recipe.write()
    _, _, errors = said("check", recipe.path)
    lines = errors.splitlines()
    assert all(line.startswith("errata: ") for line in lines)
    assert "did you mean 'skill'?" in errors and "unknown key 'm'" in errors
    assert "no stage is called 'revize'" in errors
    assert len(lines) >= 3


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("run", "no.yaml"), ("cannot read no.yaml", "No such file")),
        (("run", "{recipe}", "--set", "stages.sample.wit.n=4"), ("stages.0", "did you mean 'with'")),
        (("run", "{recipe}", "--set", "stages.simple.with.n=4"), ("there is no 'simple'", "sample")),
        (("run", "{recipe}", "--set", "seed"), ("path=value",)),
        (("run", "{recipe}", "--limit", "0"), ("limit", "0", "minimum")),
        (("run", "{recipe}", "--set", "stages.sample.with.n=-1"), ("n:", "-1", "minimum")),
        (("run", "{recipe}", "--set", "source.with.count=0"), ("count is 0",)),
        (("run", "{recipe}", "--set", "source.with.count=many"), ("source.with.count", "'many'")),
        (("run", "{recipe}", "--set", "engines.student.use=pockets"), ("no engine is called 'pockets'", "pocket")),
        (("run", "{recipe}", "--set", "stages.revise.with.prompt=none.yaml"), ("no prompt 'none.yaml'",)),
        (("run", "{recipe}", "--set", "stages.critique.with.role=judge"), ("no engine plays 'judge'", "student")),
        (("run", "{recipe}", "--set", "stages.splice.with.of=nobody"), ("there is no step 'nobody'",)),
        (("run", "{recipe}", "--replay"), ("--replay needs the journal", "--journal")),
        (("run", "{recipe}", "--out", "{recipe}"), ("cannot mkdir", "File exists")),
        (("show", "{out}"), ("{out}",)),
    ],
)
def test_one_line_says_what_is_wrong(
    recipe: Recipe, said: Said, out: Path, arguments: tuple[str, ...], words: tuple[str, ...]
) -> None:
    places = {"recipe": str(recipe.path), "out": str(out)}
    given = [a.format(**places) for a in arguments]
    if given[0] == "run" and "--out" not in given:
        given += ["--out", str(out)]
    code, output, errors = said(*given)
    assert code == 1
    assert output == ""
    one_line(errors, *(w.format(**places) for w in words))
    assert not list(out.glob("small/1-*"))


def test_a_key_that_stands_twice_is_told(recipe: Recipe, said: Said, out: Path) -> None:
    recipe.path.write_text(recipe.path.read_text() + "seed: 4\n")
    code, _, errors = said("check", recipe.path)
    assert code == 1
    one_line(errors, "'seed' stands twice", "line")


def test_a_missing_file_is_named_with_what_is_there(recipe: Recipe, said: Said, out: Path) -> None:
    recipe.data["source"] = table("rows.jsonl")
    recipe.write()
    (recipe.path.parent / "row.jsonl").write_text("")
    code, _, errors = said("run", recipe.path, "--out", out)
    assert code == 1
    one_line(errors, "rows.jsonl", "No such file", "source.with.path=FILE")


def table(path: str) -> dict[str, object]:
    return {
        "use": "table",
        "with": {"path": path, "columns": {"problem": "q", "answer": "a"}, "verifier": "number", "licence": "CC0-1.0"},
    }


def test_a_malformed_row_is_quarantined_with_its_line(recipe: Recipe, said: Said, out: Path) -> None:
    rows = [json.dumps({"q": f"What is {i} + 1 ?", "a": str(i + 1)}) for i in range(6)]
    rows[2] = rows[2][:-3]
    rows[4] = json.dumps({"a": "5"})
    (recipe.path.parent / "rows.jsonl").write_text("\n".join(rows) + "\n")
    recipe.data["source"] = table("rows.jsonl")
    recipe.data["stages"] = recipe.data["stages"][:2]
    recipe.data["exports"] = [{"use": "sft", "with": {"of": ["sample"]}}]
    with Server(answer=lambda body: "The answer is 1") as server:
        recipe.served(server.url)
        code, _, errors = said("run", recipe.path, "--out", out)
        assert (code, errors) == (0, ""), errors
        assert server.requests == 12
    (version,) = out.glob("small/1-*")
    assert check_dataset(version) == []
    source = next(e for e in open_dataset(version).manifest.funnel if e["stage"] == "source")
    assert (source["in"], source["out"], source["quarantined"]) == (6, 4, 2)
    drops = [d for d in open_dataset(version).rows("drops") if d.stage == "source"]
    assert {d.kind for d in drops} == {"quarantined"}
    places = " ".join(d.detail + d.episode + d.target for d in drops)
    assert "rows.jsonl line 3" in places and "rows.jsonl line 5" in places


def test_a_server_that_is_down_stops_the_run_and_loses_nothing(recipe: Recipe, said: Said, tmp_path: Path) -> None:
    out = tmp_path / "out"
    with Server() as server:
        recipe.served(server.url)
        whole = start(recipe.path, tmp_path / "whole")
        asked = server.requests
    code, output, errors = said("run", recipe.path, "--out", out)
    assert (code, output) == (1, "")
    one_line(errors, "the server is down", server.url)
    assert "the same command resumes" in errors
    with Server(port=server.port, faults=_failing_after(asked // 2)) as server:
        code, _, errors = said("run", recipe.path, "--out", out)
        assert code == 1
        one_line(errors, "refused the key")
    with Server(port=server.port) as server:
        code, _, errors = said("run", recipe.path, "--out", out)
        assert (code, errors) == (0, "")
        assert 0 < server.requests <= asked - asked // 2 + 1, "what was answered before is not asked again"
    (version,) = out.glob("small/1-*")
    assert parquet(version) == parquet(whole.path)


def _failing_after(good: int) -> Iterator[Fault | None]:
    for _ in range(good):
        yield None
    while True:
        yield status(401)


def test_a_wrong_key_stops_at_once_and_the_right_one_goes_on(
    recipe: Recipe, said: Said, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Server(key="right-canary", latency=0.02) as server:
        recipe.served(server.url, api_key_env="ERRATA_TEST_KEY", concurrency=8)
        monkeypatch.setenv("ERRATA_TEST_KEY", "wrong-canary")
        code, output, errors = said("run", recipe.path, "--out", out)
        assert (code, output) == (1, "")
        one_line(errors, "refused the key (401)", "ERRATA_TEST_KEY")
        assert "canary" not in errors
        # As many as were under way when the first was refused, and none after.
        assert server.requests <= 8
        monkeypatch.setenv("ERRATA_TEST_KEY", "right-canary")
        code, _, errors = said("run", recipe.path, "--out", out)
        assert (code, errors) == (0, "")
    assert not any(b"canary" in p.read_bytes() for p in out.rglob("*") if p.is_file())


def test_a_finished_version_says_so(recipe: Recipe, said: Said, out: Path) -> None:
    made = start(recipe.path, out)
    before = {p: p.stat().st_mtime_ns for p in out.rglob("*")}
    code, output, errors = said("run", recipe.path, "--out", out)
    assert (code, errors) == (0, "")
    assert output == f"{made.path} is finished already and is never rewritten\n"
    assert {p: p.stat().st_mtime_ns for p in out.rglob("*")} == before


def test_debug_shows_the_traceback(recipe: Recipe, out: Path) -> None:
    with pytest.raises(Exception, match="no file"):
        main(["run", str(recipe.path), "--out", str(out), "--debug", "--set", "stages.verify.use=no.py:f"])


@contextmanager
def running(recipe: Recipe, out: Path, server: ChatServer, requests: int) -> Iterator[subprocess.Popen[str]]:
    """A run in a process of its own that has asked so many requests."""
    asked = server.requests
    with subprocess.Popen(
        command("run", recipe.path, "--out", out),
        env=environment(),
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        # A shell that starts the tests in the background has them ignore Ctrl-C; a terminal does not.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    ) as process:
        while server.requests < asked + requests:
            assert process.poll() is None, process.communicate()
            time.sleep(0.005)
        yield process


def test_ctrl_c_finishes_cleanly_and_says_how_to_resume(recipe: Recipe, tmp_path: Path) -> None:
    out = tmp_path / "out"
    with Server(latency=0.05) as server:
        recipe.served(server.url, concurrency=4)
        whole = start(recipe.path, tmp_path / "whole")
        asked = server.requests
        with running(recipe, out, server, requests=asked // 2) as process:
            process.send_signal(signal.SIGINT)
            output, errors = process.communicate(timeout=60)
        assert process.returncode == 130
        assert output == "" and "interrupted" in errors and "the same command resumes" in errors
        assert "Traceback" not in errors and "Error" not in errors
        before = server.requests
        done = errata("run", recipe.path, "--out", out)
        assert done.returncode == 0, done.stderr
        # Those under way when it was interrupted are asked again; every reply that had come was kept.
        assert server.requests - before <= asked - asked // 2 + 4
    (version,) = out.glob("small/1-*")
    assert parquet(version) == parquet(whole.path)


def test_a_full_disk_is_told_and_the_run_goes_on_when_there_is_room(recipe: Recipe, tmp_path: Path) -> None:
    out = tmp_path / "out"
    whole = start(recipe.path, tmp_path / "whole")

    def small_files() -> None:
        # A file that would grow beyond the limit fails as on a full disk; without the signal that Linux sends.
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))

    failed = errata("run", recipe.path, "--out", out, preexec_fn=small_files)
    assert failed.returncode == 1 and failed.stdout == ""
    one_line(failed.stderr, "cannot be written", "run the same command again")
    done = errata("run", recipe.path, "--out", out)
    assert done.returncode == 0, done.stderr
    (version,) = out.glob("small/1-*")
    assert parquet(version) == parquet(whole.path)
    assert told(version)["reused"] > 0, "what fitted on the disk is not asked again"


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of half a megabyte."""
    folder = tmp_path / "disk"
    folder.mkdir()
    if os.geteuid() or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=512k", "none", folder]).returncode:
        pytest.skip("only root may mount a small file system")
    yield folder
    subprocess.run(["umount", folder], check=True)


def test_a_disk_that_is_really_full(recipe: Recipe, said: Said, tmp_path: Path, disk: Path) -> None:
    whole = start(recipe.path, tmp_path / "whole")
    filler = disk / "filler"
    for room in (0, 20, 120):  # KiB: nothing fits; a part of the journal; all but the dataset
        filler.write_bytes(b"")
        with filler.open("wb") as file:
            free = os.statvfs(disk).f_bavail * os.statvfs(disk).f_frsize
            file.write(bytes(max(0, free - room * 1024)))
        code, output, errors = said("run", recipe.path, "--out", disk / "out")
        assert (code, output) == (1, ""), room
        one_line(errors, "run the same command again")
        assert "No space left" in errors or "disk full" in errors
    filler.unlink()
    code, _, errors = said("run", recipe.path, "--out", disk / "out")
    assert (code, errors) == (0, "")
    (version,) = (disk / "out").glob("small/1-*")
    assert parquet(version) == parquet(whole.path)
