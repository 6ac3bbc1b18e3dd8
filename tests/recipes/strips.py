"""A second validator of blocksworld plans, written from the PDDL domain alone: sets of facts, four operators."""

import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple

Facts = frozenset[tuple[str, ...]]
NAMES = {"pick up": "pick-up", "put down": "put-down"}


class Found(NamedTuple):
    """What became of a plan: the action that failed, from 1, and its unmet preconditions; else the unmet goal."""

    step: int | None
    unmet: Facts

    @property
    def valid(self) -> bool:
        return self.step is None and not self.unmet


def facts(atoms: Iterable[str]) -> Facts:
    return frozenset(tuple(atom.split()) for atom in atoms)


def plan(text: str) -> list[tuple[str, ...]]:
    """The actions of a text, in PDDL or one a line in the words `stack a on b`."""
    found = [tuple(a.lower().split()) for a in re.findall(r"\(([^()]*)\)", text)]
    if found:
        return found
    lines = [line for line in text.splitlines() if line.strip()]
    for said, name in NAMES.items():
        lines = [line.replace(said, name) for line in lines]
    return [tuple(word for word in line.split() if word not in ("on", "from")) for line in lines]


def validate(init: Iterable[str], goal: Iterable[str], actions: Sequence[tuple[str, ...]]) -> Found:
    """Run a plan; blocks that an action names beyond those that it needs are not looked at."""
    now = facts(init)
    for i, (name, *blocks) in enumerate(actions, 1):
        x, y = blocks[0], blocks[1] if len(blocks) > 1 else ""
        free = ("handempty",)
        if name == "pick-up":
            needs, gone, new = (
                {("clear", x), ("ontable", x), free},
                {("clear", x), ("ontable", x), free},
                {("holding", x)},
            )
        elif name == "put-down":
            needs, gone, new = {("holding", x)}, {("holding", x)}, {("clear", x), ("ontable", x), free}
        elif name == "stack":
            needs = gone = {("clear", y), ("holding", x)}
            new = {("on", x, y), ("clear", x), free}
        else:
            assert name == "unstack", name
            needs = gone = {("on", x, y), ("clear", x), free}
            new = {("holding", x), ("clear", y)}
        if unmet := needs - now:
            return Found(i, frozenset(unmet))
        now = frozenset((now - gone) | new)
    return Found(None, facts(goal) - now)
