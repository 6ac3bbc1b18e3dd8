"""Measure the pocket agent: success by world and difficulty, how its episodes fail, and how well it judges its actions.

    python data/pocket_agent/evaluate.py [--model FOLDER] [--tasks 200] [--temperature 1.0]

Tasks are of the test split, which training saw nothing of. Needs errata alone, no torch.
"""

import argparse
import asyncio
import math
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from errata import prompts
from errata.engines.base import Request, Sampling
from errata.engines.pocket import Pocket
from errata.environments.base import Turn
from errata.environments.hosts import Worlds
from errata.errors import EngineError
from errata.records.ids import seed as hashed
from errata.records.trajectory import action_of
from errata.records.types import Attempt, Episode, Message, Problem, Step
from errata.reports.show import columns
from errata.sources.worlds import worlds
from errata.statistics import wilson

BANDS = {"crafting": (2, 3), "house": (1, 1)}
"""Difficulties at which the agent neither fails nor succeeds nearly always."""
LIMIT = 20


class Played(NamedTuple):
    """An episode that the agent played."""

    problem: Problem
    said: list[str]
    turns: list[Turn]
    distances: list[float]
    """Before the first action, and after each."""

    @property
    def success(self) -> bool:
        return bool(self.turns) and self.turns[-1].reward == 1

    @property
    def labels(self) -> list[str]:
        """Of each action, whether it was good, bad or uncertain."""
        pairs = zip(self.distances, self.distances[1:], strict=False)
        return ["good" if b < a else "bad" if b > a else "uncertain" for a, b in pairs]

    @property
    def failure(self) -> str:
        """What kept the agent from the goal."""
        if math.isinf(self.distances[-1]):
            return "goal lost"
        last = [action_of(s) for s in self.said[-6:]]
        if len(last) == 6 and len(set(last)) <= 2:
            return "loop"
        return "step limit" if len(self.turns) == LIMIT else "context full"


def tasks(world: str, difficulty: tuple[int, int], count: int, seed: int = 20_261_121) -> list[Problem]:
    """Problems of the test split whose only message is the world's first observation."""
    items = worlds(world=world, count=count, difficulty=difficulty, seed=seed, split="test", instructions=False)
    return [i.problem for i in items if isinstance(i, Episode)]


async def ask(engine: Pocket, messages: Sequence[Message], key: int, temperature: float) -> str:
    sampling = Sampling(temperature=temperature, max_tokens=160)
    return (await engine.generate(Request(messages=tuple(messages), sampling=sampling, seed=key))).text


async def play(engine: Pocket, problem: Problem, temperature: float, key: int = 0) -> Played:
    """One episode."""
    assert problem.task is not None  # the source made it
    session = await Worlds().open(problem.task)
    messages = list(problem.messages)
    played = Played(problem, [], [], [await session.distance() or 0.0])
    for i in range(LIMIT):
        try:
            text = await ask(engine, messages, hashed(play=problem.id, key=key, turn=i), temperature)
        except EngineError as error:
            if error.code != "too_long":
                raise
            break
        turn = await session.step(action_of(text))
        messages += [Message(role="assistant", content=text), Message(role="user", content=turn.observation)]
        played.said.append(text)
        played.turns.append(turn)
        played.distances.append(await session.distance() or 0.0)
        if turn.done:
            break
    return played


async def judged(engine: Pocket, played: Played, at: int, temperature: float) -> str:
    """What the agent says of its own action number `at`."""
    steps = [
        s
        for i in range(at + 1)
        for s in (
            Step(text=played.said[i], role="action", turn=2 * i),
            Step(text=played.turns[i].observation, role="observation", turn=2 * i + 1),
        )
    ]
    prompt = prompts.load("pocket_judge_step")
    asked = prompt.render(played.problem, Attempt(id="a", stage="act", index=0, kind="sampled", steps=tuple(steps)))
    told = prompt.values(await ask(engine, asked, hashed(judge=played.problem.id, at=at), temperature))
    return told["verdict"] if told else "unread"


def share(count: int, of: int) -> str:
    """A percentage with its 95 % interval."""
    if not of:
        return "-"
    low, high = wilson(count, of)
    return f"{100 * count / of:.0f} % ({100 * low:.0f}-{100 * high:.0f})"


def mean(values: Iterable[float]) -> str:
    found = list(values)
    return f"{sum(found) / len(found):.1f}" if found else "-"


async def measure(model: str, count: int, temperature: float) -> None:
    engine = Pocket(model="agent", path=model)
    head = "success", "turns", "turns if solved", "invalid", "bad", "uncertain", "s/episode"
    rows = [("world", "difficulty", *head)]
    failures: list[tuple[str, ...]] = [("world", "goal lost", "loop", "step limit", "context full", "with a bad step")]
    verdicts: list[tuple[str, ...]] = [("world", "bad: precision", "bad: recall", "right", "unread")]
    for world, (low, high) in BANDS.items():
        everything: list[Played] = []
        for difficulty in range(low, high + 1):
            problems = tasks(world, (difficulty, difficulty), count)
            began = time.monotonic()
            played = await asyncio.gather(*(play(engine, p, temperature) for p in problems))
            everything += played
            rows.append((world, str(difficulty), *summary(played), f"{(time.monotonic() - began) / len(played):.3f}"))
        rows.append((world, "all", *summary(everything), ""))
        failed = [p for p in everything if not p.success]
        kinds = Counter(p.failure for p in failed)
        failures.append(
            (world, *(share(kinds[k], len(failed)) for k in failures[0][1:-1]),
             share(sum("bad" in p.labels for p in failed), len(failed)))
        )  # fmt: skip
        verdicts.append((world, *await judging(engine, everything, 2 * count, temperature)))
    await engine.close()
    for table in (rows, failures, verdicts):
        print(columns(table, right=range(1, 9)), end="\n\n")


def summary(played: Sequence[Played]) -> tuple[str, ...]:
    turns = [t for p in played for t in p.turns]
    labels = Counter(label for p in played for label in p.labels)
    return (
        share(sum(p.success for p in played), len(played)), mean(len(p.turns) for p in played),
        mean(len(p.turns) for p in played if p.success), f"{100 * sum(not t.valid for t in turns) / len(turns):.0f} %",
        *(f"{100 * labels[k] / len(turns):.0f} %" for k in ("bad", "uncertain")),
    )  # fmt: skip


async def judging(engine: Pocket, played: Sequence[Played], most: int, temperature: float) -> tuple[str, ...]:
    """Precision and recall of `bad` on the agent's own actions, one an episode, and the share of right verdicts."""
    asked = [(p, hashed(judged=p.problem.id) % len(p.turns)) for p in played if p.turns][:: max(1, len(played) // most)]
    said = await asyncio.gather(*(judged(engine, p, at, temperature) for p, at in asked))
    pairs = Counter((p.labels[at], s) for (p, at), s in zip(asked, said, strict=True))
    hits, told = pairs["bad", "bad"], sum(n for (_, s), n in pairs.items() if s == "bad")
    return (
        share(hits, told), share(hits, sum(n for (label, _), n in pairs.items() if label == "bad")),
        share(sum(n for (label, s), n in pairs.items() if label == s), len(said)),
        share(said.count("unread"), len(said)),
    )  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="", help="a folder; the model that comes with errata")
    parser.add_argument("--tasks", type=int, default=200, help="tasks of each world and difficulty")
    parser.add_argument("--temperature", type=float, default=1.0)
    args = parser.parse_args()
    asyncio.run(measure(args.model, args.tasks, args.temperature))


if __name__ == "__main__":
    main()
