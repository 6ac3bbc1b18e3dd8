"""The command line: one command a module of `errata.commands`. An error is one line; `--debug` shows more."""

import argparse
import os
import sys
from collections.abc import Sequence
from contextlib import redirect_stdout
from importlib import import_module

from errata import __version__
from errata.errors import ErrataError, RecipeError, Terminated
from errata.memory import pool
from errata.reports.plain import Clean, Parser, one_line

COMMANDS = (
    "run", "iterate", "check", "show", "why", "diff", "regenerate", "export", "publish", "report",
    "list", "plan", "simulate",
)  # fmt: skip
"""In the order of the help; `-` in a name is `_` in its module's."""
RESUMED = ("run", "iterate")
"""What the same command goes on with after an error."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code."""
    os.environ |= pool()
    given = sys.argv[1:] if arguments is None else arguments
    args = _parser(given[:1]).parse_args(given)
    try:
        with redirect_stdout(Clean(sys.stdout)):
            return int(args.run(args))
    except BrokenPipeError:
        # The reader of a pipe went away, e.g. `errata list | head`; nothing is left to be flushed to it.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except ErrataError as error:
        if args.debug:
            raise
        for fault in getattr(error, "faults", ()) or (str(error),):
            print(f"errata: {one_line(fault)}", file=sys.stderr)
        if args.command in RESUMED and not isinstance(error, RecipeError):
            print("errata: finished work is kept; the same command resumes", file=sys.stderr)
        return 143 if isinstance(error, Terminated) else 1
    except Exception as error:
        if args.debug:
            raise
        said = one_line(f"{type(error).__name__}: {error}")
        print(f"errata: this should not have happened: {said}; --debug shows where, please report it", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(
            "\nerrata: interrupted; every finished reply is kept, and the same command resumes from there",
            file=sys.stderr,
        )
        return 130


def _parser(first: Sequence[str] = ()) -> argparse.ArgumentParser:
    """What reads the command line; of one whose first word is a command, without loading all the others."""
    parser = Parser(prog="errata", description="Turn a language model's own mistakes into verified training data.")
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for name in [name for name in first if name in COMMANDS] or COMMANDS:
        module = import_module(f"errata.commands.{name.replace('-', '_')}")
        about = str(module.__doc__).partition("\n")[0]
        command = commands.add_parser(name, help=about, description=about)
        command.add_argument("--debug", action="store_true", help="show tracebacks")
        command.set_defaults(run=module.run, command=name)
        module.arguments(command)
    return parser


if __name__ == "__main__":
    sys.exit(main())
