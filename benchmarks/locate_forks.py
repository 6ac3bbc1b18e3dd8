"""Do forks of the pocket student name the first error that its gold steps name, and what do they cost?

    python benchmarks/locate_forks.py
    python benchmarks/locate_forks.py --problems 100 --forks 8 --confirm 8

Every wrong attempt is located three times: with all K continuations of a prefix asked for at once, a few at a time
(adaptive), and adaptively with the place confirmed by fresh continuations. An attempt whose problem the student never
solves in K tries from the start cannot be located, and is counted apart.
"""

import argparse
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from errata import chains
from errata.records.types import Critique, Episode
from errata.runners import job
from errata.runners.options import Options
from errata.store.reader import open_dataset

HERE = Path(__file__).resolve().parent


class Located(NamedTuple):
    """One wrong attempt: what gold steps and forks say, what that cost, and what kind of error it is."""

    gold: int | None
    forks: int | None
    requests: float
    kind: str


class Result(NamedTuple):
    """One way to ask, over all wrong attempts."""

    name: str
    attempts: list[Located]
    seconds: float

    @property
    def located(self) -> list[Located]:
        """Those that forks name a step for."""
        return [a for a in self.attempts if a.forks is not None]

    @property
    def agreement(self) -> float:
        """Share of the located attempts where both name the same step."""
        return sum(a.gold == a.forks for a in self.located) / len(self.located)

    @property
    def requests(self) -> float:
        """Requests of all attempts, located or not."""
        return sum(a.requests for a in self.attempts)

    def __str__(self) -> str:
        n = len(self.attempts)
        same = sum(a.gold == a.forks for a in self.located)
        early, late = (sum((a.forks or 0) < (a.gold or 0) for a in self.located), 0)
        late = len(self.located) - same - early
        return (
            f"{self.name:<22} {n:>5} {n - len(self.located):>12} {len(self.located):>8} {same:>6} {early:>6} {late:>5}"
            f" {100 * self.agreement:>9.1f} % {self.requests:>9,.0f} {self.requests / n:>11.1f} {self.seconds:>6.0f} s"
        )


HEAD = f"{'':<22} {'wrong':>5} {'never solved':>12} {'located':>8} {'agree':>6} {'early':>6} {'late':>5} " + (
    f"{'agreement':>11} {'requests':>9} {'per attempt':>11} {'time':>8}"
)


def measure(name: str, folder: Path, *changes: str) -> Result:
    """Run the recipe with these changes, on a journal that all share."""
    began = time.perf_counter()
    out = folder / name.replace(" ", "_").replace(",", "")
    options = Options(recipe=HERE / "locate_forks.yaml", out=out, journal=folder / "journal", changes=changes)
    job.run(options, lambda *_: None)
    found = [x for e in open_dataset(out / "locate_forks").rows("episodes") if isinstance(e, Episode) for x in _of(e)]
    return Result(name, found, time.perf_counter() - began)


def _of(episode: Episode) -> Iterator[Located]:
    said: dict[str, dict[str, Critique]] = {}
    for c in episode.critiques:
        said.setdefault(c.attempt, {})[c.source] = c
    for attempt, by in said.items():
        if "forks" in by and by["gold"].verdict == "error":
            cost = episode.estimate(attempt, "location_requests") or 0.0
            chain = chains.parse(episode.problem.text)
            error = chains.first_error(chain, [s.text for s in episode.attempt(attempt).steps]) if chain else None
            yield Located(by["gold"].first_error, by["forks"].first_error, cost, error.kind if error else "")


def main() -> None:
    """Print the table, and what the disagreements are."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--problems", type=int, default=300)
    parser.add_argument("--forks", type=int, default=16, help="K, continuations of a prefix")
    parser.add_argument("--batch", type=int, default=1, help="continuations asked for at a time when adaptive")
    parser.add_argument("--confirm", type=int, default=16, help="fresh continuations of the dead prefix that was found")
    asked = parser.parse_args()
    base = (f"source.with.count={asked.problems}", f"stages.forks.with.forks={asked.forks}")
    adaptive, confirmed = f"stages.forks.with.batch={asked.batch}", f"stages.forks.with.confirm={asked.confirm}"
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        results = [
            measure("all at once", folder, *base),
            measure("adaptive", folder, *base, adaptive),
            measure("all at once, confirmed", folder, *base, confirmed),
            measure("adaptive, confirmed", folder, *base, adaptive, confirmed),
        ]
    print(HEAD)
    for result in results:
        print(result)
    plain, few = results[0], results[1]
    same = [(a.forks, b.forks) for a, b in zip(plain.attempts, few.attempts, strict=True)]
    print(f"\nadaptive asks {100 * few.requests / plain.requests:.0f} % of the requests; answers that differ: ", end="")
    print(sum(a != b for a, b in same))
    odd = Counter(
        (a.kind, "early" if (a.forks or 0) < (a.gold or 0) else "late")
        for a in results[-1].located
        if a.gold != a.forks
    )
    print("disagreements of the last by kind of error:", ", ".join(f"{k} {w} {n}" for (k, w), n in odd.most_common()))


if __name__ == "__main__":
    main()
