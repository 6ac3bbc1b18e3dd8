"""Does training in rounds change how the pocket student corrects itself? Two-turn accuracy of every revision.

    pip install -e ".[train]" && python benchmarks/rounds.py [--out DIR] [--rounds 3] [--set path=value]...

Rounds of `pipelines/star_correction.yaml`, each trained on its wrong-to-right rows by `errata.train`; then each
revision attempts new problems twice, at temperature 1: alone, and after "There may be an error / Solve it again".
"""

import argparse
import asyncio
import math
import random
from collections import Counter
from pathlib import Path

from errata import chains, prompts
from errata.engines.base import Request, Sampling
from errata.engines.pocket import Pocket
from errata.records.ids import seed
from errata.records.types import Attempt, Episode, Message, Problem
from errata.reports.show import columns
from errata.runners.iterate import iterate
from errata.runners.options import Options
from errata.sources.procedural import procedural
from errata.stages.base import steps_of

RECIPE = Path(__file__).resolve().parents[1] / "pipelines" / "star_correction.yaml"
TRAIN = (
    "{python} -m errata.train sft --dataset {dataset} --config {config} --model {model} --out {out} --seed {seed} "
    "--batch 16 --epochs 3 --learning-rate 3e-4 --held-out 0.1"
)


async def two_turns(folder: Path | None, problems: list[Problem]) -> Counter[tuple[bool, bool]]:
    """How often a model's first and second attempts are right."""
    engine = Pocket(path=str(folder or ""))

    async def ask(messages: tuple[Message, ...], k: int) -> str:
        sampling = Sampling(temperature=1.0, max_tokens=160)
        return (await engine.generate(Request(messages=messages, sampling=sampling, seed=seed(round_test=k)))).text

    async def both(k: int, problem: Problem) -> tuple[bool, bool]:
        first = await ask(problem.messages, 2 * k)
        steps = steps_of(first, "chain", "student")
        attempt = Attempt(id="a", stage="sample", index=0, kind="sampled", steps=steps)
        second = await ask(prompts.load("chains_try_again").render(problem, attempt), 2 * k + 1)
        return chains.answer(first) == problem.answer, chains.answer(second) == problem.answer

    found = Counter(await asyncio.gather(*(both(k, p) for k, p in enumerate(problems))))
    await engine.close()
    return found


def share(part: int, whole: int) -> str:
    """A share with half the width of its 95 % interval."""
    p = part / whole if whole else 0.0
    return f"{100 * p:.1f} +- {196 * math.sqrt(p * (1 - p) / max(1, whole)):.1f} %"


def row(name: str, rows: int | str, found: Counter[tuple[bool, bool]]) -> tuple[str, ...]:
    total = found.total()
    right = found[True, True] + found[True, False]
    return (
        name, str(rows), share(right, total), share(found[True, True] + found[False, True], total),
        share(found[False, True], total - right), share(found[True, False], right),
    )  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("out/rounds"))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--problems", type=int, default=1000, help="new problems to measure on")
    parser.add_argument("--set", action="append", default=[])
    args = parser.parse_args()
    changes = (f"iterate.train={TRAIN!r}", *args.set)
    options = Options(recipe=RECIPE, out=args.out, changes=changes)
    done = iterate(options, lambda *_: None, rounds=args.rounds, tell=lambda line: print(line, flush=True))
    rng = random.Random(seed(rounds="problems"))
    source = procedural(count=args.problems, operations=(3, 7), distractors=(0, 3), seed=rng.randrange(2**31))
    problems = [e.problem for e in source if isinstance(e, Episode)]
    table = [("student", "rows trained on", "first turn", "second turn", "mended", "broken")]
    table.append(row("as shipped", "-", asyncio.run(two_turns(None, problems))))
    for r in done:
        found = asyncio.run(two_turns(args.out / "models" / r.training.name, problems))
        table.append(row(f"after round {r.round}", r.training.metrics["rows"], found))
    print(columns(table))


if __name__ == "__main__":
    main()
