"""What a very large run is made of, measured in the small: bytes, seconds and memory for each of its units.

    python benchmarks/scale.py            # about 2 minutes; the plan that uses these figures is benchmarks/GROWTH.md

The main job on some problems gives the bytes of an exchange, of a part and of a version; its own journal, copied many
times under other keys, is read as a resumed run would read it; its own parts are committed, verified and handed out
again and again.
"""

import argparse
import asyncio
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from resource import RUSAGE_SELF, getrusage
from typing import Any

import uvloop
from framework_cost import HERE, server

from errata.engines.journal import Journal, frame, unframe
from errata.records.types import Drop, Episode
from errata.runners import job
from errata.runners.local import run_local
from errata.runners.options import Options
from errata.store.parts import Parts

COPIES = 24
"""Of the journal: enough for its index to stand out from the rest of a process."""


@contextmanager
def timed(what: str, count: int) -> Iterator[None]:
    """Print the wall and CPU seconds that one of `count` takes."""
    wall, cpu = time.perf_counter(), time.process_time()
    yield
    each = [1e3 * (now - then) / count for now, then in ((time.perf_counter(), wall), (time.process_time(), cpu))]
    print(f"{what}: {each[0]:.3f} ms wall, {each[1]:.3f} ms CPU", flush=True)


def made(options: Options) -> job.Job:
    """The job's parts and journal, without the version that would take them away."""
    prepared = job.prepare(options)
    parts, journal = Parts(prepared.work, prepared.plan.types), Journal(prepared.journal)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as loop:
        loop.run(run_local(prepared.plan, parts, journal, prepared.plan.parts(), options, lambda _: None))
    return prepared


def journals(source: Path, folder: Path) -> None:
    """Size of an exchange, and what it costs to index many."""
    lines = [line for path in source.glob("*.jsonl") for line in path.open("rb")]
    exchanges = [p for line in lines if (p := unframe(line)) is not None and p.startswith(b'{"k":"')]
    size = sum(map(len, exchanges)) / len(exchanges) + 10
    print(f"exchange: {size:,.0f} bytes in the journal, {len(exchanges):,} of them")
    for copy in range(COPIES):
        with (folder / f"{copy:02d}.jsonl").open("wb") as file:
            for payload in exchanges:
                key = sha256(b"%d %s" % (copy, payload[6:38])).hexdigest()[:32].encode()
                file.write(frame(payload[:6] + key + payload[38:]))
    count, before = COPIES * len(exchanges), getrusage(RUSAGE_SELF).ru_maxrss
    with timed(f"indexing one of {count:,} exchanges", count):
        journal = Journal(folder)
    held = journal._keys.nbytes + journal._places.nbytes
    peak = 1024 * (getrusage(RUSAGE_SELF).ru_maxrss - before)
    print(f"index: {held / count:.1f} bytes an exchange, {peak / count:.0f} at most while it is made")
    keys = [sha256(b"0 %s" % payload[6:38]).hexdigest()[:32] for payload in exchanges[:5_000]]
    with timed("finding one", len(keys)):
        for key in keys:
            journal.find(key)
    asyncio.run(journal.close())


def parts(prepared: job.Job, folder: Path) -> tuple[list[Episode], list[Drop]]:
    """What a part weighs and a commit takes; returns the episodes and drops of the first part."""
    store = Parts(prepared.work, prepared.plan.types)
    found = store.done().parts
    held = {config: list(store.rows(0, config)) for config in store.types}
    episodes, drops = held.pop("episodes"), held.pop("drops")
    weight = sum(f.bytes for info in found.values() for f in info.files.values()) / len(found)
    print(f"part: {len(episodes)} episodes, {weight / 1024:,.0f} KiB on disk before compression")
    copies, again = 20, Parts(folder, store.types)
    with timed("committing a part", copies):
        for index in range(copies):
            again.commit(index, episodes, drops, held, found[0].counts)
    with timed("verifying a part, at the start and the end of a run", copies):
        again.done()
    return episodes, drops


def driver(episodes: list[Episode], drops: list[Drop]) -> None:
    """What the Ray driver does for each part and for each worker each second."""
    import ray

    from errata.runners.progress import Progress
    from errata.runners.ray import connect, pack

    class Worker:
        async def part(self, index: int, episodes: bytes, drops: bytes) -> None:
            """Take a part and do nothing."""

        async def look(self) -> Progress:
            return Progress()

    async def rounds(workers: list[Any], bare: list[Episode]) -> None:
        count = 400
        await asyncio.gather(*(w.look.remote() for w in workers))
        with timed(f"driver, handing out a part of {len(bare)} problems", count):
            for i in range(count):
                await workers[i % len(workers)].part.remote(i, pack(bare, Episode), pack(drops, Drop))
        with timed("driver, asking a worker how it gets on", 10 * count):
            for _ in range(10 * count // len(workers)):
                await asyncio.gather(*(w.look.remote() for w in workers))

    connect()
    try:
        actor = ray.remote(Worker).options(num_cpus=0, max_concurrency=64, enable_task_events=False)
        bare = [Episode(problem=episode.problem) for episode in episodes]
        asyncio.run(rounds([actor.remote() for _ in range(4)], bare))
    finally:
        ray.shutdown()


def main() -> int:
    parser = argparse.ArgumentParser(description="Measure the units of a very large run.")
    parser.add_argument("--problems", type=int, default=1_024)
    args = parser.parse_args()
    os.environ["RAY_DEDUP_LOGS"] = "0"
    with server() as url, tempfile.TemporaryDirectory() as scratch:
        changes = [f"source.with.count={args.problems}"]
        changes += [f"engines.{role}.with.base_url={url}" for role in ("student", "teacher")]
        out = Path(scratch) / "out"
        prepared = made(Options(recipe=HERE / "framework_cost.yaml", out=out, changes=tuple(changes)))
        episodes, drops = parts(prepared, Path(scratch) / "parts")
        (Path(scratch) / "journal").mkdir()
        journals(prepared.journal, Path(scratch) / "journal")
        with timed("finishing a version from its parts, for each problem", args.problems):
            job.carry_out(prepared, lambda *_: None)
    driver(episodes, drops)
    return 0


if __name__ == "__main__":
    sys.exit(main())
