"""The oracle as one of several critics, and as the meta-critic who weighs their remarks."""

import re
from collections.abc import Mapping
from typing import Any

from errata import chains
from errata.engines.oracles import Asked, task

_CRITIC = re.compile(r"^Critic (\d+):", re.MULTILINE)
_UNIT = re.compile(r"^- unit (\d+), step (\d+|None), ([^,]*), (\w+): (.*)$", re.MULTILINE)
_NITPICK = "the solution could be put in fewer words"


@task("write the criteria for this task")
def criteria(asked: Asked) -> str:
    """What any chain must fulfil."""
    return (
        "Each step computes one value by its definition\n"
        "Each operand is given or was computed before\n"
        f"The end states the value of {asked.chain.target}"
    )


@task("find every flaw, one unit each")
def units(asked: Asked) -> Mapping[str, Any]:
    """The first error as a unit, sometimes with a remark on style; a wrong place where it is not answered well."""
    steps, found = asked.attempt, asked.finding
    if not asked.well:
        places = [i for i in range(len(steps)) if found is None or i != found.step]
        found = chains.Finding(asked.rng.choice(places), "operand", "it is not right") if places else None
    made = [_unit(found, steps)] if found else []
    if steps and asked.rng.random() < 0.3:
        style = {"step": len(steps) - 1, "quote": steps[-1].strip(), "kind": "style", "severity": "minor"}
        made.append({**style, "text": _NITPICK, "advice": ""})
    return {"first_error": found.step if found else -1, "findings": made, "text": chains.critique(found)}


def _unit(found: chains.Finding, steps: tuple[str, ...]) -> dict[str, Any]:
    quote = steps[found.step].strip() if found.step < len(steps) else ""
    severity = "fatal" if found.kind in ("premature", "answer") else "serious"
    return {
        "step": found.step, "quote": quote, "kind": found.kind, "severity": severity,
        "text": chains.critique(found), "advice": "",
    }  # fmt: skip


@task("weigh every unit and sum up")
def meta(asked: Asked) -> Mapping[str, Any]:
    """Valid is a unit that names the first error; the sum says no more. One that judges badly turns both about."""
    truth = asked.finding
    parts = _CRITIC.split(asked.text)[1:]
    judged = []
    for critic, listed in zip(parts[::2], parts[1::2], strict=True):
        for unit, step, kind, _, words in _UNIT.findall(listed):
            real = truth is not None and step == str(truth.step) and _NITPICK not in words
            right = truth.kind if real and truth else kind
            judged.append({"critic": int(critic), "unit": int(unit), "valid": real == asked.well, "kind": right})
    found = truth if asked.well and any(unit["valid"] for unit in judged) else None
    return {"units": judged, "first_error": found.step if found else -1, "text": chains.critique(found)}
