"""What an agent thinks before an action: the goal, what else could be done, and why the action is better."""

import re

from errata.engines.experts import Asked, task
from errata.environments.base import DEAD_END
from errata.environments.hosts import Session

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
    said = [f"Looking at the goal: {goal.removeprefix('Goal:').strip(' .')}."]
    others = _OTHER.findall(asked.text.rpartition("In the place of the last action")[2])
    for other in others:
        after = await asked.after((*log[:-1], other))
        said.append(f"What about {other}? I think {_outcome(after, far, await after.distance())}.")
    if others:
        said.append(f"I will {action}: it will lead to the goal.")
    else:
        said.append(f"I think that this is right and that it will help, so I do it now: {action}.")
    if kind == "conclusion":
        action = asked.rng.choice([a for a in options if a != action] or ["stop"])
    if kind == "meta":
        said.append("The expert's action is better than the alternatives that were shown.")
    if kind == "short":
        said = ["Fine."]
    return " ".join(said) + f"\nAction: {action}"


def _outcome(after: Session, before: float | None, now: float | None) -> str:
    """What is thought of an action from what came of it, in words that the pocket agent knows."""
    turn = after.turns[-1]
    if not turn.valid or not turn.changed:
        return "it would do nothing"
    if now == DEAD_END:
        return "the goal would be lost"
    if before is None or now is None or now == before:
        return "it would not help"
    return "it would help" if now < before else "it would lead away from the goal"
