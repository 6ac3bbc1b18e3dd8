"""A sneaky generator (SPC): the oracle makes the last step of a partial solution wrong."""

from collections.abc import Mapping

from errata import chains
from errata.engines.oracles import Asked, task
from errata.errors import EngineError

_KINDS = ("operand", "arithmetic", "operator")


@task("make the last step wrong")
def sneaky(asked: Asked) -> Mapping[str, str]:
    """The last step with one operand, operator or result changed; asked badly, the step as it was.

    Raises EngineError where the last step is none that computes something.
    """
    step = asked.attempt[-1].strip() if asked.attempt else ""
    words = step.split()
    # name is left op right = a op b so name is value
    if len(words) != 13 or words[5] != "=" or not all(words[i].isdigit() for i in (6, 8, 12)):
        raise EngineError("oracle_cannot", "there is no step that computes something to make wrong")
    if not asked.well:
        return {"error_type": "none", "step": step}
    modulus = asked.chain.modulus
    kind = asked.rng.choice(_KINDS)
    if kind == "operator":
        words[7] = asked.rng.choice([o for o in chains.OPERATIONS if o != words[7]])
        words[3] = words[7]
    else:
        at = 12 if kind == "arithmetic" else asked.rng.choice((6, 8))
        words[at] = str((int(words[at]) + asked.rng.randrange(1, modulus)) % modulus)
    if kind != "arithmetic":
        words[12] = str(chains.apply(words[7], int(words[6]), int(words[8]), modulus))
    return {"error_type": kind, "step": " ".join(words)}


@task("is the last step right")
def step_critic(asked: Asked) -> str:
    """What is wrong with the last step of a partial solution, if anything; asked badly, the contrary."""
    found = asked.finding
    last = len(asked.attempt) - 1
    wrong = found is not None and found.step == last
    if not asked.well:
        found = None if wrong else chains.Finding(last, "operand", "one value is not the one before")
    elif not wrong:
        found = None
    if "Wrong step:" not in asked.text:
        return chains.critique(found)
    return f"{chains.critique(found)}\nWrong step: {found.step + 1 if found else 'none'}"
