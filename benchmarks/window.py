"""How full errata keeps an engine: the main job against a simulated GPU, from the first request to the last.

    python benchmarks/window.py                       # 2,000 problems, 256 slots, 9 ms a step: about 75 s
    python benchmarks/window.py --problems 10000
    python benchmarks/window.py --runner ray --workers 2
    python benchmarks/window.py --kill 0.5            # SIGKILL at half time and a second run: what is asked twice

The ideal is busy slot-seconds over slots, as the simulator counts them exactly; its lengths are lognormal with mean
113 and p99 1,200 tokens and not known beforehand. CPU and memory are those of the client's whole process tree, sampled
every two seconds; memory is the proportional set size, in which what processes share counts once.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

HERE = Path(__file__).resolve().parent
LIMIT = 1_400
"""Tokens of a reply at most: without a limit a lognormal length now and then takes longer than all the rest."""


@contextmanager
def simulator(*options: str) -> Iterator[list[str]]:
    """Base URLs of a simulated engine's replicas."""
    replicas = int(options[options.index("--replicas") + 1]) if "--replicas" in options else 1
    command = [sys.executable, "-m", "errata.cli", "simulate", *options]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None  # it was asked for
        yield [process.stdout.readline().strip() for _ in range(replicas)]
    finally:
        process.terminate()
        process.wait()


def stats(url: str) -> dict[str, Any]:
    """The simulator's account of all replicas."""
    with urllib.request.urlopen(f"{url.removesuffix('/v1')}/stats?all=1") as answer:
        return dict(json.load(answer))


def memory(root: int, cpu: dict[int, float]) -> float:
    """Proportional set size of a process and all its descendants, in MiB; notes the CPU-seconds of each in `cpu`."""
    parents, seconds = {}, {}
    for status in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            fields = status.read_text().rpartition(")")[2].split()
            pid = int(status.parent.name)
            parents[pid] = int(fields[1])
            seconds[pid] = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    tree = {root}
    while more := {pid for pid, parent in parents.items() if parent in tree} - tree:
        tree |= more
    total = 0
    for pid in tree:
        cpu[pid] = seconds.get(pid, cpu.get(pid, 0.0))
        with suppress(OSError):
            rolled = Path(f"/proc/{pid}/smaps_rollup").read_text()
            total += next((int(line.split()[1]) for line in rolled.splitlines() if line.startswith("Pss:")), 0)
    return total / 1024


def command(args: argparse.Namespace, urls: list[str], out: str) -> list[str]:
    """The run that is measured."""
    settings = {"source.with.count": args.problems}
    for role in ("student", "teacher"):
        settings |= {f"engines.{role}.with.base_url": json.dumps(urls), f"engines.{role}.sampling.max_tokens": LIMIT}
        settings |= {f"engines.{role}.with.identity": "simulated", f"engines.{role}.with.concurrency": args.slots}
    changes = [x for name, value in settings.items() for x in ("--set", f"{name}={value}")]
    changes += [x for change in args.set for x in ("--set", change)]
    runner = ["--runner", args.runner, "--workers", str(args.workers)]
    return [sys.executable, "-m", "errata.cli", "run", str(args.recipe), *changes, *runner, "--out", out]


def content(out: str) -> str:
    """The content hash of the version made."""
    (manifest,) = Path(out).glob("*/*/_manifest/manifest.json")
    return str(json.loads(manifest.read_text())["content_hash"])


class Ran(NamedTuple):
    """One run, whole or killed."""

    seconds: float
    first: float
    """Seconds until the first request."""
    memory: float
    """The largest sample, in MiB."""
    cpu: float
    """CPU-seconds."""


def run(args: argparse.Namespace, urls: list[str], out: str, kill_after: float = float("inf")) -> Ran:
    """Run the job to its end, or kill it after so many seconds."""
    began = looked = time.monotonic()
    process = subprocess.Popen(command(args, urls, out), stdout=subprocess.DEVNULL)
    first = most = 0.0
    cpu: dict[int, float] = {}
    while process.poll() is None:
        now = time.monotonic()
        if not first and stats(urls[0])["arrived"]:
            first = now - began
        if now - began > kill_after:
            process.send_signal(signal.SIGKILL)
            process.wait()
            return Ran(now - began, first, most, sum(cpu.values()))
        if now - looked > 2:
            most, looked = max(most, memory(process.pid, cpu)), now
        time.sleep(0.1 if not first else 0.5)
    if process.returncode:
        raise SystemExit(f"the run failed with exit code {process.returncode}")
    return Ran(time.monotonic() - began, first, most, sum(cpu.values()))


class Window(NamedTuple):
    """What a run on a fresh simulator took, and how the simulator saw it."""

    ran: Ran
    told: dict[str, Any]
    content: str

    @property
    def efficiency(self) -> float:
        """The ideal over the window: the share of the engine's time that was used."""
        return float(1 / self.told["ratio"])


def options(args: argparse.Namespace) -> list[str]:
    """The simulator's."""
    passed = ("slots", "step_ms", "per_problem", "seed", "replicas", "cache_tokens")
    return [x for name in passed for x in (f"--{name.replace('_', '-')}", str(getattr(args, name)))]


def measure(args: argparse.Namespace) -> Window:
    """Run the job once."""
    with simulator(*options(args)) as urls, tempfile.TemporaryDirectory() as out:
        ran = run(args, urls, out)
        return Window(ran, stats(urls[0]), content(out))


def parser() -> argparse.ArgumentParser:
    """The options that all measurements of windows have."""
    made = argparse.ArgumentParser(description="Measure how full an engine is kept.")
    made.add_argument("--problems", type=int, default=2_000)
    made.add_argument("--slots", type=int, default=256)
    made.add_argument("--step-ms", type=float, default=9.0)
    made.add_argument("--replicas", type=int, default=1)
    made.add_argument("--cache-tokens", type=int, default=400_000, help="of each replica's prefix cache")
    made.add_argument("--recipe", type=Path, default=HERE / "framework_cost.yaml", help="of a student and a teacher")
    made.add_argument("--runner", choices=("local", "ray"), default="local")
    made.add_argument("--workers", type=int, default=2)
    made.add_argument("--per-problem", type=float, default=0.0, help="see errata simulate")
    made.add_argument("--seed", type=int, default=0, help="of the lengths")
    made.add_argument("--set", action="append", default=[], metavar="PATH=VALUE", help="change the recipe")
    return made


def main() -> int:
    wanted = parser()
    wanted.add_argument("--kill", type=float, metavar="SHARE", help="kill a run at this share of its time, run again")
    args = wanted.parse_args()
    ran, told, whole = found = measure(args)
    print(
        f"{args.runner}, {args.problems:,} problems, {told['requests']:,} requests: window "
        f"{told['window_seconds']:.1f} s = {1 / found.efficiency:.3f} times the ideal {told['ideal_seconds']:.1f} s; "
        f"with start-up {ran.seconds / told['ideal_seconds']:.3f}; first request after {ran.first:.1f} s; "
        f"{1000 * ran.cpu / told['requests']:.2f} CPU-s per 1,000 requests, peak {ran.memory:.0f} MiB",
        flush=True,
    )
    if args.kill:
        with simulator(*options(args)) as urls, tempfile.TemporaryDirectory() as out:
            run(args, urls, out, kill_after=args.kill * ran.seconds)
            finished = stats(urls[0])["finished"]
            run(args, urls, out)
            told = stats(urls[0])
            share = told["repeated"] / max(1, finished)
            same = "same" if content(out) == whole else "OTHER"
            print(
                f"killed at {args.kill:.0%}: {finished:,} were finished, {told['repeated']:,} of them asked again "
                f"({share:.2%}); {same} content hash"
            )
    return 0


if __name__ == "__main__":
    sys.exit(main())
