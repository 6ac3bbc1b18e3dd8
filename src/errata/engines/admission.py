"""A gate before a shared server whose width follows what the server bears.

It starts at 256, the batch of a usual server: what is refused is asked again, whereas a slot left empty is lost. The
limit doubles a round at first, then grows by a thirty-second of its maximum a round while requests queue; when the
server says that it is too much, the limit is halved, once for all requests that were under way. A `Retry-After` closes
the gate for everybody. A server that tells the length of its own queue is kept at a short one instead.

Those who wait are let in by urgency, but nobody is passed without end: each unit of it is worth a lead of 32 batches
over those who came before, and no more.
"""

import asyncio
from heapq import heappop, heappush


class TurnedAway(Exception):
    """Who waited at a gate shall try another."""


LEAD = 32
"""Batches of earlier requests that one of urgency 1 passes where these have 0."""


class Admission:
    """Slots for requests in flight; `enter` waits for one and `leave` hands it on, by urgency and first come."""

    def __init__(self, *, most: int, start: int = 256) -> None:
        self.most = most
        self.limit = float(min(most, start))
        self.busy = 0
        self.guided = False
        """Whether the server tells its queue, which then sets the limit."""
        self._epoch = 0
        self._opens_at = 0.0
        self._lead = LEAD * most
        self._came = 0
        # A heap by the number of arrival, less the lead that urgency gives; then by that number itself.
        self._waiting: list[tuple[float, int, asyncio.Future[bool]]] = []

    @property
    def waiting(self) -> int:
        """How many wait; some of them may have given up since."""
        return len(self._waiting)

    @property
    def room(self) -> int:
        """Slots that nobody has."""
        return max(0, int(self.limit) - self.busy)

    async def enter(self, *, urgency: float = 0.0, ahead: bool = False) -> int:
        """Wait for a slot, `ahead` of those who never had one; the number returned is for `cut`.

        Raises TurnedAway where `turn_away` chose this one.
        """
        if self._waiting or self.busy >= int(self.limit):
            await self._queue(float("inf") if ahead else urgency)
        else:
            self.busy += 1
        if self._opens_at:
            await self._until_open()
        return self._epoch

    def leave(self) -> None:
        """Give a slot back. Whoever entered must leave, whatever happened."""
        self.busy -= 1
        self._admit()

    def grow(self) -> None:
        """A request went well: widen the gate if others wait."""
        if self._waiting and self.limit < self.most and not self.guided:
            step = self.most / 32 / self.limit if self._epoch else 1.0
            self.limit = min(float(self.most), self.limit + step)

    def cut(self, epoch: int) -> None:
        """A request that entered at `epoch` met an overloaded server: halve the limit, unless that was done since."""
        if epoch == self._epoch:
            self._epoch += 1
            self.limit = max(min(1.0, self.most), self.limit / 2)

    def shut(self) -> None:
        """Let nobody in any more: those who wait go on waiting, those inside finish."""
        self.most, self.limit = 0, 0.0

    def pause(self, seconds: float) -> None:
        """Let nobody in for so long."""
        self._opens_at = max(self._opens_at, asyncio.get_running_loop().time() + seconds)

    def queued(self, running: int, waiting: int) -> None:
        """The server has so many requests in its batch and so many behind them: keep a sixteenth of a batch behind it.

        So a slot that falls free is filled from the server's own queue, and not after a journey to us. Others may use
        the server too: their queue alone does not bring the limit below an eighth of its maximum.
        """
        self.guided = True
        reserve = 2 + running // 16
        if waiting > reserve:
            lowest = max(1.0, self.most / 8)
            self.limit = min(self.limit, max(lowest, min(self.limit, self.busy) - (waiting - reserve)))
        elif not waiting and self._waiting:
            self.limit = min(float(self.most), self.limit + max(reserve, self.limit / 4))
            self._admit()

    def turn_away(self, most: int | None = None) -> None:
        """Send those who wait to another gate: all, or the first `most`."""
        left = len(self._waiting) if most is None else most
        while left > 0 and self._waiting:
            place = heappop(self._waiting)[2]
            if not place.done():
                place.set_result(False)
                left -= 1

    async def _queue(self, urgency: float) -> None:
        place: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._came += 1
        heappush(self._waiting, (self._came - urgency * self._lead, self._came, place))
        self._admit()
        try:
            admitted = await place
        except asyncio.CancelledError:
            if place.done() and not place.cancelled() and place.result():
                self.leave()
            raise
        if not admitted:
            raise TurnedAway

    async def _until_open(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            seconds = self._opens_at - loop.time()
            while seconds > 0:
                await asyncio.sleep(seconds)
                seconds = self._opens_at - loop.time()  # somebody may have been told to wait longer meanwhile
        except asyncio.CancelledError:
            self.leave()
            raise

    def _admit(self) -> None:
        while self._waiting and self.busy < int(self.limit):
            place = heappop(self._waiting)[2]
            if not place.done():
                self.busy += 1
                place.set_result(True)
