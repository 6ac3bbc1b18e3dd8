"""SIGKILL at random moments of small runs: what the same command makes afterwards, and what was asked twice.

    python benchmarks/kill_trials.py                        # 100 trials, 60 local and 40 on Ray: about 15 minutes
    python benchmarks/kill_trials.py --trials 20 --runner local
    python benchmarks/kill_trials.py --trials 10 --runner ray --target raylet --target head --seed 7

A trial starts a run against a simulated engine, kills one of its processes (or the engine's server) after a number of
requests drawn uniformly, or before the first or after the last, and repeats the command until it ends well. The dataset
must be that of an undisturbed run, bit for bit, and it, its journal and every call in it must pass the auditors, who
read only the files. Workers, engines and drivers are killed on one Ray, nodes and heads on Rays of their own, in runs
long enough for Ray to notice.
"""

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from window import HERE, content, simulator, stats

from errata.store.audit import audit_journal, check_calls
from errata.store.check import check_dataset

TARGETS = {
    "local": ("driver", "driver twice", "engine server"),
    "ray": (*("worker", "engine replica", "driver") * 3, "worker", "engine replica", "raylet", "head"),
}
NAMES = {
    "worker": "ray::WorkerHost", "engine replica": "ray::EngineHost", "raylet": "/raylet/raylet", "head": "gcs_server",
}  # fmt: skip
"""What the command line of a target's process holds."""
SETTINGS = {"source.with.count": 60, "concurrency": 8, "part_size": 8}
SLOW_MS = "80"
"""Milliseconds a token of the engine of runs that lose a node or the head: they last a minute and a half."""
PATIENCE = 180.0
"""Seconds after which a run that does not end has hung."""


class Trial(NamedTuple):
    """One kill and what came of it."""

    target: str
    runs: int
    """Until the command ended well, the killed one included."""
    hung: bool
    repeated: int
    """Requests that had been answered before."""
    duplicates: int
    """Replies that the journal holds twice."""
    faults: list[str]
    """Of dataset, journal and calls; another dataset than the undisturbed run's is one."""
    after: float = 0.0
    """Seconds that the run lasted after the kill."""


class Trials:
    """Runs of one recipe on one runner, against one simulator."""

    def __init__(self, runner: str, urls: list[str], *, address: str = "") -> None:
        """`address` is that of a Ray which runs in this process's name; empty: each run starts its own."""
        self.runner, self.urls, self.address = runner, urls, address
        self.requests = 0
        """Of an undisturbed run."""
        self._started: dict[int, str] = {}

    def command(self, out: str) -> list[str]:
        """The run."""
        settings = dict(SETTINGS)
        for role in ("student", "teacher"):
            given = {"model": "m", "base_url": self.urls, "identity": "simulated", "backoff": 0.05, "retries": 8}
            settings[f"engines.{role}"] = json.dumps({"use": "openai", "with": given, "replicas": 2})
        changes = [x for name, value in settings.items() for x in ("--set", f"{name}={value}")]
        recipe = str(HERE / "framework_cost.yaml")
        return [sys.executable, "-m", "errata.cli", "run", recipe, *changes, "--runner", self.runner, "--out", out]

    @contextmanager
    def running(self, out: str) -> Iterator[subprocess.Popen[bytes]]:
        """A run, which leaves no process behind however it ends."""
        env = os.environ | ({"RAY_ADDRESS": self.address} if self.address else {})
        process = subprocess.Popen(self.command(out), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=env)
        self._started = {}
        try:
            yield process
        finally:
            self.processes(process)
            process.kill()
            process.wait()
            for pid, began in self._started.items():
                if _began(pid) == began:
                    with suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)

    def processes(self, process: subprocess.Popen[bytes]) -> dict[int, str]:
        """Command lines of what the run started, or has started by a Ray that it shares, by id."""
        found = {}
        for pid in _descendants(os.getpid() if self.address else process.pid):
            with suppress(OSError):
                found[pid] = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                if not self.address:
                    self._started.setdefault(pid, _began(pid))
        return found

    def whole(self, out: str) -> float:
        """Seconds of an undisturbed run."""
        self.forget()
        began = time.monotonic()
        with self.running(out) as process:
            if process.wait(PATIENCE):
                raise SystemExit(f"the run without a kill failed with exit code {process.returncode}")
        self.requests = stats(self.urls[0])["requests"]
        return time.monotonic() - began

    def forget(self) -> None:
        """Have the simulator count from nothing."""
        urllib.request.urlopen(self.urls[0].removesuffix("/v1") + "/reset", data=b"").close()

    def trial(self, target: str, draw: random.Random, expected: str) -> Trial:
        """Kill one target, then repeat the command until it ends well."""
        self.forget()
        with tempfile.TemporaryDirectory() as out:
            runs, hung = 1, False
            for _ in range(2 if target == "driver twice" else 1):
                with self.running(out) as process:
                    self._kill(process, target, draw)
                    killed = time.monotonic()
                    try:
                        code = process.wait(PATIENCE)
                    except subprocess.TimeoutExpired:
                        hung, code = True, 1
                    after = time.monotonic() - killed
                runs += code != 0
            while code and runs < 6:
                with self.running(out) as process, suppress(subprocess.TimeoutExpired):
                    code = process.wait(PATIENCE)
                runs += code != 0
            if code:
                return Trial(target, runs, hung, 0, 0, ["the command does not end well"])
            version = next(Path(out).glob("*/1-*"))
            audit = audit_journal(Path(out) / "journal")
            faults = [*check_dataset(version), *audit.faults, *check_calls(version, audit)]
            faults += [] if content(out) == expected else ["another dataset"]
            return Trial(target, runs, hung, stats(self.urls[0])["repeated"], audit.repeated, faults, after)

    def _kill(self, process: subprocess.Popen[bytes], target: str, draw: random.Random) -> None:
        """Wait for the moment, and kill; nothing if the run has ended before."""
        asked = stats(self.urls[0])["requests"]
        place = draw.uniform(-0.1, 1.1)
        while process.poll() is None and stats(self.urls[0])["requests"] - asked < min(place, 1.0) * self.requests:
            # A second run has fewer requests left to ask than the first had.
            if place >= 0 and stats(self.urls[0])["running"] == 0 and stats(self.urls[0])["answered"] >= self.requests:
                break
            time.sleep(0.01)
        if not 0 <= place <= 1:
            time.sleep(draw.uniform(0.0, 1.0))
        while target in NAMES and process.poll() is None and not self._named(process, target):
            time.sleep(0.02)
        self.processes(process)
        if process.poll() is not None:
            return
        if target == "engine server":
            url = draw.choice(self.urls).removesuffix("/v1")
            urllib.request.urlopen(f"{url}/die?seconds={draw.uniform(0.0, 1.0)}", data=b"").close()
        elif target in NAMES:
            if pids := self._named(process, target):
                with suppress(ProcessLookupError):
                    os.kill(draw.choice(pids), signal.SIGKILL)
        else:
            process.kill()

    def _named(self, process: subprocess.Popen[bytes], target: str) -> list[int]:
        return sorted(pid for pid, line in self.processes(process).items() if NAMES[target] in line)


def _descendants(root: int) -> set[int]:
    parents = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            parents[int(path.parent.name)] = int(path.read_text().rpartition(")")[2].split()[1])
    found = {root}
    while more := {pid for pid, parent in parents.items() if parent in found} - found:
        found |= more
    return found - {root}


def _began(pid: int) -> str:
    """When a process was started, which tells it from a later one with its id."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except OSError:
        return ""


def table(trials: list[Trial]) -> str:
    """A line a target."""
    by_target = defaultdict(list)
    for trial in trials:
        by_target[trial.target].append(trial)
    lines = ["| killed | trials | same dataset, no fault | ran on | hung | asked twice: mean, most | journaled twice |"]
    lines.append("|---|---|---|---|---|---|---|")
    for target, some in by_target.items():
        good, on = sum(not t.faults for t in some), sum(t.runs == 1 for t in some)
        mean, most = sum(t.repeated for t in some) / len(some), max(t.repeated for t in some)
        twice, hung = sum(t.duplicates for t in some), sum(t.hung for t in some)
        lines.append(f"| {target} | {len(some)} | {good} | {on} | {hung} | {mean:.1f}, {most} | {twice} |")
    return "\n".join(lines)


@contextmanager
def one_ray(runner: str) -> Iterator[str]:
    """The address of a Ray for all runs that leave it whole; empty where none is needed."""
    if runner != "ray":
        yield ""
        return
    import ray

    from errata.runners.ray import connect

    connect()
    try:
        yield str(ray.get_runtime_context().gcs_address)
    finally:
        ray.shutdown()


def series(runner: str, count: int, seed: int, targets: tuple[str, ...]) -> list[Trial]:
    """`count` trials, the targets in turn."""
    options = ("--replicas", "2", "--lengths", "text", "--prefill-rate", "0", "--step-ms")
    with (
        simulator(*options, "1") as urls, simulator(*options, SLOW_MS) as slow,
        one_ray(runner) as address, tempfile.TemporaryDirectory() as folder,
    ):  # fmt: skip
        shared, alone = Trials(runner, urls, address=address), Trials(runner, slow)
        seconds = shared.whole(f"{folder}/whole")
        expected, alone.requests = content(f"{folder}/whole"), shared.requests
        if runner != "local":
            Trials("local", urls).whole(f"{folder}/local")
            if content(f"{folder}/local") != expected:
                raise SystemExit(f"{runner} makes another dataset than the local runner, without a kill")
        print(f"{runner}: an undisturbed run takes {seconds:.1f} s, {shared.requests} requests", flush=True)
        done = []
        for number in range(count):
            target = targets[number % len(targets)]
            trials = alone if target in ("raylet", "head") else shared
            done.append(trials.trial(target, random.Random(f"{seed} {runner} {number}"), expected))
            t = done[-1]
            told = "; ".join(t.faults) or "the same dataset"
            hung = ", one hung" if t.hung else ""
            said = f"{t.runs} runs{hung}, the first for {t.after:.1f} s after it, {t.repeated} asked twice, {told}"
            print(f"{number + 1}. {target}: {said}", flush=True)
    return done


def main() -> int:
    parser = argparse.ArgumentParser(description="Kill runs at random moments and compare what they make.")
    parser.add_argument("--trials", type=int, default=100)
    parser.add_argument("--runner", choices=("local", "ray", "both"), default="both")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--target", action="append", default=[], choices=sorted({t for x in TARGETS.values() for t in x})
    )
    args = parser.parse_args()
    shares = {"local": 0.6, "ray": 0.4} if args.runner == "both" else {args.runner: 1.0}
    failed = 0
    for runner, share in shares.items():
        targets = tuple(t for t in TARGETS[runner] if not args.target or t in args.target)
        done = series(runner, round(share * args.trials), args.seed, targets)
        failed += sum(bool(t.faults) for t in done)
        print(table(done), flush=True)
    print(f"{args.trials} trials, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
