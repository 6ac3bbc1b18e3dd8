"""What others can reach and see: engines and dashboards on loopback, Ray behind its token, and no secret in Ray."""

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from errata.simulate.options import Options
from tests.faults.support import Simulated
from tests.runners.support import ROOT, environment
from tests.security.canaries import VARIABLES, found

Drill = dict[str, Any]


def test_the_simulator_listens_on_loopback_unless_told_otherwise() -> None:
    assert Options().host == "127.0.0.1"
    with Simulated() as simulated:
        port = int(simulated.urls[0].removesuffix("/v1").rpartition(":")[2])
        tables = (Path("/proc/net") / name for name in ("tcp", "tcp6"))
        lines = [line.split() for table in tables if table.exists() for line in table.read_text().splitlines()[1:]]
    # Addresses are hexadecimal, the lowest byte first; 0A is listening.
    listening = {line[1] for line in lines if line[3] == "0A"}
    assert [at for at in listening if at.endswith(f":{port:04X}")] == [f"0100007F:{port:04X}"]


@pytest.fixture(scope="module")
def drill(one_ray: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Drill]:
    """What the drill tells, its output, and the folders that it and its Ray left."""
    pytest.importorskip("ray")
    runs = tmp_path_factory.mktemp("runs")
    # Ray's sockets are below its folder, and a socket's path is short.
    with tempfile.TemporaryDirectory(prefix="ray", dir="/tmp") as session:
        variables = environment(**VARIABLES, RAY_TMPDIR=session)
        variables.pop("RAY_AUTH_MODE", None)
        done = subprocess.run(
            [sys.executable, "-m", "tests.security.ray_drill", str(runs)],
            capture_output=True, text=True, env=variables, cwd=ROOT, timeout=300,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        told: Drill = {}
        for line in done.stdout.splitlines():
            told |= json.loads(line) if line.startswith("{") else {}
        yield {**told, "said": [done.stdout, done.stderr], "folders": [runs, Path(session)]}


def test_ray_asks_for_a_token_and_shows_no_dashboard(drill: Drill) -> None:
    assert drill["tokens"]
    commands = list(drill["processes"].values())
    assert any("gcs_server" in c for c in commands)
    # Ray starts the dashboard's process in any case, here without its pages.
    dashboards = [c for c in commands if "dashboard.py" in c]
    assert all("--host=127.0.0.1" in c and "--disable-frontend" in c for c in dashboards), dashboards


def test_no_secret_is_in_what_ray_shows_or_writes(drill: Drill) -> None:
    assert drill["stopped"].startswith("EngineDown: ") and "(401)" in drill["stopped"]
    folders = drill["folders"]
    assert list(folders[0].glob("out/journal/*")) and list(folders[1].glob("ray/session_2*/logs/*"))
    assert set(drill["runtime_env"].get("env_vars", {})) <= {"PYTHONPATH"}
    assert found(*drill["said"], *drill["processes"].values(), json.dumps(drill["runtime_env"]), *folders) == []
