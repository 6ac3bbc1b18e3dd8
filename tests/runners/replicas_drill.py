"""Runs on one Ray with engines of several replicas that die or hang; prints what became of each as a line of JSON.

python -m tests.runners.replicas_drill FOLDER
"""

import json
import shutil
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import ray

from errata.errors import ErrataError
from errata.records.types import Episode
from errata.runners import job
from errata.runners.options import Options
from errata.runners.ray import connect
from errata.store.reader import open_dataset
from tests.runners.support import Recipe, prepared

PROBLEMS = 24


def ran(folder: Path, name: str, *, runner: str = "ray", replicas: int = 2, **options: Any) -> dict[str, Any]:
    """What became of a run of samples and verdicts alone."""
    recipe = Recipe(folder / name)
    shutil.copy(Path(__file__).with_name("deadly.py"), recipe.path.parent)
    log = folder / name / "log"
    recipe.data |= {
        "part_size": 4,
        "stages": [*recipe.data["stages"][:2], {"use": "pair"}],
        "exports": [{"use": "dpo"}],
    }
    recipe.data["source"]["with"]["count"] = PROBLEMS
    spec = {"use": "deadly.py:Deadly", "with": {"log": str(log), **options}, "replicas": replicas, "patience": 8}
    recipe.data["engines"] = {"student": spec}
    recipe.write()
    try:
        _, made = job.run(Options(recipe=recipe.path, out=folder / name / "out", runner=runner), lambda *_: None)  # type: ignore[arg-type]
    except ErrataError as error:
        return {"run": name, "error": type(error).__name__, "said": str(error)}
    data = open_dataset(made.path)
    marks = Counter(p.name.split("-")[0] for p in log.iterdir())
    drops = [(d.code, d.episode) for d in data.rows("drops")]
    whole = {e.id: [a.text for a in e.attempts] for e in data.rows("episodes") if isinstance(e, Episode)}
    told = {"drops": drops, "episodes": whole, "processes": len({p.name.split("-")[1] for p in log.iterdir()})}
    return {"run": name, **told, **marks}


def main(folder: Path) -> None:
    first = next(i for i in prepared(Recipe(folder / "first").path).plan.items() if isinstance(i, Episode))
    connect()
    print(json.dumps({"run": "poison", "of": first.id}), flush=True)
    for name, options in (
        ("local", {"runner": "local"}),
        ("whole", {}),
        ("poisoned", {"poison": first.problem.text}),
        ("alone", {"poison": first.problem.text, "replicas": 1}),
        ("hung", {"hang": first.problem.text}),
        ("broken", {"poison": "modulo"}),
    ):
        print(json.dumps(ran(folder, name, **options)), flush=True)
    ray.shutdown()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
