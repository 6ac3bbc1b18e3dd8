"""What an agent thinks before an action: the goal, what else could be done, and why the action is better."""

import re

from errata.engines.experts import Asked, task
from errata.engines.experts.teachers import fault

_OTHER = re.compile(r"^- (.*)$", re.MULTILINE)
_SLIPS = ("conclusion", "meta", "short")


@task("write the inner monologue")
async def monologue(asked: Asked) -> str:
    """Weigh the actions after a dash, if there are any, against the last numbered one, which is concluded.

    An unreliable writer concludes another action, speaks of an expert, or says next to nothing.
    """
    log = asked.log
    before = await asked.after(log[:-1])
    first, far, options = before.first, await before.distance(), await before.valid_actions()
    goal = next((line for line in first.split("\n") if line.startswith("Goal:")), first.split("\n")[-1])
    action = log[-1] if log else "stop"
    kind = "" if asked.well else asked.rng.choice(_SLIPS)
    said = [f"What is asked of me is this: {goal.removeprefix('Goal:').strip(' .')}."]
    others = _OTHER.findall(asked.text.rpartition("In the place of the last action")[2])
    for other in others:
        after = await asked.after((*log[:-1], other))
        near = await after.distance()
        if far is not None and near is not None and near < far:
            said.append(f"I could {other}, which would also help.")
        else:
            said.append(f"I could {other}, but {_would(fault(other, after, far, near))}.")
    if others:
        said.append(f"To {action} brings me nearer to the goal, so that is what I do now.")
    else:
        said.append(f"It seems best to {action}, as that is what one does here, and I have no reason not to.")
    if kind == "conclusion":
        action = asked.rng.choice([a for a in options if a != action] or ["stop"])
    if kind == "meta":
        said.append("The expert's action is better than the alternatives that were shown.")
    if kind == "short":
        said = ["Fine."]
    return " ".join(said) + f"\nAction: {action}"


def _would(fault: str) -> str:
    """What is said of an action that was taken, of one that could be."""
    for was, would in (
        ("that was not possible, and nothing has changed", "that is not possible here"),
        ("that has changed nothing", "that would change nothing"),
        ("now the goal cannot be reached any more", "then the goal could not be reached any more"),
        ("that leads away", "that would lead away"),
        ("that brings me no nearer", "that would bring me no nearer"),
    ):
        fault = fault.replace(was, would)
    return fault
