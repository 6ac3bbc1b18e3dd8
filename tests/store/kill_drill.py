"""A run is killed with SIGKILL before its k-th change on disk, for every k; prints what each left, as lines of JSON.

python -m tests.store.kill_drill FOLDER

Each run is a fork of this process, which itself starts no thread. Syncs are left out: a killed process loses nothing
that it wrote, and what the power can take is tests.store.power's concern.
"""

import json
import os
import shutil
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema  # noqa: F401  here, and not once a fork
import pyarrow as pa

from errata.store.audit import check_calls, check_journal
from errata.store.check import check_dataset
from errata.store.reader import open_dataset
from tests.store.life import NAME, Echo, live
from tests.store.support import build, make


def forked(work: Callable[[], Any]) -> tuple[int, Any]:
    """(signal that ended it or 0, what `work` returned) of a fork."""
    receive, send = os.pipe()
    child = os.fork()
    if child == 0:
        code = 1
        try:
            os.write(send, json.dumps(work()).encode())
            code = 0
        finally:
            os._exit(code)
    os.close(send)
    with os.fdopen(receive, "rb") as answer:
        told = answer.read()
    _, status = os.waitpid(child, 0)
    if not os.WIFSIGNALED(status) and os.waitstatus_to_exitcode(status):
        raise SystemExit("a run failed, see above")
    return os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0, json.loads(told) if told else None


def first(root: Path, k: int) -> str:
    """A run that is killed before its k-th change; the content hash if it has fewer."""
    left = k

    def kill(operation: str, path: Path) -> None:
        nonlocal left
        left -= 1
        if left == 0:
            (root / "where").write_text(f"{operation} {path.name}")
            os.kill(os.getpid(), signal.SIGKILL)

    return live(root, Echo(), kill).manifest.content_hash


def second(root: Path) -> dict[str, Any]:
    """What the killed run left, and what the next makes of it."""
    dataset = root / "out" / NAME
    seen = open_dataset(dataset).path
    faults = check_dataset(seen)
    engine = Echo()
    finished = live(root, engine)
    journal = root / "out/journal"
    return {
        "seen": seen.name,
        "faults": faults + check_dataset(dataset) + check_journal(journal) + check_calls(finished.path, journal),
        "hash": finished.manifest.content_hash,
        "asked": engine.asked,
        "left": sorted(p.name for p in dataset.iterdir()),
    }


def main(folder: Path) -> None:
    os.fsync = lambda handle: None
    pa.array(["imports pandas, if it is there"])
    forked(lambda: build(folder / "older", [make(0)], version="0").new)
    k, ended = 0, int(signal.SIGKILL)
    while ended:
        k += 1
        root = folder / str(k)
        shutil.copytree(folder / "older", root)
        ended, told = forked(lambda root=root, k=k: first(root, k))
        if ended:
            where = (root / "where").read_text()
            _, told = forked(lambda root=root: second(root))
            print(json.dumps({"k": k, "signal": ended, "where": where, **told}), flush=True)
        else:
            print(json.dumps({"k": k, "signal": 0, "hash": told}), flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
