"""What commands that take a recipe are told, and who watches a run."""

import argparse
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from errata.objects import locate
from errata.reports.bars import Bars
from errata.runners.account import Status, Watch
from errata.runners.drain import GRACE
from errata.runners.options import Options


def add_recipe(parser: argparse.ArgumentParser) -> None:
    """The recipe, its changes and its limit."""
    parser.add_argument("pipeline", type=Path, metavar="PIPELINE", help="a recipe, e.g. pipelines/quickstart.yaml")
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="PATH=VALUE",
        help="change the recipe, e.g. source.with.count=100",
    )
    parser.add_argument("--limit", type=int, metavar="N", help="take only the first N problems")


def add_run(parser: argparse.ArgumentParser) -> None:
    """Everything that a run can be told."""
    add_recipe(parser)
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


def positive(text: str) -> int:
    """A number of at least 1. Raises ValueError for another."""
    number = int(text)
    if number < 1:
        raise ValueError(text)
    return number


def options_of(args: argparse.Namespace) -> Options:
    """The options of a run that were given."""
    return Options(
        recipe=args.pipeline, out=args.out, changes=tuple(args.set), limit=args.limit, runner=args.runner,
        journal=args.journal, replay=args.replay, workers=args.workers, address=args.address, grace=args.grace,
    )  # fmt: skip


@contextmanager
def watched(args: argparse.Namespace) -> Iterator[Watch]:
    """What is told how a run gets on: the terminal, and whoever asks for metrics."""
    with ExitStack() as stack:
        watchers: list[Watch] = [stack.enter_context(Bars()).update]
        if args.metrics_port is not None:
            from errata.reports.gauges import Gauges  # a run without metrics starts 50 ms sooner

            gauges = stack.enter_context(Gauges(args.metrics_port))
            print(f"metrics at http://127.0.0.1:{gauges.port}/metrics", file=sys.stderr)
            watchers.append(gauges.update)

        def watch(status: Status) -> None:
            for tell in watchers:
                tell(status)

        yield watch
