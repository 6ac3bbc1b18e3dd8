"""A Ray cluster of two nodes on this machine, runs of the command line on it, and what became of each.

python -m tests.runners.cluster_drill FOLDER
"""

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ray.cluster_utils import Cluster

from tests.runners.support import Recipe, Server, command, environment

PARTS = 15
SIZE = {"num_cpus": 1, "object_store_memory": 100_000_000, "include_dashboard": False}


def ran(recipe: Recipe, out: Path, address: str, act: Callable[[subprocess.Popen[str]], None]) -> dict[str, Any]:
    """What became of a run on the cluster, on which `act` is called once some parts are committed."""
    arguments = ["run", recipe.path, "--out", out, "--runner", "ray", "--address", address, "--workers", 2]
    run = subprocess.Popen(
        command(*arguments, strict=False), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment()
    )
    while run.poll() is None and len(list(out.glob("small/.work-*/part-*/part.json"))) < 2:
        time.sleep(0.05)
    if run.poll() is None:
        act(run)
    said = [line for line in run.communicate()[1].splitlines() if line.startswith("errata: ")]
    found = [json.loads(path.read_text()) for path in out.glob("small/*/_manifest/manifest.json")]
    return {"code": run.returncode, "said": said, "hash": [f["content_hash"] for f in found]}


def main(folder: Path) -> None:
    def tell(name: str, **found: Any) -> None:
        print(json.dumps({"run": name, **found}), flush=True)

    recipe = Recipe(folder / "recipe")
    recipe.data["part_size"] = 4
    recipe.data["source"]["with"]["count"] = 4 * PARTS
    cluster = Cluster(initialize_head=True, head_node_args=SIZE)
    nodes = [cluster.add_node(**SIZE)]

    def lose(run: subprocess.Popen[str]) -> None:
        cluster.remove_node(nodes.pop(), allow_graceful=False)
        nodes.append(cluster.add_node(**SIZE))

    with Server(latency=0.1) as server:
        recipe.served(server.url, concurrency=4)
        tell("whole", **ran(recipe, folder / "whole", cluster.address, lambda run: None))
        tell("node lost", **ran(recipe, folder / "lost", cluster.address, lose))
        server.counts.__init__()  # type: ignore[misc]
        ended = ran(recipe, folder / "ended", cluster.address, lambda run: run.send_signal(signal.SIGTERM))
        tell("terminated", **ended, asked=server.requests)
        tell("resumed", **ran(recipe, folder / "ended", cluster.address, lambda run: None), repeated=server.repeated)
    cluster.shutdown()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
