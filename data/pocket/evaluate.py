"""Measure the pocket student: accuracy by difficulty, the kinds and places of its errors, and how it revises.

    python data/pocket/evaluate.py [--problems 200] [--temperature 1.0]

Problems are new: their seed is the evaluation's own. Needs errata alone, no torch.
"""

import argparse
import asyncio
from collections import Counter
from collections.abc import Iterable

from errata import chains, prompts
from errata.engines.base import Request, Sampling
from errata.engines.pocket import Pocket
from errata.records.ids import seed
from errata.records.types import Attempt, Critique, Episode, Problem
from errata.reports.show import columns
from errata.sources.procedural import procedural
from errata.stages.base import steps_of


async def ask(engine: Pocket, prompt: str, parts: tuple[object, ...], k: int, temperature: float) -> str:
    """One reply to a prompt file rendered with a problem and, perhaps, an attempt and a critique."""
    messages = prompts.load(prompt).render(*parts)  # type: ignore[arg-type]
    sampling = Sampling(temperature=temperature, max_tokens=240)
    key = seed(evaluation=prompt, messages=[m.content for m in messages], k=k)
    return (await engine.generate(Request(messages=messages, sampling=sampling, seed=key))).text


async def ask_all(engine: Pocket, prompt: str, parts: Iterable[tuple[object, ...]], temperature: float) -> list[str]:
    return list(await asyncio.gather(*(ask(engine, prompt, p, k, temperature) for k, p in enumerate(parts))))


def right(problem: Problem, text: str) -> bool:
    return chains.answer(text) == problem.answer


def share(flags: Iterable[bool]) -> str:
    found = list(flags)
    return f"{100 * sum(found) / len(found):.0f} %" if found else "-"


def attempt(text: str) -> Attempt:
    return Attempt(id="a", stage="sample", index=0, kind="sampled", steps=steps_of(text, "chain", "student"))


def critique(problem: Problem, text: str) -> Critique:
    """The oracle's critique."""
    chain = chains.parse(problem.text)
    assert chain is not None  # the source made it
    said = chains.critique(chains.first_error(chain, text.split("\n")))
    return Critique(id="c", attempt="a", stage="critique", index=0, source="teacher", verdict="error", text=said)


async def measure(count: int, temperature: float) -> None:
    engine = Pocket()
    kinds: Counter[str] = Counter()
    places: Counter[int] = Counter()
    head = "mended with a critique", "mended by 'again'", "broken by 'again'", "critiques right"
    rows = [("operations", "greedy", f"sampled, T = {temperature:g}", *head)]
    for operations in range(3, 13):
        items = procedural(count=count, operations=(operations, operations), seed=20_261_120, split="test")
        problems = [i.problem for i in items if isinstance(i, Episode)]
        greedy = await ask_all(engine, "solve", ((p,) for p in problems), 0.0)
        drawn = await ask_all(engine, "solve", ((p,) for p in problems), temperature)
        wrong = [(p, t) for p, t in zip(problems, drawn, strict=True) if not right(p, t)]
        good = [(p, t) for p, t in zip(problems, drawn, strict=True) if right(p, t)]
        told = await ask_all(engine, "chains_revise", ((p, attempt(t), critique(p, t)) for p, t in wrong), temperature)
        again = await ask_all(engine, "chains_try_again", ((p, attempt(t)) for p, t in wrong), temperature)
        kept = await ask_all(engine, "chains_try_again", ((p, attempt(t)) for p, t in good), temperature)
        said = await ask_all(engine, "chains_critique", ((p, attempt(t)) for p, t in wrong), 0.0)
        for problem, text in wrong:
            chain = chains.parse(problem.text)
            found = chains.first_error(chain, text.split("\n")) if chain else None
            if found:
                kinds[found.kind] += 1
                places[min(9, 10 * found.step // max(1, len(text.split("\n"))))] += 1
        rows.append(
            (
                str(operations), share(right(p, t) for p, t in zip(problems, greedy, strict=True)),
                share(right(p, t) for p, t in zip(problems, drawn, strict=True)),
                share(right(p, t) for (p, _), t in zip(wrong, told, strict=True)),
                share(right(p, t) for (p, _), t in zip(wrong, again, strict=True)),
                share(not right(p, t) for (p, _), t in zip(good, kept, strict=True)),
                share(critique(p, t).text == s for (p, t), s in zip(wrong, said, strict=True)),
            )
        )  # fmt: skip
    await engine.close()
    print(columns(rows, right=range(7)))
    print("\nfirst errors by kind:", ", ".join(f"{k} {n}" for k, n in kinds.most_common()))
    print("by tenth of the solution:", " ".join(str(places[i]) for i in range(10)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--problems", type=int, default=200, help="problems of each difficulty")
    parser.add_argument("--temperature", type=float, default=1.0)
    args = parser.parse_args()
    asyncio.run(measure(args.problems, args.temperature))


if __name__ == "__main__":
    main()
