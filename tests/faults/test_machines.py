"""F23, F27 and F28: an engine that dies, a clock that jumps, and a journal that rots. Other machines' faults stand
where the machines are, see matrix.py."""

import shutil
import subprocess
import sys
from pathlib import Path

from tests.faults.support import Simulated, Told, ran, recipe_at, run, undisturbed
from tests.runners.support import ROOT, environment

JUMPY = """
import sys, time
real, real_ns, began = time.time, time.time_ns, time.monotonic()
def offset():  # an hour ahead and an hour back, every tenth of a second
    return 3600 * (1, 0, -1)[int(10 * (time.monotonic() - began)) % 3]
time.time, time.time_ns = (lambda: real() + offset()), (lambda: real_ns() + offset() * 10**9)
from errata.cli import main
sys.exit(main(sys.argv[1:]))
"""


def test_f23_an_engine_that_is_killed_and_comes_back_costs_nothing(tmp_path: Path) -> None:
    with Simulated(step_ms=1.0, replicas=2) as simulated:
        recipe = recipe_at(tmp_path / "recipe", simulated, concurrency=4, backoff=0.05)
        simulated.post_once_asked("/die?seconds=0.2")
        told = run(recipe, tmp_path / "out", simulated).sound()
    assert told.account["deaths"] == 1 and sum(told.retries.values()) >= 1
    assert told.hash == undisturbed().hash and not told.lost
    assert told.journal.replies == undisturbed().requests == told.account["answered"] and told.journal.repeated == 0


def test_f27_a_clock_that_jumps_by_hours_changes_nothing(tmp_path: Path) -> None:
    with Simulated("500=0.1", "429_retry_after=0.1", retry_after=0.1, step_ms=0.2) as simulated:
        recipe = recipe_at(tmp_path / "recipe", simulated)
        done = subprocess.run(
            [sys.executable, "-c", JUMPY, "run", recipe.path, "--out", tmp_path / "out"],
            capture_output=True, text=True, env=environment(), cwd=ROOT, timeout=100,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        told = Told(tmp_path / "out", None, simulated.account).unharmed()
    # No time-out came of it, and what the run says of its own length is true.
    assert told.retries.keys() == {"http_500", "http_429"} and 0 < told.facts["seconds"] < 60


def test_f28_a_reply_that_rots_on_disk_is_asked_for_again_and_told(tmp_path: Path) -> None:
    ran(tmp_path)
    (path,) = (tmp_path / "out/journal").glob("*.jsonl")
    lines = path.read_bytes().splitlines(keepends=True)
    at = len(lines) // 2
    lines[at] = lines[at].replace(b'"stop"', b'"stoq"')
    path.write_bytes(b"".join(lines))
    shutil.rmtree(tmp_path / "out/small")
    told = ran(tmp_path)
    assert told.hash == undisturbed().hash and told.journal.faults == ()
    assert told.account["requests"] == told.facts["progress"]["requests"] == 1
    assert told.facts["journal_corrupted"] == told.journal.corrupted == 1
    assert told.facts["progress"]["reused"] == undisturbed().requests - 1
