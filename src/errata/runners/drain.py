"""SIGTERM, as a preempted node gets it: ask nothing more, let what engines are at finish, and stop in time.

A second SIGTERM, or Ctrl-C, does not wait.
"""

import asyncio
import signal
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any, Protocol

from errata.errors import Terminated

GRACE = 25.0
"""Seconds; less than the 30 that batch systems leave between SIGTERM and SIGKILL."""
_LOOK_SECONDS = 0.1


class Drainable(Protocol):
    """Work that can be brought to rest."""

    async def drain(self) -> None:
        """Begin nothing more."""
        ...

    async def busy(self) -> int:
        """Requests that engines still work on, or whose replies are on their way to the journal."""
        ...


async def drained(work: Awaitable[Any], of: Drainable, grace: float) -> None:
    """Await `work`. After SIGTERM: drain, wait until nothing is busy or `grace` seconds passed, cancel, and raise
    Terminated."""
    task = asyncio.ensure_future(work)
    told, hurry = asyncio.Event(), asyncio.Event()
    waiting = asyncio.create_task(told.wait())
    try:
        with _on_sigterm(lambda: (hurry if told.is_set() else told).set()):
            await asyncio.wait({task, waiting}, return_when=asyncio.FIRST_COMPLETED)
            if not task.done():
                left = await _rest(task, of, grace, hurry)
                if not task.done():
                    given_up = f"{left} under way given up" if left else "those under way were finished"
                    raise Terminated(f"terminated; no more requests were sent, {given_up}")
        await task
    finally:
        waiting.cancel()
        if not task.done():
            task.cancel()
            await asyncio.wait({task})


async def _rest(task: "asyncio.Future[Any]", of: Drainable, grace: float, hurry: asyncio.Event) -> int:
    """Requests that were still under way when the wait ended."""
    loop = asyncio.get_running_loop()
    ends = loop.time() + grace
    await of.drain()
    while (left := await of.busy()) and not task.done() and not hurry.is_set() and loop.time() < ends:
        await asyncio.wait({task}, timeout=_LOOK_SECONDS)
    return left


@contextmanager
def _on_sigterm(act: Callable[[], None]) -> Iterator[None]:
    """Call `act` on SIGTERM, where this thread is the one that is told of signals."""
    loop = asyncio.get_running_loop()
    before = signal.getsignal(signal.SIGTERM)
    try:
        loop.add_signal_handler(signal.SIGTERM, act)
    except (RuntimeError, ValueError, NotImplementedError):
        yield
        return
    try:
        yield
    finally:
        loop.remove_signal_handler(signal.SIGTERM)
        if before is not None:
            signal.signal(signal.SIGTERM, before)
