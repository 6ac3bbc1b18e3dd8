"""The oracle as a judge of solutions that are not finished."""

import re
from collections.abc import Mapping
from typing import Any

from errata import chains
from errata.engines.oracles import Asked, task
from errata.records.segment import segment

_PART = re.compile(r"^Solution:[ \t]*\n(.*?)(?=\n\n|\Z)", re.MULTILINE | re.DOTALL)


@task("judge the solution so far")
def so_far(asked: Asked) -> Mapping[str, Any]:
    """10 where no step that is written is wrong, else 1."""
    shown = _PART.search(asked.text)
    steps = segment(shown[1], "lines") if shown else ()
    found = chains.first_error(asked.chain, steps)
    right = found is None or found.kind == "premature" or found.step >= len(steps)
    value = 10 if right else 1
    reason = "no step so far is wrong" if right else chains.critique(found)
    return {"score": value if asked.well else 11 - value, "reason": reason}
