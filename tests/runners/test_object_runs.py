"""Runs whose parts, journal and versions lie on an object store: as on a disk, whatever dies, and no secret is told."""

import json
import signal
import subprocess
import time
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from errata.cli import main
from errata.objects import ObjectPath, tree
from errata.store.audit import audit_journal, check_calls
from errata.store.check import check_dataset
from errata.store.reader import open_dataset
from tests.objects import CREDENTIALS, Store
from tests.runners.support import Recipe, command, environment, errata, one_line, parquet, served


def version(root: ObjectPath) -> ObjectPath:
    found = open_dataset(root / "small").path
    assert isinstance(found, ObjectPath)
    return found


def sound(root: ObjectPath) -> None:
    """The version and its journal hold, and nothing else is left."""
    assert check_dataset(root / "small") == []
    audit = audit_journal(root / "journal")
    assert audit.faults == () and audit.corrupted == audit.unnamed == 0 and audit.replies > 0
    assert check_calls(root / "small", audit) == []
    assert {name.split("/")[0] for name in tree(root / "small")} == {"LATEST", version(root).name}


def content(found: ObjectPath) -> dict[str, bytes]:
    return {name: (found / name).read_bytes() for name in tree(found) if not name.endswith("run.json")}


def local(found: Path) -> dict[str, bytes]:
    return {name: (found / name).read_bytes() for name in tree(found) if not name.endswith("run.json")}


def made(folder: Path) -> Path:
    (found,) = (folder / "small").glob("1-*")
    return found


class Said:
    """Runs the command line in this process, and looks for secrets in all that it says."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys

    def __call__(self, *arguments: Any, fails: bool = False) -> str:
        assert main([str(a) for a in arguments]) == int(fails)
        said = self._capsys.readouterr()
        assert not any(secret in said.out + said.err for secret in CREDENTIALS.values())
        return said.err.rpartition("\r")[2] if fails and said.err else said.out


@pytest.fixture
def said(capsys: pytest.CaptureFixture[str]) -> Said:
    return Said(capsys)


def test_a_run_is_that_of_a_disk_and_every_command_reads_it(
    recipe: Recipe, s3: Store, tmp_path: Path, said: Said
) -> None:
    recipe.data["part_size"] = 4
    recipe.write()
    said("run", recipe.path, "--out", tmp_path / "local")
    assert f"dataset {s3.prefix}/small/1-" in said("run", recipe.path, "--out", s3.prefix)
    whole = local(made(tmp_path / "local"))
    assert content(version(s3.root)) == whole
    sound(s3.root)
    assert not any(
        secret.encode() in (s3.root / name).read_bytes() for name in tree(s3.root) for secret in CREDENTIALS.values()
    )

    s3.seen.clear()
    assert "is finished already and is never rewritten" in said("run", recipe.path, "--out", s3.prefix)
    assert s3.writes() == []

    shown = said("show", f"{s3.prefix}/small")
    first = shown.rpartition("(errata show DATASET EPISODE):\n")[2].split()[0]
    assert "content hash" in shown and f"episode {first}" in said("show", f"{s3.prefix}/small", first[:12])

    replayed = tmp_path / "replayed"
    said("run", recipe.path, "--out", replayed, "--journal", f"{s3.prefix}/journal", "--replay")
    assert local(made(replayed)) == whole

    checked = said("check", f"{s3.prefix}/small", "--journal", f"{s3.prefix}/journal")
    assert "0 damaged lines" in checked and f"{s3.prefix}/small: no faults found" in checked
    path = version(s3.root) / "data/sft/train-00000-of-00001.parquet"
    data = path.read_bytes()
    path.put(data[:99] + bytes([data[99] ^ 1]) + data[100:])
    damaged = said("check", f"{s3.prefix}/small", fails=True)
    assert "data/sft/train-00000-of-00001.parquet: sha256 differs from the manifest" in damaged


def test_what_cannot_be_reached_is_one_line_without_secrets(recipe: Recipe, s3: Store, said: Said) -> None:
    refused = said("run", recipe.path, "--out", "s3://nosuchbucket/x", fails=True)
    one_line(refused, "s3://nosuchbucket/x/small/.making-1-", "bucket does not exist", "run the same command")
    key, secret = CREDENTIALS.values()
    in_url = said("run", recipe.path, "--out", f"s3://{key}:{secret}@shelf/x", fails=True)
    one_line(in_url, "s3://***@shelf/x", "credentials do not belong into a URL")
    none = said("check", f"{s3.prefix}/none", fails=True)
    assert f"there is no dataset at {s3.prefix}/none: it does not exist" in none
    unread = said("run", recipe.path, "--out", s3.prefix, "--journal", f"{s3.prefix}/none", "--replay", fails=True)
    one_line(unread, "--replay needs the journal of an earlier run")
    assert tree(s3.root) == set()


def asked(url: str) -> int:
    with urllib.request.urlopen(f"{url.removesuffix('/v1')}/stats") as answer:
        found: int = json.load(answer)["requests"]
        return found


def begin(recipe: Recipe, s3: Store) -> "subprocess.Popen[str]":
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen(command("run", recipe.path, "--out", s3.prefix), env=environment(), text=True, **pipes)


def wait(run: "subprocess.Popen[str]", ready: Any) -> None:
    while not ready():
        assert run.poll() is None, run.communicate()
        time.sleep(0.005)


@pytest.mark.long
def test_killed_three_times_it_makes_the_same_dataset(recipe: Recipe, s3: Store, tmp_path: Path, said: Said) -> None:
    recipe.data |= {"concurrency": 8, "part_size": 8}
    recipe.data["source"]["with"]["count"] = 40
    with served(tmp_path / "count.json") as url:
        recipe.served(url, concurrency=16)
        said("run", recipe.path, "--out", tmp_path / "whole")
        expected = asked(url)
        moments = [
            lambda: asked(url) > expected * 1.2,
            lambda: any("part-00002" in path for path in s3.writes()),
            lambda: any("README.md" in path for path in s3.writes()),
        ]
        for ready in moments:
            with begin(recipe, s3) as run:
                wait(run, ready)
                run.send_signal(signal.SIGKILL)
            assert not (s3.root / "small/LATEST").exists()
        said("run", recipe.path, "--out", s3.prefix)
        repeated = asked(url) - 2 * expected
    assert content(version(s3.root)) == local(made(tmp_path / "whole"))
    sound(s3.root)
    # At most what was under way, or answered and not yet put, at each of the two kills before the end.
    assert 0 <= repeated <= 2 * 8 * 4, repeated


def test_of_two_runs_one_makes_the_version_and_the_other_says_so(
    recipe: Recipe, s3: Store, tmp_path: Path, said: Said
) -> None:
    with served(tmp_path / "count.json", latency=0.1) as url:
        recipe.served(url, concurrency=4)
        with begin(recipe, s3) as first:
            wait(first, lambda: asked(url))
            second = said("run", recipe.path, "--out", s3.prefix, fails=True)
            assert first.poll() is None
            whose = f"another run (process {first.pid} on "
            one_line(second, whose, "is making s3://", "wait until it has ended")
            assert first.wait(60) == 0
        sound(s3.root)
        assert audit_journal(s3.root / "journal").repeated == 0


@pytest.mark.long
def test_workers_on_ray_write_there_too(recipe: Recipe, s3: Store, tmp_path: Path, said: Said, one_ray: None) -> None:
    pytest.importorskip("ray")
    recipe.data["part_size"] = 4
    recipe.write()
    said("run", recipe.path, "--out", tmp_path / "local")
    done = errata("run", recipe.path, "--out", s3.prefix, "--runner", "ray", "--workers", "2", strict=False)
    assert done.returncode == 0 and "errata: " not in done.stderr, done.stderr
    assert not any(secret in done.stdout + done.stderr for secret in CREDENTIALS.values())
    assert parquet(made(tmp_path / "local")) == {
        name: data for name, data in content(version(s3.root)).items() if name.startswith("data/")
    }
    sound(s3.root)
    writers = {path.name[:29] for path in (s3.root / "journal").glob("*.jsonl")}
    assert len(writers) == 2
