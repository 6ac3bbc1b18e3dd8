"""What a replica did, exactly: requests in and out, tokens, and how well its slots were used.

ideal  = busy slot-seconds / slots          the time in which a full batch would have done the same work
window = last completion - first arrival    the time that it took
ratio  = window / ideal                     1 for a batch that was never short of requests
"""

from collections.abc import Sequence

import msgspec


class Account(msgspec.Struct, kw_only=True):
    """Counts of one model. At any time arrived = finished + cancelled + running + queued."""

    slots: int
    arrived: int = 0
    finished: int = 0
    cancelled: int = 0
    """The client went away before its answer was whole."""
    running: int = 0
    queued: int = 0
    peak_running: int = 0
    peak_queue: int = 0
    """The longest queue; over several replicas, the longest of any."""
    prompt_tokens: int = 0
    """Of finished requests, like `completion_tokens`."""
    completion_tokens: int = 0
    prefix_tokens_asked: int = 0
    """Prompt tokens of all that was admitted to a slot; `prefix_tokens_hit` of them were in the prefix cache."""
    prefix_tokens_hit: int = 0
    busy_slot_seconds: float = 0.0
    """The integral of the occupied slots over time, prefill included."""
    cancelled_slot_seconds: float = 0.0
    """The part of it that went into requests that were cancelled."""
    first_arrival: float = float("inf")
    last_completion: float = float("-inf")

    @property
    def ideal_seconds(self) -> float:
        return self.busy_slot_seconds / self.slots

    @property
    def window_seconds(self) -> float:
        return max(0.0, self.last_completion - self.first_arrival)

    @property
    def ratio(self) -> float:
        return self.window_seconds / self.ideal_seconds if self.busy_slot_seconds else 0.0

    def restarted(self, now: float) -> "Account":
        """A new account from `now`, into which what is queued or running is carried over."""
        carried = self.running + self.queued
        first = now if carried else float("inf")
        return Account(
            slots=self.slots, arrived=carried, running=self.running, queued=self.queued, first_arrival=first,
            peak_running=self.running, peak_queue=self.queued,
        )  # fmt: skip

    def told(self) -> dict[str, float]:
        """Every figure by name, with those derived."""
        fields = {name: getattr(self, name) for name in self.__struct_fields__}
        del fields["first_arrival"], fields["last_completion"]
        return fields | {
            "ideal_seconds": self.ideal_seconds,
            "window_seconds": self.window_seconds,
            "ratio": self.ratio,
        }


def together(accounts: Sequence[Account]) -> Account:
    """One account of all slots. The window is from the first arrival at any replica to the last completion at any."""
    merged = {"first_arrival": min, "last_completion": max, "peak_queue": max}
    return Account(
        **{
            name: merged.get(name, sum)(getattr(account, name) for account in accounts)
            for name in Account.__struct_fields__
        }
    )
