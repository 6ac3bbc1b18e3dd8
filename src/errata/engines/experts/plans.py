"""Writing a whole plan at once, right or with an error of a known kind, and judging one as a model would."""

from errata.engines.experts import Asked, task
from errata.environments.hosts import reward
from errata.errors import EngineError

HEED = 0.5
"""How likely each feedback in the conversation is heeded: the plan after it is then right."""


@task("one action a line")
async def plan(asked: Asked) -> str:
    """A shortest plan; one that is to be wrong leaves an action out, takes another object, or stops too early."""
    gold = await (await asked.after(())).gold_actions()
    if not gold:
        raise EngineError("expert_cannot", "the world knows no plan for this task")
    told = sum(m.role == "assistant" for m in asked.messages)
    heeded = any(asked.rng.random() < HEED for _ in range(told))
    lines = list(gold) if asked.well or heeded else await _slipped(asked, list(gold))
    return "\n".join(lines)


async def _slipped(asked: Asked, gold: list[str]) -> list[str]:
    """A plan that cannot be right: a shorter one than the shortest; or one with another action at a place."""
    rng = asked.rng
    at = rng.randrange(len(gold))
    kind = rng.choice(("skipped_precondition", "wrong_object", "premature_stop")) if len(gold) > 1 else "wrong_object"
    if kind == "premature_stop":
        return gold[: max(1, at)]
    if kind == "skipped_precondition":
        return gold[:at] + gold[at + 1 :]
    options = [a for a in await (await asked.after(gold[:at])).valid_actions() if a != gold[at]]
    same = [a for a in options if a.split()[0] == gold[at].split()[0]]
    return [*gold[:at], rng.choice(same or options), *gold[at + 1 :]] if options else gold[:at] + gold[at + 1 :]


@task("first wrong action")
async def check(asked: Asked) -> str:
    """The number, from 1, of the first action of the numbered plan that the world refuses, and its words; or none.

    One more than the last where the plan ends too early. A judge that errs finds no error, or one in a right plan.
    """
    log = asked.log
    session = await asked.after(log)
    wrong = next((i for i, turn in enumerate(session.turns) if not turn.valid), None)
    if wrong is not None:
        number, why = wrong + 1, session.turns[wrong].observation
    elif reward(session) < asked.task.success:
        number, why = len(log) + 1, "The goal is not reached."
    else:
        number, why = 0, "Every action is possible, and the goal is reached."
    if not asked.well:
        number = 0 if number else asked.rng.randrange(len(log)) + 1
        why = "It looks that way."
    return f"{why}\nFirst wrong action: {number or 'none'}"
