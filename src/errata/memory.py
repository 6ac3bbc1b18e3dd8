"""Memory that is free but not given back: allocators keep it in pieces, and what comes next takes more."""

import ctypes
from contextlib import suppress


def give_back() -> None:
    """Return free memory to the system, after work whose memory the next work cannot use."""
    with suppress(OSError, AttributeError):  # glibc alone has it
        ctypes.CDLL(None).malloc_trim(0)
