"""What the built-in worlds cost: calls a second on one core, of each kind.

    python benchmarks/worlds.py                        # a few seconds a world
    python benchmarks/worlds.py --world crafting --least 20000

Every registered world that is played inline is measured on tasks of its own generator. An episode takes some valid
actions at random, then the gold actions from where they led (or, where a world knows none, more at random), each of
them from the same hashed seeds in every run. `step` is timed over whole episodes without their resets, the others at
every tenth state. The best of some rounds counts, as other work on the machine can only make a round slower. With
`--least`, a world of fewer steps a second makes the exit status 1.
"""

import argparse
import random
import sys
import time
from collections.abc import Callable
from typing import Any

from errata import registry
from errata.environments.base import World

ASKED = ("distance", "gold_actions", "valid_actions", "checks")
Play = tuple[dict[str, Any], list[str]]
"""A task, and actions to take in it."""


def episodes(make: Callable[..., Any], count: int, difficulty: tuple[int, int]) -> list[Play]:
    """Tasks of the world's own, with actions."""
    found = []
    for i in range(count):
        rng = random.Random(i)
        spec = make.generate(rng, rng.randint(*difficulty))
        played = make()
        played.reset(spec)
        taken: list[str] = []
        for _ in range(rng.randint(0, 10)):
            if actions := played.valid_actions():
                taken.append(rng.choice(actions))
                played.step(taken[-1])
        for action in played.gold_actions() or ():
            taken.append(action)
            played.step(action)
        found.append((spec, taken))
    return found


def rates(make: Callable[..., Any], plays: list[Play]) -> dict[str, float]:
    """Calls a second of each kind, in one round over all episodes."""
    spent: dict[str, float] = dict.fromkeys(("step", "reset", "snapshot", "restore", *ASKED), 0.0)
    calls: dict[str, int] = dict.fromkeys(spent, 0)

    def timed(name: str, world: World, *given: Any) -> Any:
        call = getattr(world, name)
        start = time.perf_counter()
        value = call(*given)
        spent[name] += time.perf_counter() - start
        calls[name] += 1
        return value

    played, other = make(), make()
    for spec, actions in plays:
        timed("reset", played, spec)
        start = time.perf_counter()
        for action in actions:
            played.step(action)
        spent["step"] += time.perf_counter() - start
        calls["step"] += len(actions)
        played.reset(spec)
        for at, action in enumerate(actions):
            if at % 10 == 0:
                for name in ASKED:
                    timed(name, played)
                if played.snapshots:
                    timed("restore", other, timed("snapshot", played))
            played.step(action)
    return {name: calls[name] / spent[name] if calls[name] else 0.0 for name in spent}


def main() -> int:
    wanted = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    wanted.add_argument("--world", help="only this one")
    wanted.add_argument("--tasks", type=int, default=200)
    wanted.add_argument("--difficulty", type=int, nargs=2, default=(1, 5), metavar=("LOWEST", "HIGHEST"))
    wanted.add_argument("--rounds", type=int, default=5)
    wanted.add_argument("--least", type=float, default=0.0, help="steps a second that every world must reach")
    args = wanted.parse_args()
    known = {name: found for name, found in registry.components("environment").items() if found.inline}
    if args.world and args.world not in known:
        wanted.error(f"no inline world is called {args.world!r}: there are {', '.join(known)}")
    header = ("world", "actions", "step", "reset", "snapshot", "restore", *ASKED)
    print(f"calls a second, best of {args.rounds} rounds over {args.tasks} tasks")
    print(f"| {' | '.join(header)} |\n{'|---' * len(header)}|")
    slow = []
    for name in [args.world] if args.world else known:
        make = known[name].make
        plays = episodes(make, args.tasks, tuple(args.difficulty))
        rounds = [rates(make, plays) for _ in range(args.rounds)]
        best = {kind: max(found[kind] for found in rounds) for kind in rounds[0]}
        total = sum(len(actions) for _, actions in plays)
        told = " | ".join(f"{best[kind]:,.0f}" if best[kind] else "-" for kind in header[2:])
        print(f"| {name} | {total:,} | {told} |", flush=True)
        if best["step"] < args.least:
            slow.append(f"{name}: {best['step']:,.0f} steps/s, at least {args.least:,.0f} are asked for")
    print(*slow, sep="\n", end="\n" if slow else "")
    return 1 if slow else 0


if __name__ == "__main__":
    sys.exit(main())
