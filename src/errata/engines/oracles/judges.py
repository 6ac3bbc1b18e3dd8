"""The oracle as a judge: right or wrong, the better of two, a score, a list of checks."""

import re
from collections.abc import Mapping
from typing import Any

from errata import chains
from errata.chains import Chain
from errata.engines.oracles import Asked, task
from errata.records.segment import segment

_PART = re.compile(r"^Solution( [AB])?:[ \t]*\n(.*?)(?=\n\n|\Z)", re.MULTILINE | re.DOTALL)


def _solutions(asked: Asked) -> list[tuple[str, ...]]:
    """The steps of each solution that is shown, in order; an empty one has none."""
    return [segment(found[2], "lines") for found in _PART.finditer(asked.text)]


def _merit(chain: Chain, steps: tuple[str, ...]) -> tuple[bool, float]:
    """Whether all of it is right, and else how far it is."""
    found = chains.first_error(chain, steps)
    return found is None, 1.0 if found is None else found.step / max(1, len(steps))


@task("judge whether the solution is right")
def pointwise(asked: Asked) -> Mapping[str, Any]:
    """True for a solution without a wrong step."""
    (steps,) = _solutions(asked) or [()]
    right = _merit(asked.chain, steps)[0]
    return {"correct": right == asked.well, "reason": chains.critique(chains.first_error(asked.chain, steps))}


@task("judge which solution is better")
def pairwise(asked: Asked) -> Mapping[str, Any]:
    """The one that is right, or right for longer; A where both are as good."""
    first, second = (_merit(asked.chain, steps) for steps in (*_solutions(asked), (), ())[:2])
    better = first >= second
    return {"better": "A" if better == asked.well else "B", "reason": "its first wrong step comes later"}


@task("judge how good the solution is")
def score(asked: Asked) -> Mapping[str, Any]:
    """10 for a right solution, less by how early it goes wrong; 1 for a reply that is none."""
    (steps,) = _solutions(asked) or [()]
    right, far = _merit(asked.chain, steps)
    value = 10 if right else 1 + round(5 * far)
    return {"score": value if asked.well else 11 - value, "reason": "how far it is right"}


@task("judge the solution by the checklist")
def checklist(asked: Asked) -> Mapping[str, Any]:
    """What holds up to the first error; without one, all."""
    (steps,) = _solutions(asked) or [()]
    found = chains.first_error(asked.chain, steps)
    kind = found.kind if found else ""
    empty = found is not None and found.step == 0 and kind in ("format", "premature")
    checks = {
        "uses_given": not empty and kind not in ("definition", "order", "operand", "format"),
        "computes": not empty and kind != "arithmetic",
        "answers": bool(steps) and chains.answer(steps[-1]) is not None,
    }
    return {"checks": {name: held == asked.well for name, held in checks.items()}}
