"""What it is worth to start the right request first: orders of a full queue, in virtual time.

    python benchmarks/foresight.py                       # 500, 2,000 and 10,000 problems: about 3 minutes
    python benchmarks/foresight.py --problems 2000 --seeds 12

The job is that of window.py: 4 samples of a problem, then a critique and a revision of each wrong one, with a barrier
between its stages, 2,048 episodes in flight, 256 slots, lognormal lengths cut at 1,400 tokens. `--per-problem` is the
share of a logarithm's variance that the replies about one problem have in common. The figures are makespans over busy
slot-seconds / slots. `known` is a run that knows every length beforehand and starts the longest rest of a chain first
once all episodes have begun; `least` is what no order can beat, the longest chain or the full batch.
"""

import argparse
import heapq
import random
import sys
from collections.abc import Sequence
from statistics import mean
from typing import Literal, get_args

from errata.engines.admission import LEAD
from errata.engines.foresight import Foresight
from errata.records.types import Attempt, Call, Critique, Episode, Problem
from errata.simulate.lengths import Lengths

Order = Literal["arrival", "stages", "foresight", "known"]
"""First come first served; the earlier stage first; that, and long problems too, as errata does; with all known."""
STAGES = ("sample", "critique", "revise")
LIMIT = 1_400

Chains = list[list[list[int]]]
"""Tokens of each reply, by problem and stage."""


def draw(problems: int, seed: int, share: float, scale: Sequence[float]) -> Chains:
    """Half of the samples are wrong; `scale` is the mean length of each stage against the usual."""
    rng, lengths = random.Random(f"{problems} {seed} {share}"), Lengths()
    drawn = []
    for _ in range(problems):
        common = rng.gauss() * share**0.5
        wrong = sum(rng.random() < 0.5 for _ in range(4))
        drawn.append(
            [
                [_tokens(lengths, scale[stage], common + rng.gauss() * (1 - share) ** 0.5) for _ in range(count)]
                for stage, count in enumerate((4, wrong, wrong))
            ]
        )
    return drawn


def _tokens(lengths: Lengths, scale: float, z: float) -> int:
    return max(1, min(LIMIT, round(scale * 2.718281828459045 ** (lengths.mu + lengths.sigma * z))))


class Run:
    """One job under one order; time is in steps of a token."""

    def __init__(self, chains: Chains, order: Order, *, slots: int, in_flight: int) -> None:
        self.chains, self.order, self.slots = chains, order, slots
        self.foresight = Foresight(STAGES, {s: STAGES[i - 1 : i] for i, s in enumerate(STAGES) if i} | {"sample": ()})
        self.next = self.came = 0
        self.queue: list[tuple[float, int, int, int, int]] = []
        self.left = [0] * len(chains)
        self.urgency = [0.0] * len(chains)
        self.episodes: dict[int, Episode] = {}
        for _ in range(min(in_flight, len(chains))):
            self.begin()

    def begin(self) -> None:
        """Take up the next problem, if there is one."""
        if self.next < len(self.chains):
            problem, self.next = self.next, self.next + 1
            self.foresight.ending = self.next == len(self.chains)
            self.episodes[problem] = Episode(problem=Problem(id=str(problem), messages=(), verifier="", answer=""))
            self.enter(problem, 0)
            if self.foresight.ending and self.order == "known":
                self.queue = [(self.rank(*rest), came, *rest) for _, came, *rest in self.queue]
                heapq.heapify(self.queue)

    def enter(self, problem: int, stage: int) -> None:
        """Queue what a stage asks for a problem."""
        self.urgency[problem] = self.foresight.urgency(STAGES[stage], self.episodes[problem])
        self.left[problem] = len(self.chains[problem][stage])
        for i in range(self.left[problem]):
            self.came += 1
            heapq.heappush(self.queue, (self.rank(problem, stage, i), self.came, problem, stage, i))

    def rank(self, problem: int, stage: int, i: int) -> float:
        """The place in the queue; the lowest goes first."""
        chain = self.chains[problem]
        if self.order == "known" and self.foresight.ending:
            return 1e9 * stage - chain[stage][i] - sum(max(tokens, default=0) for tokens in chain[stage + 1 :])
        urgency = {"stages": float(2 - stage), "foresight": self.urgency[problem]}.get(self.order, 0.0)
        return self.came - urgency * LEAD * self.slots

    def ended(self, problem: int, stage: int, i: int) -> None:
        """A reply has come."""
        name, tokens = STAGES[stage], self.chains[problem][stage][i]
        call = Call(role="", engine="", model="", revision="", key="", seed=0, temperature=0, top_p=0, max_tokens=0,
                    template="", prompt_tokens=0, completion_tokens=tokens, finish="stop")  # fmt: skip
        self.foresight.learn(name, tokens)
        episode = self.episodes[problem]
        if name == "critique":
            made = Critique(id="", attempt="", stage=name, index=0, source="judge", verdict="error", call=call)
            self.episodes[problem] = Episode(
                problem=episode.problem, attempts=episode.attempts, critiques=(*episode.critiques, made)
            )
        else:
            attempt = Attempt(id="", stage=name, index=0, kind="sampled", steps=(), call=call)
            self.episodes[problem] = Episode(
                problem=episode.problem, attempts=(*episode.attempts, attempt), critiques=episode.critiques
            )
        self.left[problem] -= 1
        if not self.left[problem]:
            if stage < 2 and self.chains[problem][stage + 1]:
                self.enter(problem, stage + 1)
            else:
                del self.episodes[problem]
                self.begin()

    def makespan(self) -> float:
        """Steps until the last reply."""
        now, running = 0, []
        while self.queue or running:
            while self.queue and len(running) < self.slots:
                _, _, problem, stage, i = heapq.heappop(self.queue)
                heapq.heappush(running, (now + self.chains[problem][stage][i], problem, stage, i))
            now, *who = heapq.heappop(running)
            self.ended(*who)
        return now


def main() -> int:
    parser = argparse.ArgumentParser(description="Weigh orders of a full queue in virtual time.")
    parser.add_argument("--problems", type=int, nargs="+", default=[500, 2_000, 10_000])
    parser.add_argument("--per-problem", type=float, nargs="+", default=[0.0, 0.3, 0.5, 0.8])
    parser.add_argument("--seeds", type=int, default=4)
    parser.add_argument("--slots", type=int, default=256)
    parser.add_argument("--in-flight", type=int, default=2_048)
    args = parser.parse_args()
    jobs = [(f"{share:.0%} per problem", share, (1.0, 1.0, 1.0)) for share in args.per_problem]
    jobs.append(("long revisions", 0.0, (0.5, 0.25, 2.0)))
    print("| problems | lengths | least |" + "".join(f" {order} |" for order in get_args(Order)))
    print("|---" * (3 + len(get_args(Order))) + "|")
    for problems in args.problems:
        for name, share, scale in jobs:
            found: dict[str, list[float]] = {}
            for seed in range(args.seeds):
                chains = draw(problems, seed, share, scale)
                ideal = sum(sum(map(sum, chain)) for chain in chains) / args.slots
                longest = max(sum(max(tokens, default=0) for tokens in chain) for chain in chains)
                found.setdefault("least", []).append(max(1.0, longest / ideal))
                for order in get_args(Order):
                    run = Run(chains, order, slots=args.slots, in_flight=args.in_flight)
                    found.setdefault(order, []).append(run.makespan() / ideal)
            print(f"| {problems:,} | {name} |" + "".join(f" {mean(f):.3f} |" for f in found.values()), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
