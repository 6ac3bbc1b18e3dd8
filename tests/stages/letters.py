"""A world that a test can see through: spell a word, letter by letter; a wrong letter can be taken back by `undo`.

A letter that stands in the spec's `ink` cannot be taken back, so that a wrong one of them is a dead end, and `loud`
letters are answered in words that depend on what stood there before: what comes after a changed beginning is then
answered in other words.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from errata.environments.base import DEAD_END, Turn
from errata.records.ids import canonical, digest
from errata.records.types import Message, Problem, Task
from errata.registry import environment

NAME = f"{Path(__file__).resolve()}:Letters"


@environment(version=1)
class Letters:
    """Spell the word; the reward is the share of its letters that stand right from the left, all or nothing at 1."""

    instructions: ClassVar[str] = "Spell the word, a letter at a time."
    snapshots: ClassVar[bool] = True

    def reset(self, spec: Mapping[str, Any]) -> str:
        self.spec, self.said, self.over = dict(spec), "", False
        return f"The word is {spec['word']}."

    def step(self, action: str) -> Turn:
        word, before = self.spec["word"], self.said
        action = action.lower()
        if self.over:
            return Turn(observation="It is over.", reward=self.reward(), done=True, valid=False, changed=False)
        if action == "undo" and before and before[-1] not in self.spec.get("ink", ""):
            self.said = before[:-1]
        elif len(action) == 1 and action.isalpha() and len(before) < 2 * len(word):
            self.said += action
        else:
            return Turn(observation="Nothing happens.", reward=self.reward(), valid=False, changed=False)
        self.over = self.said == word
        shown = self.said if action in self.spec.get("loud", "") else action
        return Turn(observation=f"You wrote {shown}.", reward=self.reward(), done=self.over)

    def reward(self) -> float:
        word = self.spec["word"]
        return self.right() / len(word) if self.said == word[: len(self.said)] else 0.0

    def right(self) -> int:
        pairs = zip(self.said, self.spec["word"], strict=False)
        return next((i for i, (a, b) in enumerate(pairs) if a != b), min(len(self.said), len(self.spec["word"])))

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
        return dict(self.spec), self.said, self.over

    def restore(self, state: Any) -> None:
        self.spec, self.said, self.over = dict(state[0]), state[1], state[2]


def spell(word: str, **options: Any) -> Problem:
    """The task to spell a word."""
    spec = {"word": word, **options}
    message = Message(role="user", content=f"The word is {word}.")
    task = Task(world=NAME, spec=canonical(spec))
    return Problem(id=digest(spec=canonical(spec)), messages=(message,), verifier="world", task=task)
