"""One seed: a recipe, the lives that it takes to carry it out, and all that must hold. Replay one that failed:

python -m tests.simulation.run --seed 17 --trace
"""

import argparse
import errno
import gc
import hashlib
import os
import random
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import NamedTuple

from errata.runners.job import Job
from errata.store.dataset import Finished
from tests.simulation import checks
from tests.simulation.checks import Reference
from tests.simulation.disk import Plan
from tests.simulation.history import History, Made, Violation
from tests.simulation.loop import Process
from tests.simulation.network import Weather
from tests.simulation.recipes import COUNTS, SHAPES, Recipes

CALM = Weather()
DOOMS = (
    *("killed", "killed", "killed", "killed at a change", "killed at a change", "killed at a change"),
    *("stopped", "stopped", "disk", "sync", "full", "key", "none"),
)
"""Ends of a life; `none` has bad weather only."""


class Outcome(NamedTuple):
    """What became of a seed."""

    digest: str
    """Of the trace."""
    trace: list[str]
    lives: int
    endings: list[str]


@dataclass(frozen=True, slots=True)
class Doom:
    """How a life is to end, if it does not end before."""

    kind: str
    at: int = 0
    keep: float | None = None
    """Where power is lost afterwards, the chance of each unsynced change."""
    rots: bool = False
    """Whether one bit on the disk is another afterwards."""


@dataclass(slots=True)
class Case:
    """What a seed stands for."""

    shape: str
    count: int
    concurrency: int
    part_size: int
    storm: bool
    """Whether the network is so bad that some requests are given up."""
    loss: float = 0.4
    """The chance that power is lost once all is done."""
    dooms: list[Doom] = field(default_factory=list)


class Ground:
    """Where seeds are run, one after another; what they share is the undisturbed runs."""

    def __init__(self, folder: Path, *, engine: str = "") -> None:
        """`engine` is the source of an engine to take the place of the OpenAI client."""
        self._folder = folder
        self._recipes = Recipes(folder / "recipes", engine=engine)
        self._references: dict[tuple[str, int], Reference] = {}

    def history(self, name: str, made: Made) -> History:
        """A disk that is empty yet."""
        return History(name, self._folder / "now", made)

    def job(self, history: History, shape: str, count: int, **settings: int) -> Job:
        """The run, with the history's disk as its output."""
        return self._recipes.of(shape, count, history.disk.root / "out", **settings)

    def reference(self, shape: str, count: int) -> Reference:
        """What the undisturbed run gives, and how long it takes."""
        if (shape, count) not in self._references:
            with self.history(f"reference {shape} {count}", Made()) as history:
                job = self.job(history, shape, count)
                made = history.live(job, CALM, Plan())
                if not isinstance(made, Finished):
                    raise made
                steps, changes = history.process.steps, history.disk.changes
                self._references[shape, count] = checks.reference(job, made, steps=steps, changes=changes)
            gc.collect()
            gc.freeze()  # so that it is fast to collect what a killed life leaves
        return self._references[shape, count]


@contextmanager
def ground(*, engine: str = "") -> Iterator[Ground]:
    """A place to run seeds: in memory, where there is a folder for that."""
    place = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with tempfile.TemporaryDirectory(dir=place) as folder:
        try:
            yield Ground(Path(folder), engine=engine)
        finally:
            gc.unfreeze()


def draw_case(seed: int, ground: Ground) -> tuple[Case, Reference]:
    """The recipe and the lives of a seed."""
    draw = random.Random(f"case {seed}")
    case = Case(
        shape=draw.choices(list(SHAPES), weights=(5, 3, 3))[0],
        count=draw.choice(COUNTS),
        concurrency=draw.choice((1, 2, 3, 8)),
        part_size=draw.choice((1, 2, 3, 8)),
        storm=draw.random() < 0.08,
    )
    reference = ground.reference(case.shape, case.count)
    for _ in range(draw.choice((1, 1, 2, 2, 3))):
        kind = draw.choice(DOOMS)
        most = reference.steps if kind in ("killed", "stopped") else reference.changes
        keep = draw.choice((None, None, 0.0, 0.5, 1.0))
        case.dooms.append(Doom(kind, draw.randint(1, int(most * 1.2)), keep, draw.random() < 0.1))
    return case, reference


def weather(draw: random.Random, case: Case, doom: Doom) -> Weather:
    """How the network is in a life."""
    if case.storm:
        return Weather(trouble=0.6, worst=30, slow=5, refused=0.3, seconds=1.0)
    return Weather(
        trouble=draw.choice((0.0, 0.1, 0.4)),
        refused=draw.choice((0.0, 0.0, 0.2)),
        stops=0.1 if doom.kind == "key" else 0.0,
        seconds=draw.choice((0.001, 0.1, 1.0)),
        metrics=draw.random() < 0.2,
    )


def simulate(seed: int, ground: Ground, made: Made | None = None, *, doom: Doom | None = None) -> Outcome:
    """Run a seed, or its recipe with one doom alone. Raises Violation if anything that must hold does not."""
    case, reference = draw_case(seed, ground)
    name = f"seed {seed}"
    if doom is not None:
        case.dooms, case.loss = [doom], 1.0
        name += f" --doom '{doom.kind}' --at {doom.at}" + (f" --keep {doom.keep}" if doom.keep is not None else "")
    with ground.history(name, made or Made()) as history:
        history.process.note(f"{case}")
        job = ground.job(history, case.shape, case.count, concurrency=case.concurrency, part_size=case.part_size)
        try:
            endings = _lives(history, job, case, reference)
        except Violation:
            raise
        except Exception as error:
            raise history.violation(f"{type(error).__name__}: {error}") from error
    lines = history.trace.lines
    return Outcome(hashlib.sha256("\n".join(lines).encode()).hexdigest(), lines, history.lives, endings)


def _lives(history: History, job: Job, case: Case, reference: Reference) -> list[str]:
    """All lives of a case, and how they ended."""
    draw = history.draw("lives")
    endings: list[str] = []
    for doom in case.dooms:
        made = history.live(job, weather(draw, case, doom), plan(doom), prepare=partial(meet, doom, draw))
        endings.append(f"{doom.kind}: {type(made).__name__}")
        if isinstance(made, Finished):
            break
        _aftermath(history, job, doom, reference)
    else:
        made = history.live(job, CALM, Plan())
        endings.append(f"calm: {type(made).__name__}")
    if not isinstance(made, Finished):
        history.fail_if(f"a life without faults ended by {made!r}")
        return endings
    rotted = history.promises.rotted
    history.fail_if(*checks.finished(job, made, reference, storm=case.storm, rotted=rotted))
    if draw.random() < case.loss:
        _lose_power(history, draw.choice((0.0, 0.5)))
        history.fail_if(*checks.finished(job, made, reference, storm=case.storm, rotted=rotted))
    if draw.random() < 0.2:
        again = history.live(job, CALM, Plan())
        if not isinstance(again, Finished) or again.new:
            history.fail_if("I7: a finished version was made again")
    if rotted is None and draw.random() < 0.1:
        _replay(history, job, made)
    return endings


def _replay(history: History, job: Job, made: Finished) -> None:
    """The journal alone gives the same again, where everything that went wrong can be told from it."""
    asked = history.servers.asked
    options = replace(job.options, replay=True, out=job.options.out.with_name("replayed"), journal=job.journal)
    again = history.live(replace(job, options=options), CALM, Plan())
    if not isinstance(again, Finished) or again.manifest.content_hash != made.manifest.content_hash:
        history.fail_if(f"R0: the replay gave {again!r}")
    if history.servers.asked != asked:
        history.fail_if("R0: the replay asked an engine")


def plan(doom: Doom) -> Plan:
    """What the disk does in a life that is to end so."""
    match doom.kind:
        case "killed at a change":
            return Plan(dies_at=doom.at)
        case "disk":
            return Plan(fails_at=doom.at)
        case "sync":
            return Plan(fails_at=doom.at, fails_on="fsync")
        case "full":
            return Plan(fails_at=doom.at, error=errno.ENOSPC, fails_on="write", full=True)
    return Plan()


def meet(doom: Doom, draw: random.Random, process: Process) -> None:
    """What a process meets in a life that is to end so; its wall clock may be set meanwhile."""
    if doom.kind == "killed":
        process.dies_at = doom.at
    if doom.kind == "stopped":
        process.stops_at = doom.at
    if draw.random() < 0.3:
        process.jumps_at = draw.randint(1, 500)


def _aftermath(history: History, job: Job, doom: Doom, reference: Reference) -> None:
    """What must hold right after a life, of the files that are left."""
    if doom.keep is not None:
        _lose_power(history, doom.keep)
    lost = history.promises.keys - checks.journaled(job.journal)
    history.fail_if(
        *([f"I11: {len(lost)} replies that the journal had promised are lost"] if lost else []),
        *checks.visible(job.options.out / job.recipe.name, reference),
    )
    if doom.rots and history.disk.rot(job.journal, job.work):
        rotted = history.promises.keys - checks.journaled(job.journal)
        history.promises.keys -= rotted
        history.promises.rotted = rotted | (history.promises.rotted or set())


def _lose_power(history: History, keep: float) -> None:
    history.trace.note(history.process.now, f"power is lost, {keep}")
    history.disk.lose_power(keep=keep)


def main() -> None:
    """Run seeds and print what became of them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--count", type=int, default=1, help="run so many seeds, from this one on")
    parser.add_argument("--doom", choices=sorted(set(DOOMS)), help="one end of a life in place of the seed's own")
    parser.add_argument("--at", type=int, default=0, help="the callback or change at which it comes")
    parser.add_argument("--keep", type=float, help="power is lost then, and this is each unsynced change's chance")
    parser.add_argument("--trace", action="store_true", help="print every event")
    options = parser.parse_args()
    doom = Doom(options.doom, options.at, options.keep) if options.doom else None
    with ground() as place:
        for seed in range(options.seed, options.seed + options.count):
            try:
                found = simulate(seed, place, doom=doom)
            except Violation as error:
                if options.trace:
                    print("\n".join(error.trace))
                print(error)
                sys.exit(1)
            if options.trace:
                print("\n".join(found.trace))
            print(f"seed {seed}: {found.digest[:16]} {found.lives} lives, {'; '.join(found.endings)}")


if __name__ == "__main__":
    main()
