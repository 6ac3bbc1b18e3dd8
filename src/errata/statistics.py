"""Intervals for shares and for the difference of two shares: exact enough for ten samples, where the normal one is not.

Pure arithmetic on counts. Samples are taken to be independent; `mean_interval` is for units that are, such as problems,
whose samples are not.
"""

import math
from collections.abc import Sequence
from statistics import NormalDist
from typing import NamedTuple


class Interval(NamedTuple):
    """A range that holds the true value with the confidence that was asked."""

    low: float
    high: float


def wilson(passed: int, n: int, confidence: float = 0.95) -> Interval:
    """The score interval of a share, `passed` of `n`, within 0..1. Raises ValueError for counts that are none.

    Source: E. B. Wilson, Journal of the American Statistical Association 22 (1927) 209-212.
    """
    if not 0 <= passed <= n or n < 1:
        raise ValueError(f"{passed} of {n} is no share: count 0 to n of at least one sample")
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    share, room = passed / n, z * z / n
    middle = share + room / 2
    spread = z * math.sqrt(share * (1 - share) / n + room / (4 * n))
    return Interval(max(0.0, (middle - spread) / (1 + room)), min(1.0, (middle + spread) / (1 + room)))


def newcombe(passed: int, n: int, others: int, m: int, confidence: float = 0.95) -> Interval:
    """The interval of `passed`/n - `others`/m, two independent shares. Raises ValueError as `wilson` does.

    Source: method 10 of R. G. Newcombe, Statistics in Medicine 17 (1998) 873-890: the distances of both shares from
    the ends of their score intervals, squared and added.
    """
    a, b = passed / max(n, 1), others / max(m, 1)
    first, second = wilson(passed, n, confidence), wilson(others, m, confidence)
    down = math.hypot(a - first.low, second.high - b)
    up = math.hypot(first.high - a, b - second.low)
    return Interval(max(-1.0, a - b - down), min(1.0, a - b + up))


def mean_interval(values: Sequence[float], confidence: float = 0.95) -> Interval | None:
    """The normal interval of the mean of independent units; None for fewer than two."""
    n = len(values)
    if n < 2:
        return None
    mean = math.fsum(values) / n
    error = math.sqrt(math.fsum((v - mean) ** 2 for v in values) / (n - 1) / n)
    spread = NormalDist().inv_cdf((1 + confidence) / 2) * error
    return Interval(mean - spread, mean + spread)
