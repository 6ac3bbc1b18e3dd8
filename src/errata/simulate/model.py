"""A GPU that batches continuously, as a pure function of time: slots, a queue, prefill, and decoding in step.

Every running sequence gains one token a step, so one counter of tokens serves them all: a sequence that begins at
counter c and is n tokens long ends when the counter reaches c + n, and a heap of those ends finds the next one. When
the batch grows or shrinks, the counter's rate changes and the ends stay. An event costs O(log n), and nothing here
waits or reads a clock: times are given, in seconds of any clock that does not run backwards.

    batch = ContinuousBatch(Hardware(slots=2, step_seconds=0.5))
    batch.arrive(0.0, Job(prompt_tokens=0, completion_tokens=3))
    batch.next_event()   # 1.5
    batch.advance(2.0)   # [Finished(key=0, at=1.5)]
"""

import heapq
import itertools
from collections import OrderedDict
from typing import NamedTuple

import msgspec

from errata.errors import RecipeError
from errata.simulate.account import Account
from errata.simulate.prefix import PrefixCache


class Hardware(msgspec.Struct, frozen=True, kw_only=True):
    """What a replica can do: a step of b sequences takes `step_seconds` (1 + `slope` (b - 1) / `slots`)."""

    slots: int = 256
    step_seconds: float = 0.009
    slope: float = 0.0
    prefill_rate: float = 20_000.0
    """Tokens a second, for each sequence; 0 makes prefill free."""

    def __post_init__(self) -> None:
        if self.slots < 1:
            raise RecipeError(f"simulate: slots is {self.slots}, and must be at least 1")
        for name in ("step_seconds", "slope", "prefill_rate"):
            if not 0 <= getattr(self, name) < float("inf"):
                raise RecipeError(f"simulate: {name} is {getattr(self, name):g}, and must be finite and not below 0")


class Job(NamedTuple):
    """One request to the model: tokens in, tokens out, and the names of its prompt's blocks (`prefix.blocks_of`)."""

    prompt_tokens: int
    completion_tokens: int
    blocks: tuple[int, ...] = ()
    slowness: float = 1.0
    """Steps per token, above 1 for a straggler."""


class Finished(NamedTuple):
    """A sequence whose last token was generated at this time."""

    key: int
    at: float


class _Running(NamedTuple):
    job: Job
    since: float


class ContinuousBatch:
    """One replica. Each method that takes `now` first lets everything happen that was due by then."""

    def __init__(self, hardware: Hardware, cache: PrefixCache | None = None) -> None:
        self.hardware = hardware
        self.cache = cache if cache is not None else PrefixCache(0)
        self.account = Account(slots=hardware.slots)
        self._now = float("-inf")
        self._count = 0.0
        self._keys = itertools.count()
        self._queue: OrderedDict[int, Job] = OrderedDict()
        self._running: dict[int, _Running] = {}
        # Heaps of (end of prefill, key) and (counter at the last token, key); entries of cancelled keys are skipped.
        self._filling: list[tuple[float, int]] = []
        self._decoding: list[tuple[float, int]] = []
        self._finished: list[Finished] = []
        self._reserved = 0

    @property
    def reserved_tokens(self) -> int:
        """Tokens, prompt and completion, that the running sequences take or will take."""
        return self._reserved

    def arrive(self, now: float, job: Job) -> int:
        """Queue one request; returns its key. What it finishes, at once or later, `advance` tells."""
        self._run(now)
        key = next(self._keys)
        account = self.account
        account.arrived += 1
        account.first_arrival = min(account.first_arrival, now)
        self._queue[key] = job
        self._admit()
        account.queued = len(self._queue)
        account.peak_queue = max(account.peak_queue, account.queued)
        return key

    def cancel(self, now: float, key: int) -> bool:
        """Free what this request holds. False if it was finished or cancelled before."""
        self._run(now)
        account = self.account
        if self._queue.pop(key, None) is None:
            gone = self._running.pop(key, None)
            if gone is None:
                return False
            account.cancelled_slot_seconds += now - gone.since
            self._reserved -= gone.job.prompt_tokens + gone.job.completion_tokens
        account.cancelled += 1
        self._admit()
        for heap in (self._filling, self._decoding):
            if len(heap) > 2 * len(self._running) + 64:
                heap[:] = [entry for entry in heap if entry[1] in self._running]
                heapq.heapify(heap)
        return True

    def advance(self, now: float) -> list[Finished]:
        """What has finished by `now` and was not told before, in order of time."""
        self._run(now)
        done, self._finished = self._finished, []
        return done

    def next_event(self) -> float | None:
        """When something happens next if nothing arrives; None if nothing will."""
        running = self._running
        for heap in (self._filling, self._decoding):
            while heap and heap[0][1] not in running:
                heapq.heappop(heap)
        filled = self._filling[0][0] if self._filling else None
        if not self._decoding:
            return filled
        ended = self._now + max(0.0, self._decoding[0][0] - self._count) * self._step()
        return ended if filled is None else min(filled, ended)

    def _step(self) -> float:
        hardware = self.hardware
        return hardware.step_seconds * (1 + hardware.slope * (len(self._running) - 1) / hardware.slots)

    def _run(self, until: float) -> None:
        """Events up to and including `until`. Raises ValueError if that is past."""
        if until < self._now:
            raise ValueError(f"time runs backwards: {until} after {self._now}")
        while (at := self.next_event()) is not None and at <= until:
            decoded = not self._filling or at < self._filling[0][0]
            self._pass(at)
            if decoded:
                # Set, not summed: rounding must not leave a remainder that never ends.
                self._count = max(self._count, self._decoding[0][0])
                self._finish(heapq.heappop(self._decoding)[1])
            else:
                self._decode(heapq.heappop(self._filling)[1])
            self._admit()
        self._pass(until)

    def _pass(self, until: float) -> None:
        """Time goes by without an event."""
        if self._running:
            gone = until - self._now
            self.account.busy_slot_seconds += gone * len(self._running)
            if step := self._step():
                self._count += gone / step
        self._now = until

    def _finish(self, key: int) -> None:
        job = self._running.pop(key).job
        self._reserved -= job.prompt_tokens + job.completion_tokens
        account = self.account
        account.finished += 1
        account.running = len(self._running)
        account.prompt_tokens += job.prompt_tokens
        account.completion_tokens += job.completion_tokens
        account.last_completion = max(account.last_completion, self._now)
        self._finished.append(Finished(key, self._now))

    def _decode(self, key: int) -> None:
        job = self._running[key].job
        heapq.heappush(self._decoding, (self._count + job.completion_tokens * job.slowness, key))

    def _admit(self) -> None:
        """Fill free slots from the queue, first come first served."""
        account, rate = self.account, self.hardware.prefill_rate
        while self._queue and len(self._running) < self.hardware.slots:
            key, job = self._queue.popitem(last=False)
            hit = self.cache.look_up(job.blocks, job.prompt_tokens)
            self.cache.insert(job.blocks)
            account.prefix_tokens_asked += job.prompt_tokens
            account.prefix_tokens_hit += hit
            self._running[key] = _Running(job, self._now)
            self._reserved += job.prompt_tokens + job.completion_tokens
            missed = job.prompt_tokens - hit
            if rate and missed:
                heapq.heappush(self._filling, (self._now + missed / rate, key))
            else:
                self._decode(key)
        account.running = len(self._running)
        account.queued = len(self._queue)
        account.peak_running = max(account.peak_running, account.running)
