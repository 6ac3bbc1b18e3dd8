"""The command line: run, iterate, check, show, list, plan, simulate. An error is one line; `--debug` shows more."""

import argparse
import os
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from itertools import islice
from pathlib import Path

from tqdm import tqdm

from errata import __version__, registry
from errata.errors import ErrataError, RecipeError, Terminated
from errata.objects import locate
from errata.recipe import read
from errata.recipe.spec import Recipe
from errata.records.rows import SftRow
from errata.records.types import Episode
from errata.reports import labels, outline, show
from errata.reports.bars import Bars
from errata.reports.gauges import Gauges
from errata.runners import job
from errata.runners.account import Status, Watch, problems
from errata.runners.drain import GRACE
from errata.runners.iterate import ROUNDS, iterate
from errata.runners.options import Options
from errata.simulate.options import add_options, options_of
from errata.store.audit import audit_journal, check_calls
from errata.store.check import check_dataset
from errata.store.dataset import Finished
from errata.store.reader import Dataset, open_dataset

SAMPLED = 64
"""Problems that `errata plan` looks at for their length."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code."""
    args = _parser().parse_args(arguments)
    try:
        return int(args.run(args))
    except BrokenPipeError:
        # The reader of a pipe went away, e.g. `errata list | head`; nothing is left to be flushed to it.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except ErrataError as error:
        if args.debug:
            raise
        for fault in getattr(error, "faults", ()) or (str(error),):
            print(f"errata: {show.clean(fault)}", file=sys.stderr)
        if args.run in (_run, _iterate) and not isinstance(error, RecipeError):
            print("errata: finished work is kept; the same command resumes", file=sys.stderr)
        return 143 if isinstance(error, Terminated) else 1
    except Exception as error:
        if args.debug:
            raise
        said = show.clean(f"{type(error).__name__}: {error}")
        print(f"errata: this should not have happened: {said}; --debug shows where, please report it", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(
            "\nerrata: interrupted; every finished reply is kept, and the same command resumes from there",
            file=sys.stderr,
        )
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="errata", description="Turn a language model's own mistakes into verified training data."
    )
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def command(name: str, run: object, about: str) -> argparse.ArgumentParser:
        made = commands.add_parser(name, help=about, description=about)
        made.add_argument("--debug", action="store_true", help="show tracebacks")
        made.set_defaults(run=run)
        return made

    _running(command("run", _run, "Run a recipe and write a dataset version."))
    rounds = command("iterate", _iterate, "Run a recipe in rounds, each with the student trained on the last.")
    _running(rounds)
    rounds.add_argument("--rounds", type=_positive, metavar="N", help="rounds (those of the recipe)")
    rounds.add_argument("--models", type=Path, metavar="DIR", help="folder of trained models (OUT/models)")
    check = command("check", _check, "Tell every fault of a recipe or dataset; exit 1 if there is one.")
    check.add_argument("path", type=locate)
    check.add_argument("--journal", type=locate, metavar="DIR", help="also audit the journal that a dataset came from")
    check.add_argument("--set", action="append", default=[], metavar="PATH=VALUE", help="change the recipe first")
    shown = command("show", _show, "Show a dataset, or one of its episodes, as text.")
    shown.add_argument("dataset", type=locate)
    shown.add_argument("episode", nargs="?", help="an id, or its first digits")
    shown.add_argument("--tokens", metavar="MODEL", help="show the episode's SFT rows as tokens of MODEL, with labels")
    command(
        "list", _list, "List sources, stages, engines, verifiers, worlds, corpus operations, exports and pipelines."
    )
    plan = command("plan", _plan, "Show the stages of a recipe and the requests and tokens to expect.")
    _recipe(plan)
    plan.add_argument("--simulate", action="store_true", help="also simulate the run on engines of this size:")
    add_options(plan, only=("replicas", "slots", "step_ms", "slope", "prefill_rate", "mean", "p99", "seed"))
    simulate = command("simulate", _simulate, "Serve a simulated engine on loopback, until it is told to stop.")
    simulate.add_argument("--list-faults", action="store_true", help="show the kinds of --fault, and serve nothing")
    add_options(simulate)
    return parser


def _recipe(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("pipeline", type=Path, metavar="PIPELINE", help="a recipe, e.g. pipelines/quickstart.yaml")
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="PATH=VALUE",
        help="change the recipe, e.g. source.with.count=100",
    )
    parser.add_argument("--limit", type=int, metavar="N", help="take only the first N problems")


def _running(parser: argparse.ArgumentParser) -> None:
    _recipe(parser)
    parser.add_argument(
        "--out", type=locate, default=Path("out"), metavar="DIR", help="folder, or s3://BUCKET/PATH (out)"
    )
    parser.add_argument(
        "--runner", choices=("local", "ray"), default="local", help="one process, or Ray actors (local)"
    )
    parser.add_argument("--workers", type=int, default=2, metavar="N", help="workers of the Ray runner (2)")
    parser.add_argument("--address", metavar="ADDRESS", help="the Ray to run on ($RAY_ADDRESS, or one of this machine)")
    parser.add_argument(
        "--grace", type=float, default=GRACE, metavar="SECONDS",
        help=f"for requests under way at SIGTERM ({GRACE:g})",
    )  # fmt: skip
    parser.add_argument(
        "--metrics-port", type=int, metavar="N", help="serve Prometheus metrics on loopback; 0 takes any"
    )
    parser.add_argument("--journal", type=locate, metavar="DIR", help="the journal (OUT/journal)")
    parser.add_argument("--replay", action="store_true", help="answer from the journal alone; fail on a miss")


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise ValueError(text)
    return number


def _options(args: argparse.Namespace) -> Options:
    return Options(
        recipe=args.pipeline, out=args.out, changes=tuple(args.set), limit=args.limit, runner=args.runner,
        journal=args.journal, replay=args.replay, workers=args.workers, address=args.address, grace=args.grace,
    )  # fmt: skip


@contextmanager
def _watched(args: argparse.Namespace) -> Iterator[Watch]:
    """What is told how a run gets on: the terminal, and whoever asks for metrics."""
    with ExitStack() as stack:
        watchers: list[Watch] = [stack.enter_context(Bars()).update]
        if args.metrics_port is not None:
            gauges = stack.enter_context(Gauges(args.metrics_port))
            print(f"metrics at http://127.0.0.1:{gauges.port}/metrics", file=sys.stderr)
            watchers.append(gauges.update)

        def watch(status: Status) -> None:
            for tell in watchers:
                tell(status)

        yield watch


def _run(args: argparse.Namespace) -> int:
    began = time.monotonic()
    with _watched(args) as watch:
        _, finished = job.run(_options(args), watch)
    if not finished.new:
        print(f"{finished.path} is finished already and is never rewritten")
        return 0
    print(_summary(finished, time.monotonic() - began))
    return 0


def _iterate(args: argparse.Namespace) -> int:
    def tell(line: str) -> None:
        tqdm.write(show.clean(line))  # above the bars, if there are any
        sys.stdout.flush()

    with _watched(args) as watch:
        done = iterate(_options(args), watch, rounds=args.rounds, models=args.models, tell=tell)
    folder = args.out / done[-1].dataset.partition("/")[0]
    print(f"{len(done)} rounds: {folder / ROUNDS} tells of each")
    return 0


def _summary(finished: Finished, seconds: float) -> str:
    data = Dataset(finished.path, finished.manifest)
    configs = {c: sum(splits.values()) for c, splits in finished.manifest.configs.items()}
    parts = [f"dataset {finished.path}", show.yield_text(finished.manifest.funnel)]
    parts.append(", ".join(f"{n:,} {config}" for config, n in configs.items()) + f" rows in {seconds:.0f} s")
    row = next((r for c in configs if c not in ("episodes", "drops") if (r := show.first_splice(data.rows(c)))), None)
    if row is not None:
        parts.append(
            f"a spliced example ({show.TRAINED} trained, {show.MASKED} masked from the loss):\n\n{show.row_text(row)}"
        )
        parts.append(f"errata show {finished.path} {row.episode[:12]}")
    return "\n\n".join(parts)


def _check(args: argparse.Namespace) -> int:
    if isinstance(args.path, Path) and args.path.suffix in (".yaml", ".yml"):
        made = job.prepare(Options(recipe=args.path, changes=tuple(args.set)))
        # A source tells what is wrong with its file when it is first read.
        next(made.plan.items(), None)
        print(f"{args.path}: no fault found")
        return 0
    faults = check_dataset(args.path)
    if args.journal is not None:
        audit = audit_journal(args.journal)
        print(audit.summary)
        faults += [*audit.faults, *check_calls(args.path, audit)]
    for fault in faults:
        print(show.clean(fault))
    print(f"{args.path}: {len(faults) or 'no'} fault{'s' if len(faults) != 1 else ''} found")
    return 1 if faults else 0


def _show(args: argparse.Namespace) -> int:
    data = open_dataset(args.dataset)
    if args.tokens:
        _show_tokens(data, args.episode, args.tokens)
    elif args.episode:
        print(show.episode_text(data.episode(args.episode), [str(e["stage"]) for e in data.manifest.funnel]))
    else:
        print(show.dataset_text(data.manifest, data.rows("episodes")))
    return 0


def _show_tokens(data: Dataset, episode: str | None, model: str) -> None:
    """The labels of all SFT rows of an episode, or of the first episode that has any."""
    tokenizer = labels.tokenizer_at(model)
    configs = [c for c in data.manifest.configs if data.record_type(c) is SftRow]
    rows = (row for c in configs for row in data.rows(c) if isinstance(row, SftRow))
    wanted = data.episode(episode).id if episode else None
    shown = False
    for row in rows:
        wanted = wanted or row.episode
        if row.episode == wanted:
            print(labels.labels_text(row, tokenizer))
            shown = True
    if not shown:
        print("no SFT row" + (f" of the episode {wanted}" if wanted else ""))


def _list(args: argparse.Namespace) -> int:
    kinds: tuple[registry.Kind, ...] = ("source", "stage", "engine", "verifier", "environment", "corpus", "export")
    titles = {"corpus": "corpus operations"}
    for kind in kinds:
        print(f"{titles.get(kind, kind + 's')}:")
        print(show.columns([(f"  {name}", c.doc) for name, c in registry.components(kind).items()]))
    print("pipelines:")
    found = sorted(Path("pipelines").glob("*.yaml"))
    rows = [(f"  {path}", read.about(path)) for path in found]
    print(show.columns(rows) if rows else "  none in ./pipelines")
    return 0


def _plan(args: argparse.Namespace) -> int:
    made = job.prepare(Options(recipe=args.pipeline, changes=tuple(args.set), limit=args.limit))
    lengths = [len(i.problem.text) for i in islice(made.plan.items(), SAMPLED) if isinstance(i, Episode)]
    total = problems(made.recipe)
    characters = sum(lengths) / max(1, len(lengths))
    print(outline.outline(made.recipe, total, characters))
    if args.simulate:
        print(f"\n{_sizes(args, made.recipe, total or SAMPLED, characters)}")
    print(f"\npipeline version {made.pipeline[:12]}")
    return 0


def _sizes(args: argparse.Namespace, recipe: Recipe, problems: int, characters: float) -> str:
    """How long the run would take; roles that name the same engine share its slots."""
    from errata.simulate import sizing
    from errata.simulate.lengths import Lengths
    from errata.simulate.model import Hardware

    engines: dict[str, str] = {}
    for role, spec in recipe.engines.items():
        engines[role] = next(
            (r for r in engines if (recipe.engines[r].use, recipe.engines[r].with_) == (spec.use, spec.with_)), role
        )
    loads = [
        sizing.Load(a.step, engines[a.role], a.requests, round(a.prompt_tokens), a.limit)
        for a in outline.asks(recipe, characters)
        if a.limit
    ]
    sized = sizing.size(
        loads,
        problems,
        hardware=Hardware(
            slots=args.slots, step_seconds=args.step_ms / 1000, slope=args.slope, prefill_rate=args.prefill_rate
        ),
        replicas=args.replicas,
        lengths=Lengths(seed=args.seed, mean=args.mean, p99=args.p99),
        in_flight=recipe.concurrency,
    )
    return sizing.text(sized, replicas=args.replicas, slots=args.slots, step_ms=args.step_ms)


def _simulate(args: argparse.Namespace) -> int:
    from errata.simulate import command

    if args.list_faults:
        print(command.fault_table())
    else:
        command.serve(options_of(args))
    return 0


if __name__ == "__main__":
    sys.exit(main())
