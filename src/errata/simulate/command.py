"""`errata simulate`: print a URL for each replica, serve until SIGINT or SIGTERM, and tell what happened."""

import asyncio
import contextlib
import signal
from typing import Any

import uvloop

from errata.errors import EngineDown
from errata.simulate.faults import KINDS
from errata.simulate.options import Options
from errata.simulate.server import Replica
from errata.simulate.traffic import Bodies


def fault_table() -> str:
    """Every kind of fault, a line each."""
    width = max(map(len, KINDS))
    return "\n".join(f"{kind.name:{width}}  {kind.about}" for kind in KINDS.values())


def serve(options: Options) -> None:
    """Serve in this process until it is told to stop. Raises EngineDown where a port is taken."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_serve(options))


async def opened(options: Options, stack: contextlib.AsyncExitStack) -> list[Replica]:
    """Replicas that listen, and are closed with `stack`. Raises EngineDown where a port is taken."""
    bodies = Bodies()
    replicas: list[Replica] = []
    for number in range(options.replicas):
        replica = Replica(options, bodies, replicas)
        port = options.port + number if options.port else 0
        try:
            await replica.open(port)
        except OSError as error:
            said = error.strerror or str(error)
            raise EngineDown(f"simulate: cannot listen on {options.host} port {port}: {said}") from None
        stack.push_async_callback(replica.close)
        replicas.append(replica)
    return replicas


async def _serve(options: Options) -> None:
    stop = asyncio.Event()
    for name in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(name, stop.set)
    async with contextlib.AsyncExitStack() as stack:
        replicas = await opened(options, stack)
        for replica in replicas:
            print(replica.url, flush=True)
        await stop.wait()
        told = replicas[0].told_by_all()
    print(table(told), flush=True)


def table(told: dict[str, Any]) -> str:
    """The accounting for people: requests, tokens, and how full the slots were."""
    asked = told["prefix_tokens_asked"]
    cached = f"{told['prefix_tokens_hit'] / asked if asked else 0.0:.1%} from the prefix cache"
    ideal = f"{told['ratio']:.3f} times the ideal {told['ideal_seconds']:.2f} s"
    rows = [
        ("requests", f"{told['requests']:,}"),
        ("answered", f"{told['answered']:,}"),
        ("repeated", f"{told['repeated']:,} answered before, {told['seen_before']:,} seen before"),
        ("cancelled", f"{told['cancelled']:,} ({told['cancelled_slot_seconds']:.1f} slot-seconds lost)"),
        ("tokens", f"{told['prompt_tokens']:,} in ({cached}), {told['completion_tokens']:,} out"),
        ("peak", f"{told['peak_running']:,} running, {told['peak_queue']:,} queued"),
        ("window", f"{told['window_seconds']:.2f} s, {ideal}"),
    ]
    rows += [(f"fault {name}", f"{count:,}") for name, count in sorted(told["faults"].items())]
    width = max(len(name) for name, _ in rows)
    return "\n".join(f"{name:{width}}  {text}" for name, text in rows)
