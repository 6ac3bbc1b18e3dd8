"""A gate before a shared server whose width follows what the server bears.

The limit doubles a round at first, then grows by a thirty-second of its maximum a round while requests queue; when the
server says that it is too much, the limit is halved, once for all requests that were under way. A `Retry-After` closes
the gate for everybody.
"""

import asyncio
from collections import deque


class Admission:
    """Slots for requests in flight; `enter` waits for one and `leave` hands it on, first come, first served."""

    def __init__(self, *, most: int, start: int = 32) -> None:
        self.most = most
        self.limit = float(min(most, start))
        self.busy = 0
        self._epoch = 0
        self._opens_at = 0.0
        self._waiting: deque[asyncio.Future[None]] = deque()

    async def enter(self, *, ahead: bool = False) -> int:
        """Wait for a slot, `ahead` of those who never had one; the number returned is for `cut`."""
        if self._waiting or self.busy >= int(self.limit):
            await self._queue(ahead)
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
        if self._waiting and self.limit < self.most:
            step = self.most / 32 / self.limit if self._epoch else 1.0
            self.limit = min(float(self.most), self.limit + step)

    def cut(self, epoch: int) -> None:
        """A request that entered at `epoch` met an overloaded server: halve the limit, unless that was done since."""
        if epoch == self._epoch:
            self._epoch += 1
            self.limit = max(1.0, self.limit / 2)

    def pause(self, seconds: float) -> None:
        """Let nobody in for so long."""
        self._opens_at = max(self._opens_at, asyncio.get_running_loop().time() + seconds)

    async def _queue(self, ahead: bool) -> None:
        place: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        (self._waiting.appendleft if ahead else self._waiting.append)(place)
        self._admit()
        try:
            await place
        except asyncio.CancelledError:
            if place.done() and not place.cancelled():
                self.leave()
            raise

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
            place = self._waiting.popleft()
            if not place.done():
                self.busy += 1
                place.set_result(None)
