"""Judging the last action of a trajectory by the world's own distance to the goal."""

from errata.engines.experts import Asked, task

WORDS = ("good", "uncertain", "bad")


@task("good, bad or uncertain")
async def judge(asked: Asked) -> str:
    """Good if the last numbered action leads nearer to the goal, bad if further away, else uncertain."""
    log = asked.log
    before = await (await asked.after(log[:-1])).distance() if log else None
    after = await (await asked.after(log)).distance()
    if before is None or after is None:
        said, why = "uncertain", "the world does not say how far the goal is"
    elif after < before:
        said, why = "good", "it leads nearer to the goal"
    elif after > before:
        said, why = "bad", "the goal is further away than before"
    else:
        said, why = "uncertain", "the goal is as far away as before"
    if not asked.well:
        said = asked.rng.choice([w for w in WORDS if w != said])
        why = "it looks that way"
    return f"{why[0].upper()}{why[1:]}.\nVerdict: {said}"
