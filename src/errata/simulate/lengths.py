"""Lengths of replies with a long tail: lognormal by mean and 99th percentile, each fixed by the request it answers.

From ln(p99 / mean) = z s - s^2 / 2, with z the 99th percentile of the normal distribution, follow the deviation s of
the logarithm and its mean, ln(mean) - s^2 / 2.
"""

import math
from statistics import NormalDist

import msgspec

from errata.errors import RecipeError
from errata.simulate.draws import uniform

_NORMAL = NormalDist()
_Z99 = _NORMAL.inv_cdf(0.99)

BEGINNING = 256
"""Characters of a first user message that tell one problem from another."""


def problem_of(first_message: str) -> str:
    """What requests about one problem have in common: the first paragraph, without a heading such as `Problem:`."""
    heading, _, rest = first_message.lstrip().partition("\n")
    text = rest if heading.endswith(":") and rest else first_message
    return text.strip().partition("\n\n")[0][:BEGINNING]


class Lengths(msgspec.Struct, frozen=True, kw_only=True):
    """Tokens to generate, drawn per request; `per_problem` of the logarithm's variance is common to one problem."""

    seed: int = 0
    mean: float = 113.0
    p99: float = 1200.0
    per_problem: float = 0.0

    def __post_init__(self) -> None:
        if not 0 < self.mean < self.p99:
            raise RecipeError(f"lengths: mean {self.mean:g} and p99 {self.p99:g}: 0 < mean < p99 is needed")
        if 2 * math.log(self.p99 / self.mean) > _Z99**2:
            most = math.floor(math.exp(_Z99**2 / 2) * 100) / 100
            raise RecipeError(
                f"lengths: p99 may be at most {most:g} times the mean, not {self.p99 / self.mean:g} times"
            )
        if not 0 <= self.per_problem <= 1:
            raise RecipeError(f"lengths: the share per problem is between 0 and 1, not {self.per_problem:g}")

    @property
    def sigma(self) -> float:
        """The standard deviation of a length's natural logarithm."""
        return _Z99 - math.sqrt(_Z99**2 - 2 * math.log(self.p99 / self.mean))

    @property
    def mu(self) -> float:
        """The mean of a length's natural logarithm."""
        return math.log(self.mean) - self.sigma**2 / 2

    def draw(self, body: bytes, problem: str) -> int:
        """Tokens, at least 1, for the request whose body has this digest."""
        z = _NORMAL.inv_cdf(uniform(self.seed, b"length", body))
        if self.per_problem:
            common = _NORMAL.inv_cdf(uniform(self.seed, b"problem", problem.encode(errors="surrogatepass")))
            z = math.sqrt(self.per_problem) * common + math.sqrt(1 - self.per_problem) * z
        return max(1, round(math.exp(self.mu + self.sigma * z)))
