"""Rounds: a dataset version, the training that the recipe names, and the same again with the student it made.

Every round is an ordinary run with one parameter changed, the student's model, so it has a version of its own. What is
done is found by name, a dataset by its version and a model by all that its training was given: the same command resumes
at the round, or the training, that is not whole.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import msgspec
from msgspec import structs

from errata import registry
from errata.engines.base import Engine
from errata.errors import RecipeError, StoreError, TrainingError
from errata.objects import Location
from errata.recipe import iteration, read
from errata.recipe.spec import IterateSpec
from errata.records.ids import canonical, digest, seed
from errata.records.rounds import Round, Training
from errata.runners import job, training
from errata.runners.account import Watch
from errata.runners.job import Job
from errata.runners.options import Options
from errata.store.dataset import Finished
from errata.store.files import Files, read_sealed, sealed
from errata.store.lock import exclusive

ROUNDS = "rounds.json"
"""Beside the versions of a dataset: what each round made and trained."""

Tell = Callable[[str], None]


class Made(NamedTuple):
    """One round's dataset."""

    job: Job
    finished: Finished


@dataclass(frozen=True, kw_only=True)
class Iteration:
    """What all rounds share."""

    options: Options
    block: IterateSpec
    parameter: str
    """Of the student's engine: the one that names the model."""
    models: Path
    """Folder of trained models, as the journal is one of replies."""
    watch: Watch
    tell: Tell
    """Told a line as each dataset and each model is there."""
    files: Files


def iterate(
    options: Options, watch: Watch, *, rounds: int | None = None, models: Path | None = None, tell: Tell = print
) -> list[Round]:
    """All rounds of a recipe, in order, those that were finished before included.

    `rounds` replaces the recipe's own number, `models` is OUT/models if OUT is a folder here. With `options.replay` the
    journal answers and no command is run, so every model must be there. Raises RecipeError for a recipe without the
    block, TrainingError where its command fails.
    """
    recipe = read.read(options.recipe, options.changes)
    if recipe.iterate is None:
        raise RecipeError(f"{options.recipe} has no `iterate:` block: errata run makes its one round")
    if models is None:
        if not isinstance(options.out, Path):
            raise RecipeError(f"models are trained in a folder of this machine, which {options.out} is not: --models")
        models = options.out / "models"
    folder = options.out / recipe.name
    it = Iteration(
        options=options, block=recipe.iterate, models=models.absolute(), watch=watch, tell=tell, files=Files(),
        parameter=iteration.model_parameter(recipe, recipe.iterate, options.recipe.resolve().parent),
    )  # fmt: skip
    it.files.settle(folder)
    made: list[Made] = []
    done: list[Round] = []
    with exclusive(folder / ".rounds", f"the rounds of {folder}"):
        for number in range(1, (rounds or recipe.iterate.rounds) + 1):
            made.append(_dataset(it, number, done[-1].training if done else None))
            done.append(_round(it, number, made))
            _note(it, folder / ROUNDS, done[-1])
    return done


def _changes(block: IterateSpec, number: int) -> tuple[str, ...]:
    """What a round sets; beyond the list, the last entry holds."""
    return block.sets[min(number, len(block.sets)) - 1] if block.sets else ()


def _dataset(it: Iteration, number: int, last: Training | None) -> Made:
    """The version that the student of this round makes."""
    changes = [*it.options.changes, *_changes(it.block, number)]
    if last is not None:
        # JSON is YAML, whatever the path holds.
        path = json.dumps(str(it.models / last.name))
        changes.append(f"engines.{it.block.student}.with.{it.parameter}={path}")
    prepared = job.prepare(replace(it.options, changes=tuple(changes)))
    finished = job.carry_out(prepared, it.watch)
    config = _config(it, prepared)
    rows = sum(finished.manifest.configs[config].values())
    if not rows:
        raise TrainingError(f"round {number} gave no {config} row to train on: errata show {finished.path} tells why")
    it.tell(f"round {number}: {rows:,} {config} rows, dataset {finished.path}{'' if finished.new else ' (was there)'}")
    return Made(prepared, finished)


def _config(it: Iteration, job: Job) -> str:
    return it.block.config or job.recipe.exports[0].name


def _student(it: Iteration, job: Job, folder: Path | None = None) -> Engine:
    """The student's engine as the job has it, or with the model in `folder`."""
    spec = job.recipe.engines[it.block.student]
    changed = {} if folder is None else {it.parameter: str(folder)}
    engine: Engine = registry.find("engine", spec.use, job.plan.folder).make(**{**spec.with_, **changed})
    return engine


def _model(it: Iteration, job: Job) -> str:
    """What the job's student is made of: a folder, or a name on the hub."""
    engine = _student(it, job)
    # An engine may have a model of its own where none is named, and tells it as `folder`.
    given = str(getattr(engine, "folder", "") or job.recipe.engines[it.block.student].with_.get(it.parameter, ""))
    if not given:
        raise RecipeError(f"engines.{it.block.student}.with.{it.parameter} names no model for training to start from")
    return str(Path(given).absolute()) if Path(given).exists() else given


def _round(it: Iteration, number: int, made: list[Made]) -> Round:
    """Train on the rounds' datasets, unless that was done."""
    first, now = made[0], made[-1]
    begin = first if it.block.start == "base" else now
    used = made if it.block.keep == "all" else [now]
    role = it.block.student
    task = training.Task(
        name=now.job.recipe.name,
        command=it.block.train,
        datasets=[(_place(m.finished.path), f"{m.job.pipeline} {m.finished.manifest.content_hash}") for m in used],
        config=_config(it, now.job),
        model=_model(it, begin.job),
        start=begin.job.models[role].revision,
        round=number,
        seed=seed(iterate=now.job.recipe.seed, round=number) % 2**31,
        revision=lambda folder: _student(it, now.job, folder).identity.revision,
    )
    done = _trained(it, task)
    shared = {name: value for name, value in structs.asdict(it.block).items() if name != "rounds"}
    return Round(
        iteration=digest(first=first.job.pipeline, block=canonical(shared))[:12],
        round=number,
        changes=_changes(it.block, number),
        dataset=f"{now.job.recipe.name}/{now.job.version}",
        version=now.job.version,
        content_hash=now.finished.manifest.content_hash,
        student=role,
        before=now.job.models[role].revision,
        after=done.revision,
        trained_on=tuple(m.job.version for m in used),
        training=done,
    )


def _place(path: Location) -> str:
    return str(path.absolute()) if isinstance(path, Path) else str(path)


def _trained(it: Iteration, task: training.Task) -> Training:
    found = done = training.finished(task, it.models)
    if done is None:
        if it.options.replay:
            raise StoreError(
                f"--replay runs no training, and {it.models} holds no {task.folder}: name the folder of the earlier "
                "run's models by --models"
            )
        it.tell(f"round {task.round}: training; its log is {it.models / task.folder}.log")
        done = training.train(task, it.models, it.files)
    told = f", {canonical(done.metrics)}" if done.metrics else ""
    it.tell(
        f"round {task.round}: model {it.models / done.name}, trained in {done.seconds:.0f} s{told}"
        f"{' (was there)' if found else ''}"
    )
    return done


def _note(it: Iteration, path: Location, done: Round) -> None:
    """Add a round at the end of `rounds.json`, unless it stands there already."""
    rounds = read_rounds(path) if path.exists() else []
    if done not in rounds:
        body = {"format": 1, "rounds": msgspec.to_builtins([*rounds, done])}
        it.files.replace(path, sealed(body))


def read_rounds(path: Location) -> list[Round]:
    """The rounds in a `rounds.json`. Raises StoreError for a file that is damaged or of another format."""
    body = read_sealed(path)
    try:
        return msgspec.convert(body["rounds"], list[Round])
    except (KeyError, msgspec.ValidationError) as error:
        raise StoreError(f"{path} is no account of rounds: {error}") from error
