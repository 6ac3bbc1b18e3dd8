"""What errata itself costs: the main job against a server on loopback that answers at once.

    python benchmarks/framework_cost.py
    python benchmarks/framework_cost.py --problems 10000 --runs 1 --memory 10    # 100,000 problems against 10,000

CPU time is that of the whole client process and its children, imports, exports and the writing of the dataset
included; the server's is not in it. A machine whose cores others share gives another figure each time, so the job runs
`--runs` times, the median counts, and beside it stands what a loop that does nothing else costs (`bare_loop.py`).
"""

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

HERE = Path(__file__).resolve().parent
TARGET = 0.6
"""CPU-seconds of the client per 1,000 requests that the project allows itself."""


class Cost(NamedTuple):
    """What one run took."""

    problems: int
    requests: int
    seconds: float
    cpu: float
    peak: float
    """Largest resident set of the client, in MiB."""
    rows: int

    @property
    def per_thousand(self) -> float:
        """CPU-seconds per 1,000 requests."""
        return 1000 * self.cpu / self.requests

    def __str__(self) -> str:
        return (
            f"{self.problems:,} problems, {self.requests:,} requests, {self.rows:,} rows: {self.seconds:.1f} s wall, "
            f"{self.requests / self.seconds:,.0f} requests/s, {self.cpu:.2f} CPU-s "
            f"({self.per_thousand:.3f} per 1,000 requests), peak {self.peak:.0f} MiB"
        )


@contextmanager
def server() -> Iterator[str]:
    """The base URL of a fresh server, ended with the block."""
    process = subprocess.Popen([sys.executable, str(HERE / "instant_server.py")], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None  # it was asked for
        yield process.stdout.readline().strip()
    finally:
        process.terminate()
        process.wait()


def measure(problems: int, profile: Path | None = None) -> Cost:
    """Run the job once in a process of its own, from nothing to the finished dataset."""
    with server() as url, tempfile.TemporaryDirectory() as out:
        settings = {"source.with.count": problems, "engines.student.with.base_url": url}
        settings["engines.teacher.with.base_url"] = url
        changes = [x for name, value in settings.items() for x in ("--set", f"{name}={value}")]
        profiler = ["-m", "cProfile", "-o", str(profile)] if profile else []
        command = [sys.executable, *profiler, "-m", "errata.cli", "run", str(HERE / "framework_cost.yaml"), *changes]
        began = time.monotonic()
        process = subprocess.Popen([*command, "--out", out], stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None  # it was asked for
        said = process.stdout.read()
        # Unlike getrusage(RUSAGE_CHILDREN), this tells the one child apart from the server.
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.monotonic() - began
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            raise SystemExit(f"the run failed with exit code {process.returncode}: {said}")
        with urllib.request.urlopen(f"{url.removesuffix('/v1')}/stats") as answer:
            asked = json.load(answer)["requests"]
    rows = sum(int(n.replace(",", "")) for n in re.findall(r"([\d,]+) (?:sft|dpo)\b", said))
    return Cost(problems, asked, seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024, rows)


def bare(requests: int) -> float:
    """CPU-seconds per 1,000 requests of a loop that does nothing with the replies."""
    with server() as url:
        command = [sys.executable, str(HERE / "bare_loop.py"), url, str(requests)]
        return float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def main() -> int:
    parser = argparse.ArgumentParser(description="Measure what errata costs beside the engine.")
    parser.add_argument("--problems", type=int, default=2_000)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--memory", type=int, metavar="TIMES", help="also run so many times the problems; both peaks")
    parser.add_argument("--profile", type=Path, metavar="FILE", help="write a cProfile of the first run")
    args = parser.parse_args()
    costs = []
    for _ in range(1 if args.profile else args.runs):
        costs.append(measure(args.problems, args.profile))
        print(costs[-1], flush=True)
    cost = sorted(costs, key=lambda c: c.per_thousand)[len(costs) // 2]
    found = [c.per_thousand for c in costs]
    told = f"median {cost.per_thousand:.3f}, {min(found):.3f} to {max(found):.3f}"
    print(f"target {TARGET} CPU-s per 1,000 requests: {'met' if cost.per_thousand <= TARGET else 'missed'} ({told})")
    least = bare(cost.requests)
    ratio = cost.per_thousand / least
    print(f"a bare loop of as many requests takes {least:.3f} CPU-s per 1,000, and errata {ratio:.1f} times that")
    if args.memory:
        larger = measure(args.memory * args.problems)
        print(larger)
        print(f"peak of {larger.problems:,} problems over that of {cost.problems:,}: {larger.peak / cost.peak:.2f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
