"""Runs on a Ray of its own with secrets in the environment; prints what of it can be seen, as lines of JSON.

python -m tests.security.ray_drill FOLDER
"""

import json
import os
import sys
from itertools import islice
from pathlib import Path
from typing import Any

import ray
from ray._raylet import AuthenticationMode, get_authentication_mode

from errata.errors import ErrataError
from errata.runners import job
from errata.runners.options import Options
from errata.runners.ray import connect
from tests.runners.support import Recipe, Server
from tests.security.canaries import KEY, STOPS, echoes, with_key


def ran(folder: Path, **server: Any) -> str:
    """What a run says that ends, or that stops."""
    recipe = Recipe(folder / "recipe")
    with Server(key=KEY, **server) as chat:
        with_key(recipe, chat.url)
        try:
            job.run(Options(recipe=recipe.path, out=folder / "out", runner="ray"), lambda *_: None)
        except ErrataError as error:
            return f"{type(error).__name__}: {error}"
    return "finished"


def processes() -> dict[str, str]:
    """The command lines of all processes that descend from this one, by id."""
    parents: dict[str, str] = {}
    for path in Path("/proc").glob("[0-9]*"):
        try:
            parents[path.name] = (path / "stat").read_text().rpartition(")")[2].split()[1]
        except OSError:
            continue
    mine = {str(os.getpid())}
    while more := {pid for pid, parent in parents.items() if parent in mine} - mine:
        mine |= more
    found = {}
    for pid in mine - {str(os.getpid())}:
        try:
            found[pid] = (Path("/proc") / pid / "cmdline").read_bytes().replace(b"\0", b" ").decode().strip()
        except OSError:
            continue
    return found


def main(folder: Path) -> None:
    connect()
    print(json.dumps({"tokens": get_authentication_mode() == AuthenticationMode.TOKEN}), flush=True)
    # Every echo once, and then one that stops the run.
    faults = [*islice(echoes(), 30), *STOPS[:1]]
    print(json.dumps({"stopped": ran(folder, faults=faults)}), flush=True)
    context = ray.get_runtime_context()
    print(json.dumps({"processes": processes(), "runtime_env": dict(context.runtime_env)}), flush=True)
    ray.shutdown()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
