"""A lock is one process's at a time, says whose it is, and dies with it."""

import os
import re
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from errata.errors import StoreError
from errata.store.lock import exclusive
from tests.runners.support import environment

HOLD = """
import os, sys, time
from pathlib import Path
from errata.store.lock import exclusive
with exclusive(Path(sys.argv[1]), "it"):
    os.fork() or time.sleep(600)
    print("held", flush=True)
    time.sleep(600)
"""

COUNT = """
import sys, time
from pathlib import Path
from errata.errors import StoreError
from errata.store.lock import exclusive
counter = Path(sys.argv[2])
done = 0
while done < 40:
    try:
        with exclusive(Path(sys.argv[1]), "it"):
            n = int(counter.read_text())
            time.sleep(0.0005)
            counter.write_text(str(n + 1))
            done += 1
    except StoreError:
        time.sleep(0.0005)
"""


def test_the_second_is_told_who_holds_it_and_a_dead_holder_is_none(tmp_path: Path) -> None:
    path = tmp_path / ".making-1"
    arguments = [sys.executable, "-c", HOLD, str(path)]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True, env=environment(), start_new_session=True) as p:
        assert p.stdout is not None and p.stdout.readline() == "held\n"
        try:
            whose = rf"another run \(process {p.pid} on .+\) is making out/sums/1: wait .* another --out"
            with pytest.raises(StoreError, match=whose) as told, exclusive(path, "out/sums/1"):
                pass
            assert "\n" not in str(told.value) and path.exists()
            p.kill()
            p.wait()
            with exclusive(path, "out/sums/1"):  # its child lives on, and holds nothing
                assert re.fullmatch(rf"process {os.getpid()} on .+\n", path.read_text())
            assert list(tmp_path.iterdir()) == []
        finally:
            os.killpg(p.pid, signal.SIGKILL)


def test_only_one_has_it_at_a_time(tmp_path: Path) -> None:
    counter = tmp_path / "counter"
    counter.write_text("0")
    arguments = [sys.executable, "-c", COUNT, str(tmp_path / ".lock"), str(counter)]
    with ThreadPoolExecutor(3) as pool:
        ended = list(pool.map(lambda _: subprocess.run(arguments, env=environment(), timeout=120), range(3)))
    assert [p.returncode for p in ended] == [0, 0, 0]
    assert counter.read_text() == "120"


def test_a_folder_that_is_not_there_is_told(tmp_path: Path) -> None:
    with (
        pytest.raises(StoreError, match=r"cannot lock .*/none/\.lock: No such file"),
        exclusive(tmp_path / "none/.lock", "it"),
    ):
        pass
