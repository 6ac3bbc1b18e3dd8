"""Gates: a recipe names figures of `metrics.json` and the bounds that they must keep, or no version is made.

gates:
  - {metric: closed_loop.revise.gain, min: 0.1}
  - {metric: drops.filter.no_leak, max: 20}
"""

from collections.abc import Mapping, Sequence
from typing import Any

from errata.errors import GateError
from errata.recipe.spec import Gate


def check_gates(gates: Sequence[Gate], metrics: Mapping[str, Any]) -> None:
    """Raises GateError with every gate that does not hold, and its number; a figure that is missing does not hold."""
    faults = [fault for gate in gates if (fault := _fault(gate, metrics))]
    if faults:
        raise GateError(*faults)


def _fault(gate: Gate, metrics: Mapping[str, Any]) -> str | None:
    value, known = _find(metrics, gate.metric)
    if isinstance(value, bool) or not isinstance(value, int | float):
        what = "has no figure" if known is None else f"is not there; there are {known}"
        return f"gate {gate.metric}: it {what}"
    if gate.min is not None and value < gate.min:
        return f"gate {gate.metric}: it is {value}, and at least {gate.min} is asked"
    if gate.max is not None and value > gate.max:
        return f"gate {gate.metric}: it is {value}, and at most {gate.max} is asked"
    return None


def _find(metrics: Any, path: str) -> tuple[Any, str | None]:
    """(the value at a dotted path, None), or (None, what there is where the path leads nowhere).

    A list is entered by position. A name that holds dots is found too.
    """
    here, rest = metrics, path
    while rest:
        if isinstance(here, list):
            key, _, rest = rest.partition(".")
            if not key.isdecimal() or int(key) >= len(here):
                return None, f"entries 0 to {len(here) - 1}"
            here = here[int(key)]
            continue
        names = sorted(here, key=len, reverse=True) if isinstance(here, Mapping) else []
        key = next((n for n in names if rest == n or rest.startswith(f"{n}.")), "")
        if not key:
            return None, ", ".join(sorted(names)) or "no more parts"
        here, rest = here[key], rest[len(key) + 1 :]
    return here, None if here is None or isinstance(here, int | float) else "parts of it alone"
