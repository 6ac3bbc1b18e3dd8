"""SIGTERM: nothing more is asked, what is under way finishes within the grace period, and the run resumes."""

import json
import signal
import subprocess
import time
from itertools import chain, repeat
from pathlib import Path

from tests.runners.support import Recipe, Server, command, environment, errata, one_line
from tests.servers import slow


def terminated(recipe: Recipe, out: Path, url: object, *, grace: float, again: bool = False) -> tuple[int, str, float]:
    """(exit code, what it said, seconds from SIGTERM to the end) of a run that is told to end in the middle."""
    run = subprocess.Popen(
        command("run", recipe.path, "--out", out, "--grace", grace), stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        text=True, env=environment(),
    )  # fmt: skip
    while not (list((out / "journal").glob("*.jsonl")) and getattr(url, "requests", 1) > 3):
        time.sleep(0.05)
        assert run.poll() is None, run.communicate()
    run.send_signal(signal.SIGTERM)
    began = time.monotonic()
    if again:
        time.sleep(0.5)
        run.send_signal(signal.SIGTERM)
    said = run.communicate(timeout=60)[1]
    return run.returncode, said, time.monotonic() - began


def test_what_is_under_way_is_finished_and_never_asked_again(recipe: Recipe, out: Path) -> None:
    with Server(latency=0.5) as server:
        recipe.served(server.url, concurrency=4)
        code, said, _ = terminated(recipe, out, server, grace=30)
        assert code == 143
        one_line(said, "terminated", "those under way were finished")
        asked = server.requests
        assert asked < 36
        server.latency = 0.0
        done = errata("run", recipe.path, "--out", out)
        assert done.returncode == 0, done.stderr
        assert server.repeated == 0 and server.requests > asked
    (run,) = out.glob("small/*/_manifest/run.json")
    (earlier,) = json.loads(run.read_text())["earlier"]
    assert earlier["ended"].startswith("Terminated")


def test_the_grace_period_ends(recipe: Recipe, out: Path) -> None:
    with Server(faults=chain([None] * 8, repeat(slow(60)))) as server:
        recipe.served(server.url, concurrency=4)
        code, said, seconds = terminated(recipe, out, server, grace=1)
    assert code == 143 and 1 <= seconds < 20
    one_line(said, "terminated", "4 under way given up")


def test_a_second_signal_does_not_wait(recipe: Recipe, out: Path) -> None:
    with Server(latency=1.5) as server:
        recipe.served(server.url, concurrency=1)
        code, said, _ = terminated(recipe, out, server, grace=60, again=True)
    assert code == 143
    one_line(said, "1 under way given up")
