"""The account of a run: what is told while it goes on, and what `run.json` keeps of it and of those before it.

A version may take several runs, some of which are killed: each leaves what it did in the work folder, every ten
seconds, so that the last one can tell of them all.
"""

import json
import platform
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import Any

from errata import __version__
from errata.objects import Location, ObjectPath
from errata.recipe.spec import Recipe
from errata.records.ids import canonical
from errata.reports import outline
from errata.runners.progress import Meter, Progress, Rates
from errata.runners.world import World

EVERY = 10.0
"""Seconds between two notes in the work folder."""
HOUR = 3600.0


@dataclass(frozen=True)
class Status:
    """A run at a moment, for those who watch."""

    name: str
    version: str
    progress: Progress
    rates: Rates
    parts_done: int
    """Committed parts, those of earlier runs included."""
    parts: int | None
    """Of the whole source, where its size is known."""


Watch = Callable[[Status], None]


def problems(recipe: Recipe) -> int | None:
    """How many problems the source gives, where the recipe says so."""
    given = (recipe.source.with_.get("count"), recipe.limit)
    return min((n for n in given if isinstance(n, int)), default=None)


def hourly(recipe: Recipe) -> float:
    """What an hour of the recipe's engines costs; roles that share an engine pay for it once."""
    costs: dict[str, float] = {}
    for engine in recipe.engines.values():
        costs.setdefault(canonical([engine.use, dict(engine.with_)]), engine.price.hour * engine.replicas)
    return sum(costs.values())


class Account:
    """Keeps the account of one run, from its beginning to its end."""

    def __init__(self, recipe: Recipe, version: str, path: Location, *, done: int, watch: Watch, world: World) -> None:
        """`path` is kept up to date and read first; `done` parts need no work."""
        self._recipe, self._version, self._path, self._watch = recipe, version, path, watch
        self._done, self._hourly = done, hourly(recipe)
        total = problems(recipe)
        self._parts = None if total is None else -(-total // recipe.part_size)
        left = None if total is None else max(0, total - done * recipe.part_size)
        self._clock = world.clock
        self._began = self._noted = self._clock()
        self._meter = Meter(began=self._began, episodes=left, calls=sum(a.requests for a in outline.asks(recipe, 0.0)))
        self._earlier = _runs(path)
        self._progress = Progress()
        self._facts: dict[str, Any] = {
            "errata": __version__, "host": platform.node(), "system": platform.platform(), "started": world.wall(),
            "parts_reused": done,
        }  # fmt: skip
        self._look(Progress())
        self.write("going on")

    def note(self, progress: Progress) -> None:
        """Tell who watches, and now and then the work folder."""
        status = self._look(progress)
        self._watch(status)
        if self._clock() - self._noted >= EVERY:
            self._noted = self._clock()
            self.write("going on")

    def write(self, ended: str) -> None:
        """Keep what is known in the work folder; a note that cannot be written is not worth a run."""
        self._facts["ended"] = ended
        data = json.dumps({"runs": [*self._earlier, self._facts]}).encode()
        with suppress(OSError):
            if isinstance(self._path, ObjectPath):
                self._path.put(data)
                return
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._path.write_bytes(data)

    def close(self, **facts: Any) -> dict[str, Any]:
        """What `run.json` says: this run, and those before it under `earlier`."""
        self._look(self._progress)
        return {**self._facts, "ended": "finished", **facts, "earlier": self._earlier}

    def _look(self, progress: Progress) -> Status:
        self._progress = progress
        rates = self._meter.read(self._clock(), progress)
        told = Progress(**asdict(progress))
        told.cost += rates.seconds / HOUR * self._hourly
        self._facts |= {"seconds": rates.seconds, "progress": asdict(told), "rates": asdict(rates)}
        return Status(self._recipe.name, self._version, told, rates, self._done + progress.parts, self._parts)


def _runs(path: Location) -> list[dict[str, Any]]:
    """The runs noted so far; one that was killed while it wrote its note has lost it."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))["runs"]
        return [{**r, "ended": "killed" if r["ended"] == "going on" else r["ended"]} for r in found]
    except (OSError, ValueError, LookupError, TypeError):
        return []
