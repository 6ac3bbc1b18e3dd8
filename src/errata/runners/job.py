"""A run from recipe to dataset version: what to do, what is done already, the rest, the corpus, the version."""

import asyncio
import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from msgspec import structs

from errata import registry
from errata.corpus.base import Rows
from errata.engines.base import Identity
from errata.engines.journal import Journal
from errata.errors import MissingExtra, SourceError, StoreError
from errata.memory import give_back
from errata.objects import Location
from errata.recipe import read, version
from errata.recipe.spec import Recipe, Use
from errata.records.types import Drop, Episode
from errata.reports.card import pages
from errata.reports.gates import check_gates
from errata.reports.metrics import summarise
from errata.runners.account import Account, Watch
from errata.runners.corpus import kept, measured, operate
from errata.runners.episode import leaves, ours
from errata.runners.local import run_local
from errata.runners.options import Options
from errata.runners.origins import origins
from errata.runners.part import add_funnels, add_metrics
from errata.runners.plan import Plan
from errata.runners.progress import Progress
from errata.runners.world import World
from errata.store import dataset
from errata.store.lock import exclusive
from errata.store.manifest import METRICS, check_name, point_latest
from errata.store.parts import Parts

DETERMINISM = "R0: replayed from its journal, bit for bit; R2: resampled, the same statistics"


@dataclass(frozen=True, kw_only=True)
class Job:
    """A run that is about to start: its recipe, version and folders."""

    options: Options
    recipe: Recipe
    plan: Plan
    models: Mapping[str, Identity]
    components: Mapping[str, Any]
    recorded: Mapping[str, Any]
    """The recipe as the manifest holds it."""
    pipeline: str
    version: str

    @property
    def journal(self) -> Location:
        return self.options.journal or self.options.out / "journal"

    @property
    def work(self) -> Location:
        """Where parts are committed until the version is whole; parts of another size are other parts."""
        return self.options.out / self.recipe.name / f".work-{self.version}-{self.recipe.part_size}"


def prepare(options: Options) -> Job:
    """Read the recipe and name the version, touching nothing."""
    limit = (f"limit={options.limit}",) if options.limit is not None else ()
    recipe = read.read(options.recipe, (*options.changes, *limit))
    folder = options.recipe.resolve().parent
    recipe = structs.replace(
        recipe,
        source=located("source", recipe.source, folder),
        corpus=tuple(located("corpus", use, folder) for use in recipe.corpus),
    )
    return named(options, recipe, folder)


def named(options: Options, recipe: Recipe, folder: Path) -> Job:
    """The job of a recipe whose own files lie in `folder`, and whose files are found."""
    for use in recipe.corpus:
        # A list that cannot be read is told now, and not when all the work is done.
        registry.find("corpus", use.use, folder).make(Rows(), **use.with_)
    plan = Plan(recipe, folder)
    models = {role: engine.identity for role, engine in plan.engines().items()}
    parts = version.components(recipe, folder, models)
    pipeline = version.pipeline_version(parts)
    name = version.dataset_version(recipe, pipeline)
    check_name("version", name)
    return Job(
        options=options, recipe=recipe, plan=plan, models=models, components=parts,
        recorded=version.recorded(recipe, folder), pipeline=pipeline, version=name,
    )  # fmt: skip


def located(kind: registry.Kind, use: Use, folder: Path) -> Use:
    """With its files found: below the working folder, or else beside the recipe."""
    with_ = dict(use.with_)
    for name in version.file_parameters(registry.find(kind, use.use, folder)):
        given = with_.get(name)
        if given and not Path(str(given)).exists() and (folder / str(given)).exists():
            with_[name] = str(folder / str(given))
    return structs.replace(use, with_=with_)


def run(options: Options, watch: Watch) -> tuple[Job, dataset.Finished]:
    """Run a recipe to a dataset version; `watch` is told how it gets on."""
    job = prepare(options)
    return job, carry_out(job, watch)


def carry_out(job: Job, watch: Watch, world: World | None = None) -> dataset.Finished:
    """Make the version that a job names, unless it is there."""
    world = world or World()
    options = job.options
    folder = options.out / job.recipe.name
    found = dataset.published(options.out, job.recipe.name, job.version)
    if found and not job.work.exists():
        check_gates(job.recipe.gates, json.loads((found.path / METRICS).read_bytes()))
        return found
    world.files.settle(folder)
    with exclusive(folder / f".making-{job.version}", str(folder / job.version)):
        found = dataset.published(options.out, job.recipe.name, job.version)
        if found is None:
            return _make(job, watch, world)
        # The run that made it died between its commit and its last two changes, or has just ended.
        point_latest(folder, job.version, world.files)
        _clear(job, world)
        return found


def _make(job: Job, watch: Watch, world: World) -> dataset.Finished:
    options = job.options
    parts = Parts(job.work, job.plan.types, world.files)
    found = parts.done()
    done, damaged = frozenset(found.parts), found.damaged
    del found  # what each part counted
    journal = world.journal(job.journal)
    if options.replay and job.recipe.engines and not len(journal):
        raise StoreError(
            f"--replay needs the journal of an earlier run, and {job.journal} holds no exchange; name it by --journal"
        )
    seen: set[int] = set()
    account = Account(job.recipe, job.version, job.work / "run.json", done=len(done), watch=watch, world=world)

    def todo() -> Iterator[tuple[int, list[Episode | Drop]]]:
        for index, items in job.plan.parts():
            seen.add(index)
            if index not in done:
                yield index, items

    try:
        engines = _execute(job, parts, journal, todo(), account.note, world)
    except BaseException as error:
        account.write(f"{type(error).__name__}: {error}")
        raise
    if not seen:
        raise SourceError("the source gave no problem: check its path, limit and count")
    counted = _counted(parts, seen)
    run_facts = account.close(
        runner=options.runner, engines=engines, parts_damaged=damaged, journal_corrupted=journal.corrupted
    )
    del journal  # its index, 16 bytes an exchange, has no more use
    finished = _finish(job, parts, counted, run_facts)
    _clear(job, world)
    return finished


class _Counted(NamedTuple):
    """The parts of a run, and what they counted together."""

    indices: list[int]
    funnel: list[dict[str, Any]]
    metrics: Counter[str]


def _counted(parts: Parts, seen: set[int]) -> _Counted:
    stored = parts.done().parts
    missing = seen - stored.keys()
    if missing:
        raise StoreError(f"parts {sorted(missing)} are damaged: run the same command again to make them anew")
    indices = sorted(seen)
    counts = [stored[i].counts for i in indices]
    return _Counted(indices, add_funnels(counts), add_metrics(counts))


def _clear(job: Job, world: World) -> None:
    """Remove the parts of a finished version, of whatever size."""
    for work in job.work.parent.glob(f".work-{job.version}-*"):
        world.files.remove(work)


def _execute(
    job: Job,
    parts: Parts,
    journal: Journal,
    todo: Iterator[tuple[int, list[Episode | Drop]]],
    note: Callable[[Progress], None],
    world: World,
) -> dict[str, Any]:
    options = job.options
    try:
        if options.runner == "ray":
            try:
                from errata.runners.ray import run_ray
            except ModuleNotFoundError as error:
                raise MissingExtra("ray", "ray", "--runner ray") from error
            return run_ray(job.plan, parts, job.journal, todo, options, note)
        with asyncio.Runner(loop_factory=world.loop) as loop:
            return loop.run(run_local(job.plan, parts, journal, todo, options, note, pool=world.pool))
    except BaseExceptionGroup as group:
        raise ours(group) or next(leaves(group)) from group


def _finish(job: Job, parts: Parts, counted: _Counted, run_facts: dict[str, Any]) -> dataset.Finished:
    """Corpus operations, then the version."""
    give_back()  # what the episodes took
    indices = counted.indices
    made = operate(job.plan, parts, indices)
    metrics = {
        **summarise(
            measured(counted.metrics, job.plan, parts, indices, made.dropped),
            kept(job.plan, parts, indices, made.dropped),
        ),
        **origins(job.plan, parts, indices, made.dropped),
        "corpus": made.figures,
    }
    check_gates(job.recipe.gates, metrics)
    return dataset.finish(
        parts,
        indices,
        out=job.options.out,
        about=dataset.Description(
            name=job.recipe.name,
            version=job.version,
            pipeline_version=job.pipeline,
            components=job.components,
            recipe=job.recorded,
            models=[{"role": role, **structs.asdict(identity)} for role, identity in sorted(job.models.items())],
            funnel=[*counted.funnel, *made.entries],
            determinism=DETERMINISM,
            metrics=metrics,
            run=run_facts,
            card=lambda manifest: pages(manifest, metrics),
            dropped=made.dropped,
            drops=made.drops,
        ),
    )
