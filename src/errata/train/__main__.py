"""`python -m errata.train sft|dpo|graph`: a model from a model and datasets; the last line that it prints is JSON.

In a recipe:

    iterate:
      train: >-
        {python} -m errata.train sft --dataset {dataset} --config {config} --model {model} --out {out} --seed {seed}
"""

import argparse
import json
import sys
from pathlib import Path

from errata.errors import ErrataError, MissingExtra
from errata.records.rows import DpoRow, SftRow


def main() -> int:
    """Run one command; returns the exit code."""
    args = _parser().parse_args()
    try:
        if args.command == "graph":
            from errata.train.graph import export

            print(export(args.model))
        else:
            print(json.dumps(_train(args)))
    except ModuleNotFoundError as error:
        print(f"errata: {MissingExtra(str(error.name), 'train', 'training')}", file=sys.stderr)
        return 1
    except ErrataError as error:
        print(f"errata: {error}", file=sys.stderr)
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m errata.train", description="Train on datasets of errata, with TRL."
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    graph = commands.add_parser("graph", help="write model.onnx for the pocket engine")
    graph.add_argument("model", type=Path, help="folder of config.json and model.safetensors")
    for name, about, rate in (
        ("sft", "imitate the trained spans of SFT rows", 2e-5),
        ("dpo", "prefer the chosen replies of DPO rows", 1e-6),
    ):
        command = commands.add_parser(name, help=about, description=about)
        command.add_argument("--dataset", nargs="+", required=True, metavar="DIR", help="dataset versions")
        command.add_argument("--config", default=name, help=f"the config to train on ({name})")
        command.add_argument("--model", required=True, help="a folder, or a name on the hub")
        command.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder for the new model")
        command.add_argument("--seed", type=int, default=0)
        command.add_argument("--epochs", type=float, default=1.0)
        command.add_argument("--steps", type=int, default=0, help="updates, in place of epochs")
        command.add_argument("--batch", type=int, default=8, help="rows on a device at once (8)")
        command.add_argument("--accumulate", type=int, default=1, help="batches of one update (1)")
        command.add_argument("--learning-rate", type=float, default=rate, help=f"at its peak ({rate:g})")
        command.add_argument("--max-length", type=int, help="leave out rows of more tokens")
        command.add_argument("--held-out", type=float, default=0.0, help="share of episodes to measure on only (0)")
        command.add_argument("--dtype", choices=("float32", "bfloat16"), default="float32", help="of the weights")
        command.add_argument(
            "--straddle", choices=("raise", "mask", "split"), default="raise",
            help="a token across the border of a trained span: leave the row out, mask the token, or split it",
        )  # fmt: skip
        if name == "dpo":
            command.add_argument("--beta", type=float, default=0.1, help="weight of staying near the model (0.1)")
    return parser


def _train(args: argparse.Namespace) -> dict[str, object]:
    from errata.train import dpo, sft
    from errata.train.examples import Reading, examples
    from errata.train.model import load, save
    from errata.train.settings import Settings

    loaded = load(args.model, args.dtype)
    how = Reading(
        tokenizer=loaded.tokenizer, max_length=args.max_length, straddle=args.straddle, held_out=args.held_out
    )
    rows = examples(args.dataset, args.config, SftRow if args.command == "sft" else DpoRow, how)
    settings = Settings(
        out=args.out, epochs=args.epochs, steps=args.steps, batch=args.batch, accumulate=args.accumulate,
        learning_rate=args.learning_rate, seed=args.seed,
    )  # fmt: skip
    if args.command == "sft":
        told = sft.train(loaded, rows, settings)
    else:
        told = dpo.train(loaded, rows, settings, beta=args.beta)
    save(loaded, args.model, args.out)
    return told


if __name__ == "__main__":
    sys.exit(main())
