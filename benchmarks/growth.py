"""What growing costs: the main job on 1, 2 and 4 Ray workers, and on 1, 2 and 4 replicas.

    python benchmarks/growth.py                       # about 12 minutes
    python benchmarks/growth.py --only replicas

Workers share one job and one engine of 256 slots. Replicas of 64 slots each bring 500 problems each, so that every row
has about the same ideal time. Efficiency is the ideal over the window from first request to last; the tail that no
order of requests avoids (`benchmarks/foresight.py`) is in it.
"""

import sys

from window import measure, parser

SIZES = (1, 2, 4)


def main() -> int:
    wanted = parser()
    wanted.add_argument("--only", choices=("workers", "replicas"))
    args = wanted.parse_args()
    runs = [("ray", workers, 1, 2_000, 256) for workers in SIZES]
    if args.only == "replicas":
        runs = []
    if args.only != "workers":
        runs += [(runner, 2, n, 500 * n, 64) for runner in ("local", "ray") for n in SIZES]
    print(
        "| runner | workers | replicas | slots | requests | ideal | window | efficiency | CPU-s per 1,000 | PSS, MiB |"
    )
    print("|---" * 10 + "|")
    for args.runner, args.workers, args.replicas, args.problems, args.slots in runs:
        ran, told, _ = found = measure(args)
        print(
            f"| {args.runner} | {args.workers if args.runner == 'ray' else 1} | {args.replicas} | "
            f"{args.slots * args.replicas} | {told['requests']:,} | {told['ideal_seconds']:.1f} s | "
            f"{told['window_seconds']:.1f} s | {found.efficiency:.3f} | {1000 * ran.cpu / told['requests']:.2f} | "
            f"{ran.memory:.0f} |",
            flush=True,
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
