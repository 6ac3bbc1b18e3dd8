"""SIGKILL at twenty seeded moments of one run: the dataset is that of a quiet run, and hardly a reply is paid twice."""

import json
import random
import signal
import subprocess
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from errata.store.check import check_dataset
from tests.runners.support import Recipe, command, environment, errata, parquet, served, told

KILLS = 20
EPISODES, SAMPLES = 4, 4
UNDER_WAY = EPISODES * SAMPLES
"""Requests of a run that can be under way, or answered and not yet on disk, at one time: an episode waits for each of
its stage's requests, at most four here, until it is durable. The engine's own limit is no lower."""


def asked(url: str) -> int:
    with urllib.request.urlopen(f"{url.removesuffix('/v1')}/stats") as answer:
        found: int = json.load(answer)["requests"]
        return found


def killed_when(ready: Callable[[], bool], arguments: list[str], delay: float) -> None:
    """Start the run and kill it so many seconds after it is `ready`."""
    with subprocess.Popen(arguments, env=environment(), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as process:
        while not ready():
            assert process.poll() is None, f"it ended too early: {process.communicate()[1].decode()}"
            time.sleep(0.001)
        time.sleep(delay)
        process.send_signal(signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL


def moments(url: str, out: Path, expected: int) -> Iterator[tuple[Callable[[], bool], float]]:
    """(condition, delay after it): while it starts, all through the requests, and while the version is assembled."""
    draw = random.Random(20)
    before = asked(url)
    yield (lambda: True), 0.3
    for target in sorted(draw.sample(range(1, expected), KILLS - 2)):
        yield (lambda target=target: asked(url) - before >= target), draw.uniform(0.0, 0.05)  # type: ignore[misc]
    yield (lambda: any(out.glob("small/.1-*.tmp-*"))), draw.uniform(0.0, 0.01)


@pytest.mark.long
def test_killed_twenty_times_it_makes_the_same_dataset(recipe: Recipe, tmp_path: Path) -> None:
    recipe.data |= {"concurrency": EPISODES, "part_size": 16}
    recipe.data["source"]["with"]["count"] = 100
    recipe.data["stages"][0]["with"]["n"] = SAMPLES
    out = tmp_path / "out"
    with served(tmp_path / "count.json") as url:
        recipe.served(url, concurrency=UNDER_WAY)
        assert errata("run", recipe.path, "--out", tmp_path / "whole").returncode == 0
        expected = asked(url)
        assert expected > 600
        for ready, delay in moments(url, out, expected):
            killed_when(ready, command("run", recipe.path, "--out", out), delay)
        done = errata("run", recipe.path, "--out", out)
        assert done.returncode == 0, done.stderr
        repeated = asked(url) - 2 * expected
    (whole,) = (tmp_path / "whole/small").glob("1-*")
    (version,) = (out / "small").glob("1-*")
    assert parquet(version) == parquet(whole)
    for name in ("manifest.json", "metrics.json"):
        assert (version / "_manifest" / name).read_bytes() == (whole / "_manifest" / name).read_bytes()
    assert check_dataset(version) == []
    assert told(version)["requests"] == 0, "the last run had only to assemble the version"
    assert sorted(p.name for p in (out / "small").iterdir()) == sorted(["LATEST", version.name]), "nothing is left over"
    print(f"\n{repeated} of {expected} requests were sent twice: {repeated / KILLS:.1f} a kill")
    assert 0 <= repeated <= KILLS * UNDER_WAY
