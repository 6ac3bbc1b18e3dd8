"""What routing by prefix keeps: hits in the prefix caches of 1, 2 and 4 replicas that share slots and cache evenly.

    python benchmarks/prefix.py

The job (`prefix.yaml`) asks for samples of one prompt, forks of one attempt, siblings of tree nodes, critiques and
revisions. The simulator counts in tokens of prompts; what the prompts of all problems have in common is in it. The
smaller caches are too small for all that is under way.
"""

import sys
from pathlib import Path

from window import measure, parser

HERE = Path(__file__).resolve().parent
REPLICAS = (1, 2, 4)
SLOTS = 256
CACHES = (400_000, 20_000)
"""Tokens of all replicas' caches together."""


def main() -> int:
    wanted = parser()
    wanted.set_defaults(recipe=HERE / "prefix.yaml", problems=200, step_ms=1.0)
    args = wanted.parse_args()
    print("| runner | replicas | cache of each | requests | prompt tokens | from a cache | of one replica's |")
    print("|---" * 7 + "|")
    for cache in CACHES:
        one = 0.0
        for args.replicas in REPLICAS:
            args.slots, args.cache_tokens = SLOTS // args.replicas, cache // args.replicas
            told = measure(args).told
            share = told["prefix_tokens_hit"] / told["prefix_tokens_asked"]
            one = one or share
            print(
                f"| {args.runner} | {args.replicas} | {args.cache_tokens:,} | {told['requests']:,} | "
                f"{told['prefix_tokens_asked']:,} | {share:.1%} | {share / one:.1%} |",
                flush=True,
            )
    return 0


if __name__ == "__main__":
    sys.exit(main())
