"""What a server's failures mean: which are worth another try, how long to wait, and what the drop is called.

Everything here is a pure function of an answer that has arrived; the waiting is done by the engine.
"""

import json
import random
import re
import time
from collections.abc import Mapping
from email.utils import parsedate_to_datetime

from errata.errors import EngineError

LONGEST_WAIT = 30.0
"""Seconds: the ceiling of the exponential back-off."""

_TOO_LONG = re.compile(
    r"context[ _](length|window|size)|maximum (context|model) length|max_model_len|too (long|many tokens)"
    r"|maximum (number of|input) tokens|longer than the maximum",
    re.IGNORECASE,
)


class Fault(Exception):
    """A try that failed and may be worth another; it never leaves the engine."""

    def __init__(
        self, reason: str, code: str, message: str, *, pause: float | None = None, overload: bool = False
    ) -> None:
        super().__init__(message)
        self.reason = reason
        """Name in the engine's counters, e.g. `http_503`."""
        self.code = code
        """Code of the EngineError once no try is left, e.g. `engine_5xx`."""
        self.pause = pause
        """Seconds for which the server asked to be left alone."""
        self.overload = overload
        """Whether fewer requests at a time would have helped."""

    @property
    def counts(self) -> bool:
        """Whether it uses up a try. Being asked to come later does not: only the deadline bounds that."""
        return self.reason != "http_429" and self.pause is None


def back_off(failures: int, first: float) -> float:
    """Seconds to wait after so many failures in a row: doubled each time, and jittered so that clients spread out."""
    return float(min(LONGEST_WAIT, first * 2.0 ** min(failures - 1, 30)) * random.uniform(0.5, 1.0))


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds asked for by `Retry-After`, a number or an HTTP date; None where it is absent or unreadable.

    A date is read against the server's own `Date`, so that its clock need not agree with ours.
    """
    wanted = headers.get("Retry-After", "").strip()
    if re.fullmatch(r"\d{1,9}(\.\d{1,9})?", wanted):
        return float(wanted)
    try:
        until = parsedate_to_datetime(wanted).timestamp()
    except (ValueError, TypeError, OverflowError):
        return None
    try:
        now = parsedate_to_datetime(headers.get("Date", "")).timestamp()
    except (ValueError, TypeError, OverflowError):
        now = time.time()
    return max(0.0, until - now)


def said(content: bytes) -> tuple[str, str]:
    """The message and the code of an error's body: one printable line of at most 300 characters, and a word or ''."""
    text, code = content[:20_000].decode("utf-8", "replace"), ""
    try:
        error = json.loads(text)
        error = error.get("error", error) if isinstance(error, dict) else error
        if isinstance(error, dict):
            text, code = str(error.get("message", text)), str(error.get("code") or error.get("type") or "")
        elif isinstance(error, str):
            text = error
    except (ValueError, RecursionError):
        pass
    line = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return line[:300], code


def refused(status: int, headers: Mapping[str, str], message: str) -> Fault | EngineError:
    """What an answer other than 200 means for its one request; statuses that stop the run are the engine's to know."""
    told = f"the server answered {status}: {message}"
    if status in (408, 409, 425, 429) or status >= 500:
        code = {408: "deadline", 409: "conflict", 425: "conflict", 429: "rate_limited"}.get(status, "engine_5xx")
        return Fault(f"http_{status}", code, told, pause=retry_after(headers), overload=status in (429, 503))
    if status == 413 or (400 <= status < 500 and _TOO_LONG.search(message)):
        return EngineError("too_long", told)
    if 400 <= status < 500:
        return EngineError("bad_request", told)
    return Fault("bad_envelope", "bad_envelope", told)
