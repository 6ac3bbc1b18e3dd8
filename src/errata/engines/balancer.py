"""Several servers of one model as one: which takes a request, which are down, and who tries them again.

A server is lost when it refuses a connection, when it asks to be left alone, or after three failures in a row. After a
back-off that doubles up to 30 seconds one request is sent to it, and no second one before the first has ended; once it
has answered it is in service. While all are down, each request tries them in turn, at its own back-off.

With a single server all of this is idle: its failures are the requests' own to bear.
"""

import asyncio
from collections.abc import Sequence

from errata.engines.base import Request
from errata.engines.retry import Fault, back_off
from errata.engines.router import Router
from errata.engines.server import Server

_STRIKES = 3
_ILL = frozenset({"reset", "timeout", "bad_envelope", "http_500", "http_502", "http_504"})
"""Failures that a request may have to itself, and that in a row speak of the server."""
_BROKEN = frozenset({"connect", "reset"})
"""Failures after which another server is asked at once."""


class Balancer:
    """The servers of one engine. Every server picked must be `left` again, once, whatever became of the request."""

    def __init__(self, servers: Sequence[Server], *, concurrency: int, backoff: float) -> None:
        self.servers = servers
        self._router = Router(len(servers), capacity=concurrency) if len(servers) > 1 else None
        self._backoff = backoff
        self._down: list[Server] = []

    @property
    def spare(self) -> bool:
        """Whether there are several servers, and one of them is up."""
        return self._router is not None and self._router.live != 0

    def pick(self, request: Request, avoid: Server | None = None) -> Server:
        """The server for a request: one that is due to be tried again, or the router's choice."""
        router = self._router
        if router is None:
            return self.servers[0]
        if self._down and (due := self._due(request, avoid)) is not None:
            router.took(due.number)
            return due
        return self.servers[router.pick(request, -1 if avoid is None else avoid.number)]

    def _due(self, request: Request, avoid: Server | None) -> Server | None:
        if not self.spare:
            self._down.append(self._down.pop(0))
            return self._down[-1]
        now = _now()
        for server in self._down:
            if server.retry_at <= now and server.probe is None and server is not avoid:
                server.probe = request
                return server
        return None

    def answered(self, server: Server, term: int) -> None:
        """A request that entered in `term` was answered: the server works, whatever it said."""
        server.strikes = 0
        if server.down and server.term == term and self._router is not None:
            server.down, server.misses = False, 0
            self._down.remove(server)
            self._router.back(server.number)
            self._share(server, server.gate.room)

    def failed(self, server: Server, term: int, fault: Fault) -> bool:
        """A request that entered in `term` met this fault; returns whether to ask another server at once."""
        router = self._router
        if router is None:
            return False
        if fault.reason == "empty":
            self.answered(server, term)
        elif server.down:
            if server.term == term and server.retry_at <= _now():  # of many that tried at once, the first counts
                self._put_off(server, fault)
        elif server.term == term:
            server.strikes += fault.reason in _ILL
            if fault.reason == "connect" or fault.pause or server.strikes >= _STRIKES:
                self._lose(router, server, fault)
        return fault.reason in _BROKEN and (router.live & ~(1 << server.number)) != 0

    def left(self, server: Server, request: Request) -> None:
        """A request has ended on a server, or was turned away from it."""
        if self._router is not None:
            self._router.done(server.number)
            if server.probe is request:
                server.probe = None
            if not server.down and not server.gate.waiting and server.gate.room:
                self._share(server, 1)

    def _lose(self, router: Router, server: Server, fault: Fault) -> None:
        server.down, server.strikes = True, 0
        server.term += 1
        self._down.append(server)
        # Who is merely told to wait keeps what the server holds; one that died holds nothing.
        router.lost(server.number, forget=fault.pause is None)
        self._put_off(server, fault)
        if router.live:
            server.gate.turn_away()

    def _put_off(self, server: Server, fault: Fault) -> None:
        server.misses += 1
        server.retry_at = _now() + max(back_off(server.misses, self._backoff), fault.pause or 0.0)

    def _share(self, server: Server, slots: int) -> None:
        """Fill slots that a server has left with requests that wait for another, the one with the longest queue."""
        most, longest = 0, server
        for other in self.servers:
            if other.gate.waiting > most:
                most, longest = other.gate.waiting, other
        if longest is not server:
            longest.gate.turn_away(min(slots, most))


def _now() -> float:
    return asyncio.get_running_loop().time()
