"""Two runs on one output folder: one makes the version, the other says so, and what they leave is sound."""

import json
import subprocess
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from errata.store.audit import audit_journal, check_calls
from errata.store.check import check_dataset
from tests.runners.support import Recipe, command, environment, errata, one_line, served

Run = subprocess.Popen[str]
SAID = ("another run", "is finished already and is never rewritten", "dataset ")
"""What a run may say for itself; the last one made the version."""


@pytest.fixture
def begin(recipe: Recipe, out: Path) -> Iterator[Callable[[], Run]]:
    """Starts a run."""
    with ExitStack() as stack:

        def start() -> Run:
            arguments = command("run", recipe.path, "--out", out)
            pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
            run = stack.enter_context(subprocess.Popen(arguments, env=environment(), text=True, **pipes))
            stack.callback(run.kill)
            return run

        yield start


def ended(run: Run) -> str:
    """Which of `SAID` a run said; the exit code fits it."""
    said, complained = run.communicate(timeout=120)
    if run.returncode:
        assert run.returncode == 1
        one_line(complained.rpartition("\r")[2], "another run (", "is making", "wait until it has ended")
        return SAID[0]
    (what,) = (s for s in SAID[1:] if s in said.splitlines()[0])
    return what


def sound(out: Path) -> None:
    assert check_dataset(out / "small") == []
    audit = audit_journal(out / "journal")
    assert audit.faults == () and audit.corrupted == audit.unnamed == 0 and audit.replies > 0
    assert check_calls(out / "small", audit) == []
    (version,) = (out / "small").glob("1-*")
    assert sorted(p.name for p in (out / "small").iterdir()) == sorted(["LATEST", version.name]), "nothing is left over"


@pytest.mark.parametrize("apart", [0.0, 0.0, 0.15, 0.4])
def test_two_runs_started_together_make_one_version(
    recipe: Recipe, out: Path, begin: Callable[[], Run], apart: float
) -> None:
    recipe.data["part_size"] = 4
    recipe.data["source"]["with"]["count"] = 40
    recipe.write()
    first = begin()
    time.sleep(apart)
    both = [ended(begin()), ended(first)]
    assert both.count("dataset ") == 1, both
    sound(out)


@pytest.mark.long
def test_the_second_of_two_long_runs_ends_at_once_and_asks_nothing(
    recipe: Recipe, out: Path, tmp_path: Path, begin: Callable[[], Run]
) -> None:
    with served(tmp_path / "count.json", latency=0.2) as url:
        recipe.served(url, concurrency=4)
        first = begin()
        while not asked(url):
            assert first.poll() is None
            time.sleep(0.01)
        assert ended(begin()) == "another run"
        assert first.poll() is None, "the first is still at it"
        assert ended(first) == "dataset "
        whole = asked(url)
        sound(out)
        assert audit_journal(out / "journal").repeated == 0
        assert errata("run", recipe.path, "--out", tmp_path / "alone").returncode == 0
        assert asked(url) == 2 * whole


def asked(url: str) -> int:
    with urllib.request.urlopen(f"{url.removesuffix('/v1')}/stats") as answer:
        return int(json.load(answer)["requests"])
