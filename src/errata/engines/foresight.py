"""Which requests to start first: those that the end of the run will wait for.

A run ends with its longest chain of requests, so what has the most still to come goes first: the earlier stage before
the later one, and within a stage the problem whose replies have been long. How far one reply about a problem tells of
another is learnt, as their covariance over the variance; where lengths do not depend on the problem it is nothing.

Long problems go first only when every episode has begun. Before, they would hold back short ones, and with these the
episodes that begin in their place, some of which are long too. `benchmarks/foresight.py` weighs it in virtual time.

Nothing here can change a reply or a key: it is the order of a queue.
"""

from collections.abc import Mapping, Sequence
from math import log

from errata.records.types import Attempt, Critique, Episode

WEIGHT = 0.35
"""Urgency of a problem whose replies are e times as long as usual, where that of a stage more to come is 1."""
_LEAST = 100
"""Pairs of replies about one problem before anything is believed of problems."""


class Foresight:
    """What one worker has learnt of lengths: a few numbers for each stage, whatever the run's size."""

    def __init__(self, steps: Sequence[str], before: Mapping[str, Sequence[str]]) -> None:
        """`steps` in an order in which each follows its predecessors, `before`."""
        self.ending = False
        """Whether all episodes have begun."""
        self._to_come = dict.fromkeys(steps, 0)
        for name in reversed(steps):
            for earlier in before[name]:
                self._to_come[earlier] = max(self._to_come[earlier], self._to_come[name] + 1)
        # By stage: replies, and the mean of the natural logarithm of their tokens.
        self._usual: dict[str, tuple[int, float]] = {}
        # Over replies, how far their logarithm is from the usual, squared; over pairs about one problem, the product.
        self._replies = self._pairs = 0
        self._squares = self._products = 0.0

    @property
    def shared(self) -> float:
        """The share of the variance of a length's logarithm that is the problem's, from 0 to 0.95."""
        if self._pairs < _LEAST or not self._squares:
            return 0.0
        return min(0.95, max(0.0, self._products / self._pairs * self._replies / self._squares))

    def learn(self, stage: str, tokens: int) -> None:
        """A reply of so many tokens has come."""
        replies, mean = self._usual.get(stage, (0, 0.0))
        self._usual[stage] = replies + 1, mean + (_logarithm(tokens) - mean) / (replies + 1)

    def urgency(self, stage: str, episode: Episode) -> float:
        """That of an episode's requests in a stage that it enters, from the replies that it holds."""
        count, total, squares = 0, 0.0, 0.0
        records: tuple[Attempt | Critique, ...] = (*episode.attempts, *episode.critiques)
        for made in records:
            usual = self._usual.get(made.stage)
            if usual is not None and made.call is not None:
                excess = _logarithm(made.call.completion_tokens) - usual[1]
                count, total, squares = count + 1, total + excess, squares + excess * excess
        self._replies += count
        self._squares += squares
        self._pairs += count * (count - 1)
        self._products += total * total - squares
        urgency = float(self._to_come.get(stage, 0.0))
        if count and self.ending and (shared := self.shared):
            # The problem's mean, drawn towards the usual as far as single replies vary about it.
            urgency += WEIGHT * total / (count + (1 - shared) / shared)
        return urgency


def _logarithm(tokens: int) -> float:
    return log(max(1, tokens))
