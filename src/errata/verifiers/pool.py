"""Worker processes for the verifiers that compute, each call with a deadline, so that nothing blocks the event loop.

A worker is `python -m errata.verifiers.pool`. It reads calls and writes judgements on its pipes, each one JSON text
after its length in four bytes, big-endian. The deadline runs in the worker, on a timer whose signal ends the process,
so a busy event loop never turns an answer into a time-out; the pool itself kills a worker only where that failed. What
outlives its deadline, dies, raises or answers nonsense is unknown, never a fail, and its process is replaced.
"""

import asyncio
import json
import math
import os
import signal
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from types import FunctionType
from typing import Any, BinaryIO, Protocol

import msgspec

from errata.errors import ErrataError
from errata.records.types import Check, Problem
from errata.registry import PACKAGES, Component, find
from errata.verifiers.base import Judgement
from errata.verifiers.judgements import unknown

ENVIRONMENT = (
    *("PATH", "HOME", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "TMPDIR"),
    *("PYTHONPATH", "VIRTUAL_ENV", "LD_LIBRARY_PATH"),
)
"""All that a worker inherits: a verifier has no business with keys."""

LARGEST = 1 << 20
"""Bytes of the largest judgement that is read."""

START_LIMIT = 120.0
"""Seconds in which a worker must have started and loaded a verifier; imports are slow on a busy machine."""

GRACE = 10.0
"""Seconds past the deadline after which the pool kills a worker whose own timer did not."""


async def verify(
    component: Component, problem: Problem, text: str, options: Mapping[str, Any], pool: "Pool"
) -> Judgement:
    """Judge `text` by any verifier: here if it is inline, in the pool if it is not. What it raises is unknown."""
    if component.inline:
        return _run(component, problem, text, options)
    name, folder = _address(component)
    return await pool.judge(name, folder, problem, text, options)


def _address(component: Component) -> tuple[str, Path | None]:
    """What `registry.find` needs to load the component in another process."""
    function = component.make
    if function.__module__.startswith(f"{PACKAGES['verifier']}.") or not isinstance(function, FunctionType):
        return component.name, None
    file = Path(function.__code__.co_filename).absolute()
    return f"{file.name}:{function.__name__}", file.parent


def _run(component: Component, problem: Problem, text: str, options: Mapping[str, Any]) -> Judgement:
    """Call a verifier; what it raises, and what is no judgement, is unknown."""
    try:
        return _checked(component.make(problem, text, **options))
    except ErrataError:
        raise
    except Exception as error:
        return unknown(f"{component.name} raised {type(error).__name__}: {str(error)[:500]}")


def _checked(found: Any) -> Judgement:
    """`found` if it is a judgement that can be stored."""
    if not isinstance(found, Judgement):
        raise TypeError(f"a verifier returns a Judgement, not {type(found).__name__}")
    if found.outcome not in ("pass", "fail", "unknown") or not isinstance(found.evidence, str):
        raise ValueError(f"no outcome is called {found.outcome!r}: there are pass, fail and unknown")
    if found.score is not None and not (math.isfinite(found.score) and 0 <= found.score <= 1):
        raise ValueError(f"a score lies in 0..1, not at {found.score}")
    return found


class Judges(Protocol):
    """What runs the verifiers that are not cheap enough for the event loop: a `Pool`, or a test's own."""

    async def judge(
        self, component_name: str, folder: Path | None, problem: Problem, text: str, options: Mapping[str, Any]
    ) -> Judgement:
        """What the verifier says; unknown where it could not be asked."""
        ...

    async def close(self) -> None:
        """Free what was started."""
        ...


class _Lost(Exception):
    """A worker that can answer no more, and why."""


class _Worker:
    """One process and its pipes. It serves one call at a time; after `_Lost` it must be closed."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        if process.stdin is None or process.stdout is None:
            raise ValueError("a worker needs both pipes")
        self._process, self._stdin, self._stdout = process, process.stdin, process.stdout
        self._loaded: set[tuple[str, str]] = set()

    @classmethod
    async def start(cls) -> "_Worker":
        environment = {k: os.environ[k] for k in ENVIRONMENT if k in os.environ}
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-P",  # the folder that the user works in must not shadow modules
            "-m",
            "errata.verifiers.pool",
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
            env={**environment, "PYTHONHASHSEED": "0"},
            start_new_session=True,  # Ctrl-C is for the run, which closes its pool
        )
        return cls(process)

    async def call(self, name: str, folder: str, arguments: dict[str, Any], deadline: float) -> Judgement:
        """One judgement. Raises `_Lost` where the process did not answer."""
        if (name, folder) not in self._loaded:
            await self._exchange({"load": name, "folder": folder, "deadline": START_LIMIT}, START_LIMIT)
            self._loaded.add((name, folder))
        return await self._exchange({"call": name, "folder": folder, "deadline": deadline, **arguments}, deadline)

    async def _exchange(self, message: dict[str, Any], deadline: float) -> Judgement:
        frame = _frame(message)
        try:
            async with asyncio.timeout(deadline + GRACE):
                self._stdin.write(frame)
                await self._stdin.drain()
                size = int.from_bytes(await self._stdout.readexactly(4), "big")
                if size > LARGEST:
                    raise _Lost(f"its judgement of {size} bytes is larger than {LARGEST}")
                return _judgement(json.loads(await self._stdout.readexactly(size)))
        except (asyncio.IncompleteReadError, ConnectionError):
            raise _Lost(await self._death(deadline)) from None
        except TimeoutError:
            raise _Lost(f"timed out after {deadline:g} s") from None
        except (ValueError, TypeError, KeyError, RecursionError) as error:
            raise _Lost(f"its judgement cannot be read: {type(error).__name__}: {str(error)[:200]}") from None

    async def _death(self, deadline: float) -> str:
        with suppress(TimeoutError):
            async with asyncio.timeout(GRACE):
                await self._process.wait()
        code = self._process.returncode
        if code == -signal.SIGALRM:
            return f"timed out after {deadline:g} s"
        if code is not None and code < 0:
            return f"its process died of {signal.Signals(-code).name}"
        return f"its process ended with status {code}"

    def kill(self) -> None:
        """End the process and whatever it started; a call under way is lost."""
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)

    async def close(self) -> None:
        """Kill it and wait until it is gone; no call may be under way."""
        self.kill()
        self._stdin.close()
        with suppress(TimeoutError):
            async with asyncio.timeout(GRACE):
                while await self._stdout.read(1 << 16):  # its pipe must end, or its transport outlives the loop
                    pass
                await self._process.wait()


class Pool:
    """Runs verifiers in `workers` processes, started when first needed, with `deadline` seconds a call.

    It belongs to the event loop that first uses it, and must be closed there.
    """

    def __init__(self, workers: int = 1, deadline: float = 5.0) -> None:
        if workers < 1 or not deadline > 0:
            raise ValueError(f"a pool has at least one worker and a positive deadline, not {workers} and {deadline}")
        self._workers, self._deadline = workers, deadline
        self._slots = asyncio.Semaphore(workers)
        self._idle: list[_Worker] = []
        self._busy: set[_Worker] = set()
        self._closed = False

    async def judge(
        self, component_name: str, folder: Path | None, problem: Problem, text: str, options: Mapping[str, Any]
    ) -> Judgement:
        """What the verifier says; unknown, with the reason, where its process is late or lost.

        `component_name` is as in a recipe, and `folder` the recipe's own. Waiting for a free worker does not count.
        """
        arguments = {"problem": msgspec.to_builtins(problem), "text": text, "options": dict(options)}
        async with self._slots:
            if self._closed:
                raise RuntimeError("the pool of verifiers is closed")
            worker = self._idle.pop() if self._idle else await _Worker.start()
            self._busy.add(worker)
            whole = False
            try:
                judgement = await worker.call(component_name, str(folder or ""), arguments, self._deadline)
                whole = True
                return judgement
            except _Lost as lost:
                return unknown(f"{component_name}: {lost}")
            finally:
                self._busy.discard(worker)
                if whole and not self._closed:
                    self._idle.append(worker)
                else:  # a call that was cancelled leaves an answer in the pipe
                    await asyncio.shield(worker.close())

    async def close(self) -> None:
        """End all processes; calls under way become unknown."""
        self._closed = True
        for worker in self._busy:
            worker.kill()
        for _ in range(self._workers):  # every call has ended when all slots are free
            await self._slots.acquire()
        for _ in range(self._workers):
            self._slots.release()
        idle, self._idle = self._idle, []
        await asyncio.gather(*(w.close() for w in idle))


def _frame(message: Any) -> bytes:
    body = json.dumps(message, allow_nan=False).encode("ascii")
    return len(body).to_bytes(4, "big") + body


def _judgement(data: Any) -> Judgement:
    """A judgement from plain JSON; raises ValueError, TypeError or KeyError for anything else.

    What a user must mend, e.g. a package that is not installed, is raised as in the worker.
    """
    if "error" in data:
        raise ErrataError(data["error"])
    checks = tuple(Check(name=c["name"], outcome=c["outcome"], detail=c["detail"]) for c in data["checks"])
    return _checked(Judgement(outcome=data["outcome"], score=data["score"], checks=checks, evidence=data["evidence"]))


def _problem(data: dict[str, Any]) -> Problem:
    return msgspec.convert(data, Problem)


def serve() -> None:
    """The worker: answer calls until the pipe closes."""
    calls = os.fdopen(os.dup(0), "rb")
    answers = os.fdopen(os.dup(1), "wb")
    with open(os.devnull, "r+b", buffering=0) as nothing:  # a verifier that reads or prints must not touch the pipes
        os.dup2(nothing.fileno(), 0)
        os.dup2(nothing.fileno(), 1)
    with suppress(OSError), open("/proc/self/oom_score_adj", "w") as score:
        score.write("1000")  # where memory runs out, this process is the one to lose
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    known: dict[tuple[str, str], Component] = {}
    while message := _read(calls):
        signal.setitimer(signal.ITIMER_REAL, message["deadline"])
        try:
            body = _frame(msgspec.to_builtins(_answer(message, known)))
        except ErrataError as error:
            body = _frame({"error": str(error)})
        signal.setitimer(signal.ITIMER_REAL, 0)
        answers.write(body)
        answers.flush()


def _read(calls: BinaryIO) -> dict[str, Any] | None:
    head = calls.read(4)
    if len(head) < 4:
        return None
    return dict(json.loads(calls.read(int.from_bytes(head, "big"))))


def _answer(message: dict[str, Any], known: dict[tuple[str, str], Component]) -> Judgement:
    key = (message.get("load") or message["call"], message["folder"])
    try:
        if key not in known:
            known[key] = find("verifier", key[0], Path(key[1]) if key[1] else None)
            warm_up = known[key].make.__globals__.get("warm_up")  # a module's own way to import what it needs late
            if callable(warm_up):
                warm_up()
        if "load" in message:
            return unknown("loaded")
        return _run(known[key], _problem(message["problem"]), message["text"], message["options"])
    except ErrataError:
        raise
    except Exception as error:
        return unknown(f"{key[0]} raised {type(error).__name__}: {str(error)[:500]}")


if __name__ == "__main__":
    serve()
