"""What a simulator can be told, as one value and as the options of `errata simulate`."""

import argparse
from collections.abc import Collection
from typing import Literal

import msgspec

from errata.errors import RecipeError


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """The settings of a simulator; every default is that of the command line."""

    host: str = "127.0.0.1"
    port: int = 0
    replicas: int = 1
    slots: int = 256
    step_ms: float = 9.0
    slope: float = 0.0
    prefill_rate: float = 20_000.0
    cache_tokens: int = 400_000
    block_tokens: int = 16
    lengths: Literal["lognormal", "text"] = "lognormal"
    mean: float = 113.0
    p99: float = 1200.0
    per_problem: float = 0.0
    seed: int = 0
    model: tuple[str, ...] = ()
    fault: tuple[str, ...] = ()
    fault_attempts: int = 1
    retry_after: float = 0.5
    drip_seconds: float = 0.2
    straggler: float = 10.0

    def __post_init__(self) -> None:
        if self.replicas < 1 or self.block_tokens < 1:
            raise RecipeError("simulate: --replicas and --block-tokens must be at least 1")
        if not 0 <= self.port <= 65536 - self.replicas:
            raise RecipeError(f"simulate: there are no {self.replicas} ports from {self.port} on")
        for name in ("cache_tokens", "fault_attempts", "retry_after", "drip_seconds", "straggler", "seed"):
            if getattr(self, name) < 0:
                raise RecipeError(f"simulate: --{name.replace('_', '-')} must not be below 0")


_HELP = {
    "host": "address to listen on",
    "port": "of the first replica, the others follow; 0 chooses free ones",
    "replicas": "each with its own port, slots, queue and prefix cache",
    "slots": "sequences that run at once on a replica",
    "step_ms": "milliseconds a token of one running sequence; 0 answers at once",
    "slope": "how much longer a step of the full batch takes: 0.5 is half as long again",
    "prefill_rate": "prompt tokens a second that are not in the prefix cache; 0 makes prefill free",
    "cache_tokens": "capacity of the prefix cache; 0 switches it off",
    "block_tokens": "tokens in a block of the prefix cache",
    "lengths": "of replies: drawn for each request, or the words of the text",
    "mean": "tokens of a reply, where they are drawn",
    "p99": "tokens that one reply in a hundred exceeds",
    "per_problem": "share of the variance of a length's logarithm that all requests about one problem have in common",
    "seed": "of lengths and faults",
    "model": "a model's name to answer to, repeatable; none answers to any",
    "fault": "KIND=SHARE of requests that fail in this way, repeatable",
    "fault_attempts": "how many tries at the same body can fail",
    "retry_after": "seconds that the fault 429_retry_after asks for",
    "drip_seconds": "between two bytes of the fault drip",
    "straggler": "times as long as usual that the fault slow takes",
}


def add_options(parser: argparse.ArgumentParser, only: Collection[str] = ()) -> None:
    """Give `parser` an option for each setting, or for those named."""
    for field in msgspec.structs.fields(Options):
        if only and field.name not in only:
            continue
        flag = f"--{field.name.replace('_', '-')}"
        text = _HELP[field.name]
        if field.default == ():
            metavar = "KIND=SHARE" if field.name == "fault" else "NAME"
            parser.add_argument(flag, action="append", default=[], metavar=metavar, help=text)
        elif field.name == "lengths":
            parser.add_argument(flag, choices=("lognormal", "text"), default=field.default, help=f"{text} (lognormal)")
        else:
            kind = type(field.default)
            metavar = {int: "N", float: "X"}.get(kind, "HOST")
            shown = f"{text} ({field.default:g})" if kind is not str else f"{text} ({field.default})"
            parser.add_argument(flag, type=kind, default=field.default, metavar=metavar, help=shown)


def options_of(args: argparse.Namespace) -> Options:
    """The settings given on the command line. Raises RecipeError for one that cannot be."""
    given = {name: getattr(args, name) for name in Options.__struct_fields__}
    return Options(**given | {name: tuple(given[name]) for name in ("model", "fault")})
