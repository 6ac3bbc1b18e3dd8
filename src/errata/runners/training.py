"""One training of a student: a command of the recipe, its log, and the model that it leaves, whole or not at all.

The command writes into a folder that no reader looks for, which is renamed once an engine could open it. A training
that is named alike (same command, datasets, starting model and seed) is therefore never run twice.
"""

import hashlib
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

import msgspec

from errata.errors import ErrataError, StoreError, Terminated, TrainingError
from errata.recipe import iteration
from errata.records.ids import digest
from errata.records.rounds import Training
from errata.store.files import Files, read_sealed, scratch, sealed, sweep

_CONFIGURED = (".py", ".sh", ".yaml", ".yml", ".json", ".toml")
"""Ends of the names of files whose content is part of a training, where the command names them."""
_TAIL = 64 << 10
_TOLD = 3
_GRACE = 10.0
"""Seconds between the two ways of telling the command to end."""


@dataclass(frozen=True, kw_only=True)
class Task:
    """What is to be trained, on what, from what."""

    name: str
    """What its folder begins with."""
    command: str
    datasets: Sequence[tuple[str, str]]
    """Path and identity of each dataset version."""
    config: str
    model: str
    """Folder, or name on the hub, of the model that training starts from."""
    start: str
    """That model's digest or commit."""
    round: int
    seed: int
    revision: Callable[[Path], str]
    """The digest that the student's engine gives to a folder; raises ErrataError for one that it cannot run."""

    @property
    def folder(self) -> str:
        """Name of the model's folder, over everything that can change what is trained."""
        named = {
            part: hashlib.sha256(Path(part).read_bytes()).hexdigest()
            for part in self.arguments("")
            if part.endswith(_CONFIGURED) and Path(part).is_file()
        }
        found = digest(
            command=self.command, datasets=[d for _, d in self.datasets], config=self.config, start=self.start,
            round=self.round, seed=self.seed, files=named,
        )  # fmt: skip
        return f"{self.name}-{self.round}-{found[:12]}"

    def arguments(self, out: str) -> list[str]:
        """The command with its placeholders filled in."""
        values = {
            "config": self.config, "model": self.model, "out": out, "round": self.round, "seed": self.seed,
            "python": sys.executable,
        }  # fmt: skip
        return iteration.arguments(self.command, datasets=[p for p, _ in self.datasets], values=values)


def finished(task: Task, models: Path) -> Training | None:
    """The account of the training, if it was done before. Raises StoreError where its model is not what it wrote."""
    folder = models / task.folder
    if not folder.is_dir():
        return None
    done = msgspec.convert(read_sealed(_account(folder)), Training)
    if task.revision(folder) != done.revision:
        raise StoreError(f"{folder} is not the model that was trained: remove it, and the same command trains it anew")
    return done


def train(task: Task, models: Path, files: Files) -> Training:
    """Run the training, unless it was done before; its model is then `models`/`task.folder`.

    Raises TrainingError with the end of the command's log, `models`/`task.folder`.log, if it fails or leaves no model.
    """
    if done := finished(task, models):
        return done
    files.settle(models)
    sweep(models, "")
    folder = models / task.folder
    log = folder.with_name(f"{folder.name}.log")
    made = scratch(folder)
    files.mkdir(made)
    began = time.monotonic()
    code = _run(task.arguments(str(made)), log)
    if code:
        how = f"ended with {code}" if code > 0 else f"was ended by {signal.Signals(-code).name}"
        raise TrainingError(f"the training of round {task.round} {how}: {_last_words(log)}")
    done = Training(
        name=folder.name, command=task.command, start=task.start, revision=_revision(task, made, log), exit=code,
        seconds=round(time.monotonic() - began, 1), metrics=_metrics(log),
    )  # fmt: skip
    for path in (p for p in made.rglob("*") if p.is_file()):
        with path.open("rb") as file:
            os.fsync(file.fileno())
    files.sync_tree(made)
    files.replace(_account(folder), sealed(msgspec.to_builtins(done)))
    if not files.claim(made, folder):
        raise StoreError(f"{folder} appeared while its model was trained: run the same command again")
    return done


def _account(folder: Path) -> Path:
    return folder.with_name(f"{folder.name}.json")


def _revision(task: Task, made: Path, log: Path) -> str:
    try:
        return task.revision(made)
    except ErrataError as error:
        raise TrainingError(
            f"the training of round {task.round} ended well and left no model in {{out}} that can be run: {error}; "
            f"its log is {log}"
        ) from error


def _run(arguments: list[str], log: Path) -> int:
    """The command's exit code; what it prints goes to `log`. It does not outlive this process."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-c", _TIED, str(os.getpid()), *arguments],
            stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT,
        )  # fmt: skip
        with _terminated():
            try:
                return process.wait()
            except BaseException:
                process.terminate()
                try:
                    process.wait(_GRACE)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()
                raise


_TIED = """
import ctypes, os, signal, sys
if sys.platform == "linux":
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)
    if os.getppid() != int(sys.argv[1]):
        sys.exit("errata ended before its training command began")
try:
    os.execvp(sys.argv[2], sys.argv[2:])
except OSError as error:
    sys.exit(f"cannot start {sys.argv[2]}: {error.strerror}")
"""
"""Becomes the command, which the kernel kills with its parent: an orphan would go on to write what nobody reads, on the
GPU that the resumed run wants. Elsewhere than on Linux it is an orphan."""


@contextmanager
def _terminated() -> Iterator[None]:
    """SIGTERM as an exception, where this thread is the one that is told of signals."""

    def told(_: int, __: FrameType | None) -> NoReturn:
        raise Terminated("terminated while the training command ran; its unfinished model is given up")

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, told)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _tail(log: Path) -> list[str]:
    """The last lines of a log, without empty ones and what progress bars wrote over."""
    with log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - _TAIL))
        text = file.read().decode("utf-8", "replace")
    lines = (re.split(r"\r", line)[-1].strip() for line in text.split("\n"))
    return [line for line in lines if line]


def _last_words(log: Path) -> str:
    said = " | ".join(_tail(log)[-_TOLD:])
    return f"{said}; its log is {log}" if said else f"it said nothing; its log is {log}"


def _metrics(log: Path) -> dict[str, Any]:
    """The last line that is a JSON object, its numbers finite."""
    for line in reversed(_tail(log)):
        if line.startswith("{"):
            try:
                found = json.loads(line, parse_constant=str)
            except ValueError:
                continue
            if isinstance(found, dict):
                return found
    return {}
