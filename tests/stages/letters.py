"""A world that a test can see through: spell a word, letter by letter; a wrong letter can be taken back by `undo`.

A wrong letter that stands in the spec's `ink` cannot be taken back: the episode is lost. With a `clock` every answer
holds the number of the action, so that what comes after a changed beginning is answered in other words.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from msgspec.structs import replace

from errata.environments.base import DEAD_END, Turn
from errata.environments.hosts import open_now
from errata.records.ids import canonical, digest
from errata.records.types import Attempt, Episode, Estimate, Message, Pair, Problem, Task, Verdict
from errata.registry import environment
from errata.stages.agent import observed, spoken

NAME = f"{Path(__file__).resolve()}:Letters"


@environment(version=1)
class Letters:
    """Spell the word; the reward is the share of it that is written, and nothing while a letter is wrong."""

    instructions: ClassVar[str] = "Spell the word, a letter at a time."
    snapshots: ClassVar[bool] = True

    def reset(self, spec: Mapping[str, Any]) -> str:
        self.spec, self.said, self.over, self.time = dict(spec), "", False, 0
        return f"The word is {spec['word']}."

    def step(self, action: str) -> Turn:
        self.time += 1
        clock = f" at {self.time}" if self.spec.get("clock") else ""
        word, before = self.spec["word"], self.said
        if not self.over and action == "look":
            return Turn(observation=f"There stands {before!r}{clock}.", reward=self.reward(), changed=False)
        if not self.over and action == "undo" and before:
            self.said = before[:-1]
        elif not self.over and len(action) == 1 and action.isalpha():
            self.said += action
        else:
            return Turn(
                observation=f"Nothing happens{clock}.", reward=self.reward(), done=self.over, valid=False, changed=False
            )
        self.over = self.said == word or self.distance() == DEAD_END
        return Turn(observation=f"You wrote {action}{clock}.", reward=self.reward(), done=self.over)

    def reward(self) -> float:
        return len(self.said) / len(self.spec["word"]) if self.right() == len(self.said) else 0.0

    def right(self) -> int:
        """Letters that are right from the left."""
        word, said = self.spec["word"], self.said
        return next((i for i, c in enumerate(said) if word[i : i + 1] != c), len(said))

    def valid_actions(self) -> tuple[str, ...]:
        return () if self.over else (*sorted(set(self.spec["word"])), "undo")

    def gold_actions(self) -> tuple[str, ...] | None:
        if self.distance() == DEAD_END:
            return None
        return (*["undo"] * (len(self.said) - self.right()), *self.spec["word"][self.right() :])

    def distance(self) -> float | None:
        wrong = self.said[self.right() :]
        if set(wrong) & set(self.spec.get("ink", "")):
            return DEAD_END
        return len(wrong) + len(self.spec["word"]) - self.right()

    def checks(self) -> dict[str, bool]:
        return {"spelled": self.said == self.spec["word"]}

    def snapshot(self) -> Any:
        return dict(self.spec), self.said, self.over, self.time

    def restore(self, state: Any) -> None:
        self.spec, self.said, self.over, self.time = dict(state[0]), *state[1:]


def spell(word: str, **options: Any) -> Problem:
    """The task to spell a word."""
    spec = {"word": word, **options}
    message = Message(role="user", content=f"The word is {word}.")
    task = Task(world=NAME, spec=canonical(spec))
    return Problem(id=digest(spec=canonical(spec)), messages=(message,), verifier="world", task=task)


def leaf(of: Problem, said: Sequence[str], index: int = 0) -> tuple[Attempt, Verdict]:
    """A path of a tree that does this, as the search would leave it; `stop` is the agent's own end."""
    assert of.task is not None
    world, _ = open_now(of.task)
    steps, reward, outcome = [], 0.0, "fail"
    for i, text in enumerate(said):
        turn = spoken(text, 2 * i)
        if turn[-1].text == "stop":
            steps += [replace(turn[-1], role="answer")]
            break
        answer = world.step(turn[-1].text.removeprefix("Action: "))
        reward, outcome = answer.reward, "pass" if answer.reward == 1 else "fail"
        steps += [*turn, observed(answer.observation, 2 * i + 1)]
    id = digest(leaf=list(said), of=of.id)
    made = Attempt(id=id, stage="tree", index=index, kind="search", steps=tuple(steps))
    said_ = Verdict(target=id, stage="tree", verifier="world", version=1, outcome=outcome, score=reward)  # type: ignore[arg-type]
    return made, said_


def grove(of: Problem, *paths: Sequence[str]) -> Episode:
    """An episode with a tree of these paths, each visited once."""
    both = [leaf(of, path, i) for i, path in enumerate(paths)]
    estimates = [
        Estimate(target=a.id, stage="tree", name=name, value=v.score or 0.0, n=1, step=i)
        for a, v in both
        for i, s in enumerate(a.steps)
        for name in ("q", "prior")
        if s.role in ("action", "answer")
    ]
    attempts, verdicts = tuple(a for a, _ in both), tuple(v for _, v in both)
    return Episode(problem=of, attempts=attempts, verdicts=verdicts, estimates=tuple(estimates))


def paired(of: Problem, good: Sequence[str], bad: Sequence[str], step: int) -> Episode:
    """A good and a bad path, and the pair of them that begins with the same `step` steps."""
    e = grove(of, good, bad)
    a, b = e.attempts
    pair = Pair(
        id=digest(pair=a.id + b.id), stage="pair_paths", index=0, rule="paths", chosen=a.id, rejected=b.id, step=step
    )
    return replace(e, pairs=(pair,))
