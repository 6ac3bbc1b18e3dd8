"""Whole runs of a small recipe against a simulator with faults, and everything that can be told of them afterwards.

The engine is the real one and so are runner, journal and store; the faults are those of `errata simulate`, on loopback.
Nothing is taken from the run itself: what is told comes from the files that it left and from the simulator's account.
"""

import asyncio
import contextlib
import functools
import json
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from errata.errors import ErrataError
from errata.records.rows import DpoRow, SftRow
from errata.records.types import Drop, Episode
from errata.runners import job
from errata.runners import options as run_options
from errata.simulate import command
from errata.simulate.options import Options
from errata.store.audit import JournalAudit, audit_journal, check_calls
from errata.store.check import check_dataset
from errata.store.reader import Dataset, open_dataset
from tests.runners.support import Recipe

RECIPE: dict[str, Any] = {
    "name": "small",
    "version": 1,
    "seed": 5,
    "source": {"use": "procedural", "with": {"count": 8, "operations": [3, 5], "distractors": [0, 1]}},
    "engines": {"student": {}, "teacher": {}},
    "stages": [
        {"use": "sample", "with": {"n": 4}},
        {"use": "verify"},
        {"use": "critique"},
        {"use": "revise"},
        {"name": "verify_revisions", "use": "verify", "with": {"of": "revise"}},
        {"use": "splice", "with": {"locations": ["teacher"], "most": 0}},
        {"name": "verify_splices", "use": "verify", "with": {"of": "splice"}},
        {"use": "filter"},
        {"use": "pair", "with": {"most": 0}},
    ],
    "exports": [{"use": "sft"}, {"use": "dpo"}],
}
"""8 problems, about 70 requests; student and teacher are one engine."""
MAX_TOKENS = 200

Once = Callable[[], "Told"]

_FAST = {"step_ms": 0.0, "prefill_rate": 0.0, "lengths": "text"}


class Simulated:
    """A simulator in a thread of its own, for runs that have an event loop of their own."""

    def __init__(self, *faults: str, **options: Any) -> None:
        self._options = Options(**{**_FAST, "fault": faults, **options})
        self._ready, self._end = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()))

    async def _serve(self) -> None:
        async with contextlib.AsyncExitStack() as stack:
            self.urls = [r.url for r in await command.opened(self._options, stack)]
            self._ready.set()
            await asyncio.to_thread(self._end.wait)

    def __enter__(self) -> "Simulated":
        self._thread.start()
        self._ready.wait()
        return self

    def __exit__(self, *error: object) -> None:
        self._end.set()
        self._thread.join()

    def post(self, path: str) -> None:
        """Order a drill, such as `/die?seconds=1`."""
        urllib.request.urlopen(self.urls[0].removesuffix("/v1") + path, data=b"").close()

    def post_once_asked(self, path: str) -> None:
        """Order a drill as soon as the first request has come, however long the run will take."""

        def wait() -> None:
            while not self.account["arrived"]:
                time.sleep(0.005)
            self.post(path)

        threading.Thread(target=wait, daemon=True).start()

    @property
    def account(self) -> dict[str, Any]:
        """What the simulator counted, over all replicas; the first may be away for a moment."""
        ends = time.monotonic() + 5
        while True:
            try:
                with urllib.request.urlopen(self.urls[0].removesuffix("/v1") + "/stats?all=1") as answer:
                    return dict(json.load(answer))
            except urllib.error.URLError:
                if time.monotonic() > ends:
                    raise
                time.sleep(0.05)


class Told:
    """All that a finished or stopped run left: the dataset, its journal, its drops and counters."""

    def __init__(self, out: Path, error: ErrataError | None, account: dict[str, Any]) -> None:
        self.out, self.error, self.account = out, error, account

    @functools.cached_property
    def data(self) -> Dataset:
        """The version, which must be there."""
        assert self.error is None, self.error
        return open_dataset(self.out / "small")

    @functools.cached_property
    def journal(self) -> JournalAudit:
        """What the auditor finds in the journal's files."""
        return audit_journal(self.out / "journal")

    @property
    def hash(self) -> str:
        return self.data.manifest.content_hash

    @functools.cached_property
    def facts(self) -> dict[str, Any]:
        """`run.json`."""
        return dict(json.loads((self.data.path / "_manifest/run.json").read_text()))

    @property
    def stats(self) -> dict[str, int]:
        """The engine's own counters, from `run.json`."""
        return dict(self.facts["engines"]["student"])

    def counted(self, prefix: str) -> dict[str, int]:
        """Those counters that begin so, by the rest of their names."""
        return {k.removeprefix(prefix): n for k, n in self.stats.items() if k.startswith(prefix)}

    @property
    def retries(self) -> dict[str, int]:
        return self.counted("retry_")

    @property
    def flags(self) -> dict[str, int]:
        return self.counted("flag_")

    @functools.cached_property
    def episodes(self) -> list[Episode]:
        return [e for e in self.data.rows("episodes") if isinstance(e, Episode)]

    @functools.cached_property
    def drops(self) -> list[Drop]:
        return [d for d in self.data.rows("drops") if isinstance(d, Drop)]

    @functools.cached_property
    def rows(self) -> list[SftRow | DpoRow]:
        return [r for c in ("sft", "dpo") for r in self.data.rows(c) if isinstance(r, SftRow | DpoRow)]

    @property
    def finishes(self) -> Counter[str]:
        """How the replies in the journal ended."""
        lines = b"".join(p.read_bytes() for p in (self.out / "journal").iterdir()).splitlines()
        return Counter(told["r"][1] for line in lines if "r" in (told := json.loads(line[9:])))

    @property
    def lost(self) -> Counter[str]:
        """Requests that were lost for good, by code: an episode that ends because all of its requests did is not one
        more."""
        return Counter(d.code for d in self.drops if d.kind == "quarantined" and d.target != d.episode)

    def sound(self) -> "Told":
        """Every file and every sum holds, as an auditor finds who reads only the files."""
        assert check_dataset(self.data.path) == []
        assert self.journal.faults == () and check_calls(self.data.path, self.journal) == []
        for entry in self.data.manifest.funnel:
            assert entry["in"] == entry["out"] + entry["filtered"] + entry["quarantined"], entry
        return self

    def unharmed(self) -> "Told":
        """Faults were met, nothing was lost, and the dataset is that of the undisturbed run."""
        self.sound().accounted()
        assert self.account["faults"] and not self.lost
        assert self.hash == undisturbed().hash
        return self

    def accounted(self) -> "Told":
        """The simulator was asked what the run says it asked, and each request ended once, in the journal."""
        tries = self.stats["requests"] + sum(self.retries.values())
        assert self.account["requests"] == tries, (self.account, self.stats)
        assert (
            self.journal.replies + self.journal.errors == self.stats["requests"] == self.facts["progress"]["requests"]
        )
        assert self.journal.repeated == self.journal.corrupted == 0
        return self


def recipe_at(folder: Path, simulated: Simulated, **engine: Any) -> Recipe:
    """The recipe with both roles played by the simulator; its port is no part of what identifies it."""
    recipe = Recipe(folder, RECIPE)
    for role in ("student", "teacher"):
        url = simulated.urls[0] if len(simulated.urls) == 1 else simulated.urls
        given = {"model": "m", "base_url": url, "identity": "simulated", "backoff": 0.005, "deadline": 20.0, **engine}
        recipe.data["engines"][role] = {"use": "openai", "with": given, "sampling": {"max_tokens": MAX_TOKENS}}
    recipe.write()
    return recipe


def run(recipe: Recipe, out: Path, simulated: Simulated) -> Told:
    """One run, whatever becomes of it."""
    error = None
    try:
        job.run(run_options.Options(recipe=recipe.path, out=out), lambda status: None)
    except ErrataError as raised:
        error = raised
    return Told(out, error, simulated.account)


@contextmanager
def faulty(folder: Path, *faults: str, engine: dict[str, Any] | None = None, **options: Any) -> Iterator[Once]:
    """A function that runs the recipe, or resumes it, against a simulator with these faults and options."""
    with Simulated(*faults, **options) as simulated:
        recipe = recipe_at(folder / "recipe", simulated, **(engine or {}))
        yield lambda: run(recipe, folder / "out", simulated)


def ran(folder: Path, *faults: str, engine: dict[str, Any] | None = None, **options: Any) -> Told:
    """One run against a simulator with these faults and options."""
    with faulty(folder, *faults, engine=engine, **options) as once:
        return once()


class Whole(NamedTuple):
    """What a run without faults makes."""

    hash: str
    rows: list[SftRow | DpoRow]
    requests: int


@functools.cache
def undisturbed() -> Whole:
    """What the recipe makes when nothing goes wrong."""
    with tempfile.TemporaryDirectory() as folder:
        told = ran(Path(folder)).sound().accounted()
        assert told.retries == told.flags == {} and not told.lost
        assert len(told.rows) >= 10 and told.stats["requests"] >= 50
        return Whole(told.hash, told.rows, told.stats["requests"])
