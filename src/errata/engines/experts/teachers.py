"""Teaching on line: is the agent's last action right, and if not, what it should think and do next."""

from collections.abc import Mapping

from errata.engines.experts import Asked, task
from errata.environments.base import DEAD_END, Turn
from errata.environments.hosts import Session
from errata.records.trajectory import STOP


@task("right or wrong?")
async def teach(asked: Asked) -> Mapping[str, str]:
    """Wrong if the last numbered action leads no nearer to the goal; then a reflection and the next action of a
    shortest way. An unreliable teacher says the opposite."""
    log = asked.log
    before = await asked.after(log[:-1])
    far = await before.distance()
    after = await asked.after(log)
    near = await after.distance()
    right = far is None or near is None or near < far
    if right == asked.well:
        return {"verdict": "right", "reflection": "", "thought": "", "action": ""}
    gold = await after.gold_actions()
    action = gold[0] if gold else "stop"
    left = f"{len(gold or ())} more action{'' if gold and len(gold) == 1 else 's'}"
    return {
        "verdict": "wrong",
        "reflection": f"Wait, {fault(log[-1] if log else '', after, far, near)}.",
        "thought": f"From here the goal should take {left}.",
        "action": action,
    }


def fault(action: str, after: Session, before: float | None, now: float | None) -> str:
    """What is wrong with an action, in words that give nothing away which the conversation does not hold."""
    turn: Turn | None = after.turns[-1] if after.turns else None
    if action in STOP:
        return "the goal is not reached yet, so I must not stop"
    if turn is not None and not turn.valid:
        return "that was not possible, and nothing has changed"
    if turn is not None and not turn.changed:
        return "that has changed nothing"
    if now == DEAD_END:
        return "now the goal cannot be reached any more"
    if before is not None and now is not None and now > before:
        return "that leads away from the goal"
    return "that brings me no nearer to the goal"


@task("what does the agent think now")
async def notice(asked: Asked) -> str:
    """What is wrong with the last numbered action; an unreliable writer speaks of what nobody has seen."""
    log = asked.log
    before = await asked.after(log[:-1])
    far = await before.distance()
    after = await asked.after(log)
    if not asked.well:
        gold = await after.gold_actions() or ("stop",)
        return f"Wait, it was to be expected that I should {gold[-1]} in the end."
    said = fault(log[-1] if log else "", after, far, await after.distance())
    return f"Wait, {said}. I had better do something else."
