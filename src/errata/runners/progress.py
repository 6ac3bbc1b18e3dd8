"""How a run gets on: what is done, what is under way, how full the engines are, and how long it will take."""

from collections import deque
from dataclasses import dataclass, fields
from typing import NamedTuple

WINDOW = 30.0
"""Seconds over which the present speed is measured."""
ENOUGH = 50
"""Episodes that have to end before what they asked is believed rather than the plan."""


class Load(NamedTuple):
    """What an engine has to do at a moment; several engines' add up."""

    running: int
    """Requests that it works on."""
    waiting: int
    """Requests that wait to be sent to it."""
    room: int
    """Requests that it is given at once, at most; 0 where it takes whatever comes."""


@dataclass
class Progress:
    """What a worker, or several together, have done so far in this run."""

    parts: int = 0
    episodes: int = 0
    """Episodes that ended."""
    calls: int = 0
    """Replies that those had, from the journal or asked for."""
    rows: int = 0
    requests: int = 0
    """Requests that engines were asked, answered or not."""
    reused: int = 0
    """Replies taken from the journal."""
    prompt_tokens: int = 0
    completion_tokens: int = 0
    corrupted: int = 0
    """Damaged lines of the journal."""
    running: int = 0
    waiting: int = 0
    room: int = 0
    cost: float = 0.0
    """By the prices that the recipe states; 0 where it states none."""

    def __add__(self, other: "Progress") -> "Progress":
        return Progress(**{f.name: getattr(self, f.name) + getattr(other, f.name) for f in fields(self)})


@dataclass(frozen=True)
class Rates:
    """What follows from how progress changed."""

    seconds: float
    tokens_per_second: float
    """Completion tokens, over the last half minute."""
    utilisation: float | None
    """Requests that the engines worked on, of those that they are given at once, on average since the first request."""
    eta: float | None
    """Seconds to the end, where the number of problems is known."""


class Meter:
    """Turns looks at the progress into rates."""

    def __init__(self, *, began: float, episodes: int | None, calls: float) -> None:
        """`episodes` are still to be run; `calls` is how many replies the plan expects for each."""
        self._began = self._last = began
        self._episodes, self._calls = episodes, calls
        self._looks: deque[tuple[float, int]] = deque([(began, 0)])
        self._used = self._had = 0.0

    def read(self, now: float, progress: Progress) -> Rates:
        """The rates at `now`, in the seconds of one steady clock."""
        if progress.room and progress.requests:
            self._used += (now - self._last) * progress.running
            self._had += (now - self._last) * max(progress.room, progress.running)
        self._last = now
        self._looks.append((now, progress.completion_tokens))
        while len(self._looks) > 2 and self._looks[1][0] <= now - WINDOW:
            self._looks.popleft()
        then, tokens = self._looks[0]
        return Rates(
            seconds=now - self._began,
            tokens_per_second=(progress.completion_tokens - tokens) / max(0.001, now - then),
            utilisation=self._used / self._had if self._had else None,
            eta=self._left(now, progress),
        )

    def _left(self, now: float, progress: Progress) -> float | None:
        """By requests and not by episodes, all of which are under way at once and end late.

        What the journal gives takes no time, and is left out of the speed.
        """
        asked = progress.requests - progress.running - progress.waiting
        if self._episodes is None or asked <= 0:
            return None
        # Episodes that ask little end first, so that the plan's figure counts until many have ended.
        each = (progress.calls + ENOUGH * self._calls) / (progress.episodes + ENOUGH)
        under_way = float(progress.running + progress.waiting)
        left = max(under_way, each * self._episodes - asked - progress.reused)
        if progress.episodes >= self._episodes:
            left = under_way
        return left * (now - self._began) / asked
