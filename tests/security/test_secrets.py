"""Secrets are in no file, message, traceback or log of a run, whatever its server says."""

import base64
from pathlib import Path

import pytest

from errata.cli import main
from errata.store.check import check_dataset
from errata.store.reader import open_dataset
from tests.runners.support import Recipe, Server, environment, errata
from tests.security.canaries import KEY, PASSWORD, STOPS, VARIABLES, echoes, found, with_key


def test_the_search_finds_what_is_there(tmp_path: Path) -> None:
    for number, text in enumerate([KEY, base64.b64encode(f"user:{KEY}".encode()).decode(), f"{{'k': '{PASSWORD}'}}"]):
        (tmp_path / f"{number}.json").write_text(f"... {text} ...")
    assert len(found(tmp_path)) == 3 and found(KEY) and not found("[key]", tmp_path / "none")


def test_a_server_that_echoes_the_key_is_quoted_without_it(recipe: Recipe, tmp_path: Path) -> None:
    out = tmp_path / "out"
    (recipe.path.parent / "own.py").write_text(
        "from errata.registry import stage\n\n\n@stage(version=1)\nasync def crash(episode, ctx):\n"
        '    """Fail."""\n    raise RuntimeError("it crashed")\n'
    )
    with Server(faults=echoes(), key=KEY) as server:
        with_key(recipe, server.url)
        done = errata("run", recipe.path, "--out", out, "--debug", env=environment(**VARIABLES))
        assert done.returncode == 0, done.stderr
        recipe.data["stages"].append({"use": "own.py:crash"})
        recipe.write()
        crashed = errata("run", recipe.path, "--out", tmp_path / "crashed", "--debug", env=environment(**VARIABLES))
    (version,) = out.glob("small/1-*")
    assert check_dataset(version) == []
    details = {d.code: d.detail for d in open_dataset(version).rows("drops") if d.kind == "quarantined"}
    assert details.keys() >= {"bad_request", "bad_envelope"} and any("[key]" in told for told in details.values())
    assert crashed.returncode == 0, "a stage that fails costs its episodes"
    assert found(tmp_path, done.stdout, done.stderr, crashed.stdout, crashed.stderr) == []


@pytest.mark.parametrize("number", range(len(STOPS)))
def test_what_stops_a_run_is_told_without_the_key(
    recipe: Recipe, tmp_path: Path, number: int, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    for name, value in VARIABLES.items():
        monkeypatch.setenv(name, value)
    with Server(faults=[None, STOPS[number]], key=KEY) as server:
        with_key(recipe, server.url)
        assert main(["run", str(recipe.path), "--out", str(tmp_path / "out")]) == 1
    told = capfd.readouterr()
    assert "errata: " in told.err and found(tmp_path, told.out, told.err) == []


def test_a_traceback_tells_no_key(recipe: Recipe, tmp_path: Path) -> None:
    with Server(faults=STOPS[:1], key=KEY) as server:
        with_key(recipe, server.url)
        done = errata("run", recipe.path, "--out", tmp_path / "out", "--debug", env=environment(**VARIABLES))
    assert done.returncode == 1 and "Traceback" in done.stderr and "EngineDown" in done.stderr
    assert found(tmp_path, done.stdout, done.stderr) == []


@pytest.mark.parametrize("url", [f"http://user:{PASSWORD}@127.0.0.1:9/v1", f"http://127.0.0.1:9/v1?key={KEY}"])
def test_a_secret_in_the_url_is_refused_and_not_repeated(
    recipe: Recipe, tmp_path: Path, url: str, capfd: pytest.CaptureFixture[str]
) -> None:
    recipe.served("http://127.0.0.1:9/v1")
    change = ("--set", f"engines.student.with.base_url={url}")
    assert main(["check", str(recipe.path), *change]) == 1
    told = capfd.readouterr()
    done = errata("run", recipe.path, "--out", tmp_path / "out", *change, "--debug")
    assert done.returncode == 1 and "Traceback" in done.stderr
    assert "api_key_env" in told.err and "api_key_env" in done.stderr
    assert found(tmp_path, told.out, told.err, done.stdout, done.stderr) == []
