"""Which of several replicas of one model answers a request: the one that holds its prefix, unless it is too busy.

A server keeps what it computed of a prompt, so samples of one prompt, forks of one attempt and critiques of one problem
cost less where the first of them went. What each replica was sent is remembered by block of text; of those that hold
the longest part of a prompt the least loaded is taken, and a shorter part, or none, where it is far busier than the
least busy one. A prefix that all requests share is soon held by all replicas, and then speaks for none.

Nothing here can change a reply: a wrong guess costs the server a prefill.
"""

import zlib

from errata.engines.base import Request

BLOCK = 256
"""Characters that are remembered as one; each message begins a new block."""


class Router:
    """Replicas by number, what each has in flight, and which parts of which prompts each was sent.

    Memory is bounded by `remembered` blocks, of which the longest unused are forgotten first, by halves: about 100
    bytes each. A pick takes about 9 microseconds for a prompt of 2,000 characters.
    """

    def __init__(
        self, replicas: int, *, capacity: int = 2**31, slack: int = 8, tilt: float = 0.125, remembered: int = 65_536
    ) -> None:
        """A replica that holds a prefix is passed over when it has more than `slack` requests and a share of `tilt`
        more than the least busy one, or when it has `capacity` in flight and the least busy one has fewer."""
        if replicas < 1 or capacity < 1 or remembered < 2:
            raise ValueError(f"a router needs replicas, capacity and memory, not {replicas}, {capacity}, {remembered}")
        self.load = [0] * replicas
        """Requests in flight on each replica."""
        self.live = self._all = (1 << replicas) - 1
        """The replicas that are up, a bit each."""
        self._turn = 0
        self._capacity, self._slack, self._tilt = capacity, slack, tilt
        self._half = remembered // 2
        # Blocks by the hash of all text up to their end, with a bit for each replica that was sent it. Two generations
        # make a cheap LRU: what is used moves to the young one, and when that is full the old one is dropped.
        self._young: dict[int, int] = {}
        self._old: dict[int, int] = {}

    def pick(self, request: Request, avoid: int = -1) -> int:
        """The replica for a request, which counts as in flight there; not `avoid` if another is up.

        Raises ValueError if no replica is up.
        """
        allowed = self.live if avoid < 0 else self.live & ~(1 << avoid) or self.live
        if not allowed:
            raise ValueError("no replica is up")
        young, old = self._young, self._old
        keys = _blocks(request)
        # From none of the prompt to the longest part of it: the sets of replicas that hold it.
        sets, held, masks = [allowed], allowed, []
        for key in keys:
            mask = young.get(key) or old.get(key, 0)
            masks.append(mask)
            if held & mask != held:
                held &= mask
                sets.append(held)
        chosen = self._weighed(sets)
        bit = 1 << chosen
        for key, mask in zip(keys, masks, strict=True):
            young[key] = mask | bit
        if len(young) > self._half:
            self._young, self._old = {}, young
        self.load[chosen] += 1
        return chosen

    def took(self, replica: int) -> None:
        """Count a request that was sent to a replica without asking."""
        self.load[replica] += 1

    def done(self, replica: int) -> None:
        """A request that was picked or taken has ended, well or not."""
        self.load[replica] -= 1

    def lost(self, replica: int, *, forget: bool = True) -> None:
        """A replica is down; `forget` that it held anything, which a restart ends."""
        self.live &= ~(1 << replica)
        if forget:
            keep = ~(1 << replica)
            for blocks in (self._young, self._old):
                for key, mask in blocks.items():
                    blocks[key] = mask & keep

    def back(self, replica: int) -> None:
        """A replica is up again."""
        self.live |= 1 << replica

    def _weighed(self, sets: list[int]) -> int:
        """The least loaded replica of the last set in which one is not too busy; the first set is all there are."""
        load, everywhere = self.load, sets[0]
        fewest = min(load) if everywhere == self._all else min(n for i, n in enumerate(load) if everywhere >> i & 1)
        bound = fewest * (1 + self._tilt) + self._slack
        if fewest < self._capacity <= bound:
            bound = self._capacity - 1
        for mask in reversed(sets[1:]):
            if mask:
                least = self._least(mask) if mask & (mask - 1) else mask.bit_length() - 1
                if load[least] <= bound:
                    return least
        return self._least(everywhere)

    def _least(self, mask: int) -> int:
        """The least loaded replica of a set; ties are spread by turns."""
        load, n = self.load, len(self.load)
        self._turn += 1
        best, fewest = -1, 0
        for i in range(self._turn, self._turn + n):
            if mask >> i % n & 1 and (best < 0 or load[i % n] < fewest):
                best, fewest = i % n, load[i % n]
        return best


def _blocks(request: Request) -> list[int]:
    """For the end of each block, a hash of all text up to there. A message's last block may be short.

    So the samples of a short prompt share a whole block, and so do the forks that continue its attempts.
    """
    found = []
    crc = zlib.crc32
    so_far = 0
    for message in request.messages:
        so_far = crc(message.role.encode(), so_far)
        text = message.content.encode("utf-8", "surrogatepass")
        for start in range(0, len(text), BLOCK):
            so_far = crc(text[start : start + BLOCK], so_far)
            found.append(so_far)
    return found or [so_far]
