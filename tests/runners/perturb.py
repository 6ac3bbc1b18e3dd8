"""A training command for tests: it nudges the weights of the pocket model, by dataset and seed, and says so.

No torch: the bytes of `model.safetensors` keep their places, so the graph that points into them stays true.
"""

import argparse
import json
import os
import shutil
import struct
import sys
import time
from pathlib import Path

import numpy as np


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--dataset", type=Path, nargs="+", required=True)
    parser.add_argument("--config", required=True)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--round", type=int, required=True)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--calls", type=Path, help="a folder in which every call leaves a file of what it was given")
    parser.add_argument("--hang", type=Path, help="do not end while this file exists")
    parser.add_argument("--fail", type=int, default=0, help="the round to fail in")
    parser.add_argument("--half", action="store_true", help="leave only a part of a model")
    args = parser.parse_args()
    given = {"datasets": [d.name for d in args.dataset], "config": args.config, "model": args.model.name}
    print(f"round {args.round} of a stand-in for training")
    if args.calls:
        args.calls.mkdir(exist_ok=True)
        told = {**given, "round": args.round, "seed": args.seed, "pid": os.getpid()}
        (args.calls / f"{time.monotonic_ns()}.json").write_text(json.dumps(told))
    while args.hang and args.hang.exists():
        time.sleep(0.02)
    if args.fail == args.round:
        sys.exit("CUDA out of memory\nor so it says")
    for path in args.model.iterdir():
        if not path.name.endswith(".py"):
            shutil.copyfile(path, args.out / path.name)
    if args.half:
        (args.out / "model.onnx").unlink()
    hashes = [json.loads((d / "_manifest/manifest.json").read_text())["content_hash"] for d in args.dataset]
    nudge(args.out / "model.safetensors", int(hashes[-1][:8], 16) ^ args.seed)
    print(json.dumps({**given, "loss": 0.5}))
    print("done")


def nudge(path: Path, seed: int) -> None:
    """Multiply every weight by a random number near 1."""
    data = bytearray(path.read_bytes())
    (size,) = struct.unpack("<Q", data[:8])
    weights = np.frombuffer(data, np.float32, offset=8 + size)
    rng = np.random.default_rng(seed)
    weights *= 1 + 0.003 * rng.standard_normal(len(weights), np.float32)
    path.write_bytes(data)


if __name__ == "__main__":
    main()
