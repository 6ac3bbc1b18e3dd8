"""Where the rows of a version come from, and what their makers were shown: counted after the corpus operations."""

from collections import Counter
from collections.abc import Mapping
from typing import Any

import pyarrow.compute as pc

from errata.runners.corpus import stayed
from errata.runners.plan import Plan
from errata.store.parts import Parts

_PROBLEM = ("source", "licence", "verifier")


def origins(plan: Plan, parts: Parts, indices: list[int], dropped: Mapping[str, Mapping[str, str]]) -> dict[str, Any]:
    """The sections `sources` and `seen` of `metrics.json`; the columns of one part are in memory at a time.

    `sources`: one entry for each source, licence and verifier, with its episodes, and its rows by config. `seen`: by
    config, rows by the privileged context that a maker of anything in them saw.
    """
    episodes: Counter[tuple[str, ...]] = Counter()
    rows: dict[tuple[str, ...], Counter[str]] = {}
    seen: dict[str, Counter[str]] = {config: Counter() for config in plan.exports}
    rows_of = {c: stayed(parts, indices, c, ["episode", "seen"], dropped) for c in plan.exports}
    for index in indices:
        problems = parts.read(index, "episodes")["problem"]
        columns = [pc.struct_field(problems, name).to_pylist() for name in ("id", *_PROBLEM)]
        origin = {id: tuple(said) for id, *said in zip(*columns, strict=True)}
        episodes.update(origin.values())
        for config in plan.exports:
            table = next(rows_of[config])
            for episode in table["episode"].to_pylist():
                if episode in origin:  # a careless export's row of no episode is told by errata.store.check
                    rows.setdefault(origin[episode], Counter())[config] += 1
            for names in table["seen"].to_pylist():
                seen[config].update(set(names))
    return {
        "sources": [
            {**dict(zip(_PROBLEM, at, strict=True)), "episodes": n, "rows": dict(sorted(rows.get(at, {}).items()))}
            for at, n in sorted(episodes.items())
        ],
        "seen": {config: dict(sorted(found.items())) for config, found in sorted(seen.items())},
    }
