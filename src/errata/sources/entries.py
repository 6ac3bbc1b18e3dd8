"""The entries of `attempts` in a recipe: which fields an attempt is read from, and what is wrong with them."""

import re
from collections.abc import Mapping
from typing import Any

from errata.records.segment import RULES
from errata.sources.columns import Expression, parse_map

CRITIC_FIELDS = ("critique", "critique_label", "critic")
BODIES = ("text", "steps", "turns", "trajectory")
ATTEMPT_FIELDS = (*BODIES, "label", "reward", "first_error", "reason", "model", *CRITIC_FIELDS)


def groups_of(attempts: Any) -> tuple[tuple[dict[str, Expression], ...], list[str]]:
    """The expressions of each entry, and what is wrong with them."""
    if not isinstance(attempts, list | tuple) or not attempts or not all(isinstance(a, Mapping) for a in attempts):
        return (), ["attempts is a list of entries such as {text: solution, label: is_correct}"]
    groups, faults = [], []
    for k, entry in enumerate(attempts):
        group, wrong = parse_map(entry, ATTEMPT_FIELDS, f"attempts.{k}")
        if sum(name in entry for name in BODIES) != 1:
            wrong.append(f"attempts.{k} needs one of `text`, `steps`, `turns` and `trajectory`")
        elif "turns" in entry and (more := sorted(set(entry) - {"turns", "label", "model", "critic"})):
            wrong.append(f"attempts.{k}: turns go with label, model and critic, not with {', '.join(more)}")
        elif any("trajectory" in other for other in attempts) and "trajectory" not in entry:
            wrong.append(f"attempts.{k} is no `trajectory`, and others are: they have no common prompt")
        elif {"label", "reward"} <= set(entry):
            wrong.append(f"attempts.{k} has a label and a reward: which one is to be believed?")
        elif "reason" in entry and "first_error" not in entry:
            wrong.append(f"attempts.{k} has a reason for no `first_error`")
        elif "turns" not in entry and "critique" not in entry and any(name in entry for name in CRITIC_FIELDS):
            wrong.append(f"attempts.{k} has a label or a name for no `critique`")
        elif (
            not wrong
            and "turns" not in entry
            and not body(group).many
            and any(e.many for n, e in group.items() if n not in CRITIC_FIELDS)
        ):
            wrong.append(f"attempts.{k}: `*` in a label needs `*` in the text or steps, one attempt an item")
        groups.append(group)
        faults += wrong
    return tuple(groups), faults


def trajectory_faults(columns: Mapping[str, str], prompt: str) -> list[str]:
    """What is wrong with a problem whose attempts are trajectories."""
    told = prompt or "problem" in columns
    return ["trajectories bring their own prompt: leave out `prompt` and the column `problem`"] if told else []


def choice_faults(segment: str, label_base: int, null_first_error: str) -> list[str]:
    """What is wrong with the ways to cut and to count."""
    faults = []
    if segment not in RULES:
        faults.append(f"segment {segment!r} is no rule: there are {', '.join(RULES)}")
    if label_base not in (0, 1):
        faults.append(f"label_base is {label_base!r}: steps are counted from 0 or from 1")
    if null_first_error not in ("no_error", "unknown"):
        faults.append(f"null_first_error is {null_first_error!r}: it is no_error or unknown")
    return faults


def pattern_faults(error: str, no_error: str) -> list[str]:
    """What is wrong with the patterns that read a critique."""
    faults = []
    for name, pattern, groups in (("critique_error", error, 1), ("critique_no_error", no_error, 0)):
        try:
            if pattern and re.compile(pattern).groups < groups:
                faults.append(f"{name} {pattern!r} needs a group, e.g. (\\d+), for the step's number")
        except re.error as fault:
            faults.append(f"{name} {pattern!r} is no pattern: {fault}")
    return faults


def body(group: Mapping[str, Expression]) -> Expression:
    """The expression of the attempt itself."""
    return next(group[name] for name in BODIES if name in group)
