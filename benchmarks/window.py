"""How full errata keeps an engine: the main job against a simulated GPU, from the first request to the last.

    python benchmarks/window.py                       # 2,000 problems, 256 slots, 9 ms a step: about 75 s
    python benchmarks/window.py --problems 10000
    python benchmarks/window.py --runner ray --workers 2
    python benchmarks/window.py --kill 0.5            # SIGKILL at half time and a second run: what is asked twice

The ideal is busy slot-seconds over slots, as the simulator counts them exactly; its lengths are lognormal with mean
113 and p99 1,200 tokens and not known beforehand. CPU is that of the client's whole process tree.
"""

import argparse
import json
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from resource import RUSAGE_CHILDREN, getrusage
from typing import Any

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


def command(args: argparse.Namespace, url: str, out: str) -> list[str]:
    """The run that is measured."""
    settings = {"source.with.count": args.problems}
    for role in ("student", "teacher"):
        settings |= {f"engines.{role}.with.base_url": url, f"engines.{role}.sampling.max_tokens": LIMIT}
        settings |= {f"engines.{role}.with.identity": "simulated", f"engines.{role}.with.concurrency": args.slots}
    changes = [x for name, value in settings.items() for x in ("--set", f"{name}={value}")]
    changes += [x for change in args.set for x in ("--set", change)]
    runner = ["--runner", args.runner, "--workers", str(args.workers)]
    recipe = str(HERE / "framework_cost.yaml")
    return [sys.executable, "-m", "errata.cli", "run", recipe, *changes, *runner, "--out", out]


def content(out: str) -> str:
    """The content hash of the version made."""
    (manifest,) = Path(out).glob("*/*/_manifest/manifest.json")
    return str(json.loads(manifest.read_text())["content_hash"])


def run(args: argparse.Namespace, url: str, out: str, kill_after: float | None = None) -> tuple[float, float]:
    """(wall seconds, seconds until the first request)."""
    began = time.monotonic()
    process = subprocess.Popen(command(args, url, out), stdout=subprocess.DEVNULL)
    first = 0.0
    while process.poll() is None:
        if not first and stats(url)["arrived"]:
            first = time.monotonic() - began
        if kill_after is not None and time.monotonic() - began > kill_after:
            process.send_signal(signal.SIGKILL)
            process.wait()
            return time.monotonic() - began, first
        time.sleep(0.1 if not first else 0.5)
    if process.returncode:
        raise SystemExit(f"the run failed with exit code {process.returncode}")
    return time.monotonic() - began, first


def main() -> int:
    parser = argparse.ArgumentParser(description="Measure how full an engine is kept.")
    parser.add_argument("--problems", type=int, default=2_000)
    parser.add_argument("--slots", type=int, default=256)
    parser.add_argument("--step-ms", type=float, default=9.0)
    parser.add_argument("--runner", choices=("local", "ray"), default="local")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--per-problem", type=float, default=0.0, help="see errata simulate")
    parser.add_argument("--seed", type=int, default=0, help="of the lengths")
    parser.add_argument("--kill", type=float, metavar="SHARE", help="kill a run at this share of its time, run again")
    parser.add_argument("--set", action="append", default=[], metavar="PATH=VALUE", help="change the recipe")
    args = parser.parse_args()
    passed = ("slots", "step_ms", "per_problem", "seed")
    options = [x for name in passed for x in (f"--{name.replace('_', '-')}", str(getattr(args, name)))]
    with simulator(*options) as (url,), tempfile.TemporaryDirectory() as out:
        before = getrusage(RUSAGE_CHILDREN)
        seconds, first = run(args, url, f"{out}/whole")
        used = getrusage(RUSAGE_CHILDREN)
        told, whole = stats(url), content(f"{out}/whole")
        cpu = used.ru_utime + used.ru_stime - before.ru_utime - before.ru_stime
        print(
            f"{args.runner}, {args.problems:,} problems, {told['requests']:,} requests: window "
            f"{told['window_seconds']:.1f} s = {told['ratio']:.3f} times the ideal {told['ideal_seconds']:.1f} s; with "
            f"start-up {seconds / told['ideal_seconds']:.3f}; first request after {first:.1f} s; "
            f"{1000 * cpu / told['requests']:.2f} CPU-s per 1,000 requests, peak {used.ru_maxrss / 1024:.0f} MiB",
            flush=True,
        )
    if args.kill:
        with simulator(*options) as (url,), tempfile.TemporaryDirectory() as out:
            run(args, url, f"{out}/killed", kill_after=args.kill * seconds)
            finished = stats(url)["finished"]
            run(args, url, f"{out}/killed")
            told = stats(url)
            share = told["repeated"] / max(1, finished)
            same = "same" if content(f"{out}/killed") == whole else "OTHER"
            print(
                f"killed at {args.kill:.0%}: {finished:,} were finished, {told['repeated']:,} of them asked again "
                f"({share:.2%}); {same} content hash"
            )
    return 0


if __name__ == "__main__":
    sys.exit(main())
