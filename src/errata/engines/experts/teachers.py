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
        "reflection": fault(log[-1] if log else "", after, far, near),
        "thought": f"From here the goal should take {left}.",
        "action": action,
    }


def fault(action: str, after: Session, before: float | None, now: float | None) -> str:
    """What is wrong with an action, in words that give nothing away which the conversation does not hold.

    The pocket agent knows every one of them, so that it can be trained on what is written here.
    """
    turn: Turn | None = after.turns[-1] if after.turns else None
    if action in STOP:
        return "I see now that the goal is not reached."
    if turn is not None and not turn.valid:
        return "Something went wrong: my last action was not done."
    if turn is not None and not turn.changed:
        return "I see now that my last action did nothing."
    if now == DEAD_END:
        return "This is wrong: the goal is lost."
    if before is not None and now is not None and now > before:
        return "I see now that my last action was an error."
    return "My last action does not help."


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
    return f"{said} I must think again."
