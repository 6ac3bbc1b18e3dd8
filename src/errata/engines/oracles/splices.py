"""Tasks of the methods that weave wrong steps into right solutions: what is wrong with the step that was just made."""

import re

from errata.chains import answer
from errata.engines.oracles import Asked, task

CLEAR = "The step is right"


@task("what is the error")
def reflection(asked: Asked) -> str:
    """The reason why the last step is wrong, or that it is right; badly answered, a reason that is none."""
    said = asked.attempt
    found = asked.finding
    if asked.well:
        return found.why if found and found.step == len(said) - 1 else CLEAR
    last = said[-1].strip() if said else ""
    if answer(last) is not None or not last:
        return f"{asked.chain.target} is not known yet"
    return f"{last.split()[0]} is not {(re.findall(r'[0-9]+', last) or ['0'])[-1]}"
