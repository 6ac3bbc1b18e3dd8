"""SIGKILL before each change on disk: the old version or the new one is seen, and the next run makes the same."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.runners.support import environment
from tests.store.life import PROBLEMS, VERSION


@pytest.mark.long
def test_killed_before_each_change_the_next_run_makes_the_same(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.store.kill_drill", tmp_path],
        capture_output=True, text=True, env=environment(), timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    *killed, whole = map(json.loads, done.stdout.splitlines())
    assert whole["signal"] == 0 and whole["k"] == len(killed) + 1 > 90
    claimed = False
    for run in killed:
        assert run["signal"] == 9
        assert run["faults"] == [], run
        assert run["hash"] == whole["hash"], run
        assert run["left"] == ["0", VERSION, "LATEST"], run
        # Once the pointer was renamed the new one is seen, and not before.
        claimed = claimed or run["seen"] == VERSION
        assert run["seen"] == (VERSION if claimed else "0"), run
    assert claimed and killed[0]["asked"] == PROBLEMS and killed[-1]["asked"] == 0
    asked = [run["asked"] for run in killed]
    assert asked == sorted(asked, reverse=True), "what was asked once is on disk"
    operations = {run["where"].split()[0] for run in killed}
    assert operations == {"mkdir", "create", "write", "fsync", "claim", "rename", "remove"}
