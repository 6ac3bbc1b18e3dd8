"""Processes that answer calls on their pipes: verifiers and worlds run in such, so that nothing blocks the event loop.

A call and its answer are each one JSON text after its length in four bytes, big-endian. The deadline runs in the
process itself, on a timer whose signal ends it, so a busy event loop never turns an answer into a time-out; the caller
kills it only where that failed. A process serves one call at a time, and after `Lost` it can only be closed.
"""

import asyncio
import json
import os
import signal
import sys
from contextlib import suppress
from typing import Any, BinaryIO, Literal

ENVIRONMENT = (
    *("PATH", "HOME", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "TMPDIR"),
    *("PYTHONPATH", "VIRTUAL_ENV", "LD_LIBRARY_PATH"),
)
"""All that a process inherits: what is computed has no business with keys."""

LARGEST = 1 << 20
"""Bytes of the largest answer that is read."""

START_LIMIT = 120.0
"""Seconds in which a process must have started and loaded a component; imports are slow on a busy machine."""

GRACE = 10.0
"""Seconds past the deadline after which the caller kills a process whose own timer did not."""

Fault = Literal["hung", "died", "flood", "nonsense"]


class Lost(Exception):
    """A process that can answer no more, and why."""

    def __init__(self, fault: Fault, why: str) -> None:
        self.fault: Fault = fault
        super().__init__(why)


class Process:
    """One process and its pipes."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        if process.stdin is None or process.stdout is None:
            raise ValueError("a process that answers calls needs both pipes")
        self._process, self._stdin, self._stdout = process, process.stdin, process.stdout

    @classmethod
    async def start(cls, module: str, *arguments: str) -> "Process":
        """`python -m module arguments...`, which must call `opened` and then read and answer."""
        environment = {k: os.environ[k] for k in ENVIRONMENT if k in os.environ}
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-P",  # the folder that the user works in must not shadow modules
            "-m",
            module,
            *arguments,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
            env={**environment, "PYTHONHASHSEED": "0"},
            start_new_session=True,  # Ctrl-C is for the run, which closes its processes
        )
        return cls(process)

    async def exchange(self, message: dict[str, Any], deadline: float, calls: int = 1) -> Any:
        """The answer to a message, as plain JSON values. Raises `Lost` where there is none.

        The process is told the `deadline` in seconds; where it has so many for each of several `calls` that the
        message stands for, the answer may be as many times larger.
        """
        call = frame({**message, "deadline": deadline})
        try:
            async with asyncio.timeout(deadline * calls + GRACE):
                self._stdin.write(call)
                await self._stdin.drain()
                size = int.from_bytes(await self._stdout.readexactly(4), "big")
                if size > LARGEST * calls:
                    raise Lost("flood", f"its answer of {size} bytes is larger than {LARGEST * calls}")
                return json.loads(await self._stdout.readexactly(size))
        except (asyncio.IncompleteReadError, ConnectionError):
            raise await self._death(deadline) from None
        except TimeoutError:
            raise Lost("hung", f"timed out after {deadline:g} s") from None
        except (ValueError, RecursionError) as error:
            raise unreadable(error) from None

    async def _death(self, deadline: float) -> Lost:
        with suppress(TimeoutError):
            async with asyncio.timeout(GRACE):
                await self._process.wait()
        code = self._process.returncode
        if code == -signal.SIGALRM:
            return Lost("hung", f"timed out after {deadline:g} s")
        if code is not None and code < 0:
            return Lost("died", f"its process died of {signal.Signals(-code).name}")
        return Lost("died", f"its process ended with status {code}")

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


def unreadable(error: Exception) -> Lost:
    """What an answer that cannot be understood means."""
    return Lost("nonsense", f"its answer cannot be read: {type(error).__name__}: {str(error)[:200]}")


def frame(message: Any) -> bytes:
    """A message as it goes through a pipe."""
    body = json.dumps(message, allow_nan=False).encode("ascii")
    return len(body).to_bytes(4, "big") + body


def opened() -> tuple[BinaryIO, BinaryIO]:
    """In the process: where calls come from and answers go to; what it reads or prints otherwise does not touch them.

    Where memory runs out, this process is the one to lose.
    """
    calls = os.fdopen(os.dup(0), "rb")
    answers = os.fdopen(os.dup(1), "wb")
    with open(os.devnull, "r+b", buffering=0) as nothing:
        os.dup2(nothing.fileno(), 0)
        os.dup2(nothing.fileno(), 1)
    with suppress(OSError), open("/proc/self/oom_score_adj", "w") as score:
        score.write("1000")
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    return calls, answers


def due(seconds: float) -> None:
    """In the process: end it unless this is called again within so many seconds; 0 for never."""
    signal.setitimer(signal.ITIMER_REAL, seconds)


def read(calls: BinaryIO) -> dict[str, Any] | None:
    """In the process: the next call; None where no more will come."""
    head = calls.read(4)
    if len(head) < 4:
        return None
    return dict(json.loads(calls.read(int.from_bytes(head, "big"))))
