"""Memory that is free but not given back: allocators keep it in pieces, and what comes next takes more."""

import ctypes
import os
from contextlib import suppress

_POOL = "ARROW_DEFAULT_MEMORY_POOL"


def give_back() -> None:
    """Return free memory to the system, after work whose memory the next work cannot use."""
    with suppress(OSError, AttributeError):  # glibc alone has it
        ctypes.CDLL(None).malloc_trim(0)


def pool() -> dict[str, str]:
    """The variable by which Arrow, once it is imported, takes memory from the system, unless it names another pool.

    Arrow's own pool keeps what it frees: a sixth of a long run's memory.
    """
    return {_POOL: os.environ.get(_POOL, "system")}
