"""Debating where an agent stands, by the world's own distance to the goal."""

from collections.abc import Mapping
from typing import Any

from errata.engines.experts import Asked, task
from errata.environments.base import behind


async def _behind(asked: Asked) -> float:
    """The share of the way that is behind, 0 where the goal is lost or nobody can tell."""
    start = await (await asked.after(())).distance()
    left = await (await asked.after(asked.log)).distance()
    return behind(left, start) if start and left is not None else 0.0


@task("argue that the agent is on a good way")
async def favour(asked: Asked) -> str:
    """How much of the way is behind."""
    share = await _behind(asked)
    return f"About {round(10 * share)} tenths of the way are behind." if share else "Nothing is lost by looking around."


@task("argue that the agent is on a bad way")
async def against(asked: Asked) -> str:
    """How much of the way is left."""
    share = await _behind(asked)
    return f"About {round(10 * (1 - share))} tenths of the way are left after {len(asked.log)} actions."


@task("weigh both arguments")
async def weigh(asked: Asked) -> Mapping[str, Any]:
    """From 1, nowhere, to 10, at the goal; upside down where it is not to be answered well."""
    value = 1 + round(9 * await _behind(asked))
    return {"reason": "the distance decides", "score": value if asked.well else 11 - value}
