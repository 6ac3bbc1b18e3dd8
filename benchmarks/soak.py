"""A long run with kills: whether anything grows that should not - memory, descriptors, threads, temporary files.

    python benchmarks/soak.py                          # 200,000 problems, killed ten times
    python benchmarks/soak.py --problems 20000 --kills 3

The engine is a simulated one that answers at once. Each life of the run is looked at once a second; growth is told as
the slope over the life after its first ten seconds, by least squares.
"""

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from window import HERE, content, simulator, stats

WARM = 10.0
"""Seconds of a life that do not count: it reads the journal and fills its episodes in flight."""


class Look(NamedTuple):
    """A process at a moment."""

    seconds: float
    rss: float
    """MiB."""
    descriptors: int
    threads: int


def look(process: int, began: float) -> Look:
    """What /proc tells of a process."""
    status = dict(
        line.split(":", 1) for line in Path(f"/proc/{process}/status").read_text().splitlines() if ":" in line
    )
    descriptors = len(list(Path(f"/proc/{process}/fd").iterdir()))
    return Look(time.monotonic() - began, int(status["VmRSS"].split()[0]) / 1024, descriptors, int(status["Threads"]))


def slope(looks: Sequence[Look]) -> float:
    """MiB of memory a minute."""
    n = len(looks)
    if n < 2:
        return 0.0
    x, y = sum(k.seconds for k in looks) / n, sum(k.rss for k in looks) / n
    return 60 * sum((k.seconds - x) * (k.rss - y) for k in looks) / sum((k.seconds - x) ** 2 for k in looks)


def life(command: list[str], temporary: str, seconds: float | None) -> tuple[list[Look], bool]:
    """Looks at one life of the run, killed after so many seconds, and whether it came to its end."""
    began = time.monotonic()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, env={**os.environ, "TMPDIR": temporary})
    looks = []
    while process.poll() is None:
        time.sleep(1.0)
        try:
            looks.append(look(process.pid, began))
        except (OSError, KeyError):
            break
        if seconds is not None and looks[-1].seconds > seconds:
            process.send_signal(signal.SIGKILL)
    process.wait()
    if process.returncode not in (0, -signal.SIGKILL):
        raise SystemExit(f"the run failed with exit code {process.returncode}")
    return looks, process.returncode == 0


def main() -> int:
    parser = argparse.ArgumentParser(description="Look for leaks in a long run.")
    parser.add_argument("--problems", type=int, default=200_000)
    parser.add_argument("--samples", type=int, default=1)
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--seconds", type=float, default=60.0, help="mean life of a run that is killed")
    args = parser.parse_args()
    chance = random.Random(args.problems)
    with (
        tempfile.TemporaryDirectory() as out,
        tempfile.TemporaryDirectory() as temporary,
        simulator("--step-ms", "0") as (url,),
    ):
        changes = [f"source.with.count={args.problems}", f"stages.sample.with.n={args.samples}"]
        changes += [f"engines.{role}.with.base_url={url}" for role in ("student", "teacher")]
        command = [sys.executable, "-m", "errata.cli", "run", str(HERE / "framework_cost.yaml"), "--out", out]
        command += [x for change in changes for x in ("--set", change)]
        ended, lives = False, 0
        while not ended:
            looks, ended = life(
                command, temporary, chance.uniform(0.5, 1.5) * args.seconds if lives < args.kills else None
            )
            lives += 1
            warm = [k for k in looks if k.seconds > WARM] or looks
            print(
                f"life {lives}: {looks[-1].seconds:.0f} s, memory {warm[0].rss:.0f} to {warm[-1].rss:.0f} MiB (peak "
                f"{max(k.rss for k in looks):.0f}, {slope(warm):+.1f} a minute), descriptors {warm[0].descriptors} to "
                f"{warm[-1].descriptors}, threads {warm[0].threads} to {warm[-1].threads}"
                f"{'' if ended else ', killed'}",
                flush=True,
            )
        told = stats(url)
        left = [str(p.relative_to(out)) for p in Path(out).rglob("*") if p.name.startswith(".") or ".tmp" in p.name]
        left += [p.name for p in Path(temporary).iterdir()]
        print(
            f"{args.problems:,} problems, {told['requests']:,} requests, {told['repeated']:,} of them twice; content "
            f"{content(out)[:12]}; temporary files left: {', '.join(left) or 'none'}"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
