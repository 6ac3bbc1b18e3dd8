"""How long a run would take on engines of a given size: the recipe's expected requests, in virtual time.

Each problem passes the stages in order, and a stage's requests for it are asked together, as a run does; up to
`in_flight` problems are under way. Every engine is one batch of all its replicas' slots. What a run cannot know is
drawn: lengths, and whether a problem has one request more or less than the stage's mean.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

from errata.records.ids import digest
from errata.simulate.account import Account
from errata.simulate.draws import uniform
from errata.simulate.lengths import Lengths
from errata.simulate.model import ContinuousBatch, Hardware, Job

MOST = 20_000
"""Problems that are simulated; what a longer run adds is work at the rate of a full batch."""


class Load(NamedTuple):
    """What one stage asks of one engine for a problem, on average."""

    stage: str
    engine: str
    requests: float
    prompt_tokens: int
    limit: int
    """Tokens of a reply at most."""


class Sized(NamedTuple):
    """One engine's share of a run."""

    engine: str
    seconds: float
    """Until its last reply."""
    ideal: float
    """What a batch that is always full would take."""
    requests: int
    completion_tokens: int


def size(
    loads: Sequence[Load], problems: int, *, hardware: Hardware, replicas: int, lengths: Lengths, in_flight: int
) -> list[Sized]:
    """Each engine's time and work for a run of `problems`, by engine."""
    taken = min(problems, MOST)
    whole = Hardware(
        slots=hardware.slots * replicas, step_seconds=hardware.step_seconds, slope=hardware.slope,
        prefill_rate=hardware.prefill_rate,
    )  # fmt: skip
    batches = {name: ContinuousBatch(whole) for name in dict.fromkeys(load.engine for load in loads)}
    _Run(loads, batches, lengths, taken, in_flight).finish()
    return [_sized(name, batch.account, problems / taken) for name, batch in batches.items()]


def _sized(name: str, account: Account, scale: float) -> Sized:
    ideal = account.ideal_seconds * scale
    # The ends of a run are the same however long it is; only its full middle grows.
    seconds = max(0.0, account.last_completion) + ideal - account.ideal_seconds
    return Sized(name, seconds, ideal, round(account.finished * scale), round(account.completion_tokens * scale))


class _Run:
    """Problems under way, each at one stage with some requests to go."""

    def __init__(
        self, loads: Sequence[Load], batches: dict[str, ContinuousBatch], lengths: Lengths, problems: int, room: int
    ) -> None:
        self.loads, self.batches, self.lengths = loads, batches, lengths
        self.waiting = iter(range(problems))
        self.room = room
        self.left: dict[int, int] = {}
        self.asked: dict[tuple[str, int], tuple[int, int]] = {}
        """The (problem, stage) of each engine's requests, by engine and key."""

    def finish(self) -> None:
        """Let time pass until nothing is left to do."""
        for problem in self._taken(self.room):
            self._enter(problem, 0, 0.0)
        while events := [(at, n) for n, b in self.batches.items() if (at := b.next_event()) is not None]:
            now, name = min(events)
            for done in self.batches[name].advance(now):
                problem, stage = self.asked.pop((name, done.key))
                self.left[problem] -= 1
                if not self.left[problem]:
                    self._enter(problem, stage + 1, now)

    def _taken(self, most: int) -> list[int]:
        return [p for _, p in zip(range(most), self.waiting, strict=False)]

    def _enter(self, problem: int, stage: int, now: float) -> None:
        """Ask what the next stage that asks anything asks for this problem; at the end, begin another."""
        while True:
            for at in range(stage, len(self.loads)):
                load = self.loads[at]
                if count := self._count(load, problem):
                    self.left[problem] = count
                    for i in range(count):
                        self._ask(load, problem, at, i, now)
                    return
            self.left.pop(problem, None)
            following = self._taken(1)
            if not following:
                return
            problem, stage = following[0], 0

    def _count(self, load: Load, problem: int) -> int:
        whole = math.floor(load.requests)
        more = uniform(self.lengths.seed, b"count", digest(stage=load.stage, problem=problem).encode())
        return whole + (more < load.requests - whole)

    def _ask(self, load: Load, problem: int, stage: int, i: int, now: float) -> None:
        body = digest(stage=load.stage, problem=problem, k=i).encode()
        tokens = min(load.limit, self.lengths.draw(body, str(problem)))
        key = self.batches[load.engine].arrive(now, Job(load.prompt_tokens, tokens))
        self.asked[load.engine, key] = (problem, stage)


def text(sized: Sequence[Sized], *, replicas: int, slots: int, step_ms: float) -> str:
    """The sizes for people."""
    lines = [f"simulated, each engine on {replicas} x {slots} slots at {step_ms:g} ms a token:"]
    for s in sized:
        hours = s.seconds * replicas / 3600
        lines.append(
            f"  {s.engine}: {_span(s.seconds)} for {s.requests:,} requests and {s.completion_tokens:,} tokens out, "
            f"{s.ideal / s.seconds if s.seconds else 1:.0%} full, {hours:,.2f} replica-hours"
        )
    return "\n".join(lines)


def _span(seconds: float) -> str:
    hours, rest = divmod(round(seconds), 3600)
    return f"{hours} h {rest // 60:02} min" if hours else f"{rest // 60} min {rest % 60:02} s"
