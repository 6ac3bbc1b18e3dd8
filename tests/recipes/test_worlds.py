"""Attempts that nobody trusts are replayed in a recipe of one's own; TT-SI makes tasks like the uncertain ones."""

import json
from pathlib import Path

import pytest

from errata.environments.base import split_of
from errata.records.rows import SftRow
from errata.records.types import Drop, Episode
from errata.runners import job
from errata.runners.options import Options
from errata.store.check import check_dataset
from errata.store.reader import Dataset, open_dataset
from tests.recipes.test_feedback import replayed
from tests.test_pipelines import run

PARTS = '''
from msgspec.structs import replace

from errata.records.types import Additions
from errata.registry import stage
from errata.stages.base import new_id


@stage(version=1)
async def lie(episode, ctx):
    """Copies of every attempt; each second one says of the first observation what the world did not."""
    made = []
    for k, a in enumerate(episode.attempts):
        at = next((i for i, s in enumerate(a.steps) if s.role == "observation"), None)
        steps = list(a.steps)
        if k % 2 and at is not None:
            steps[at] = replace(steps[at], text="all is well.")
        made.append(replace(a, id=new_id(episode, ctx, a.id, 0), stage=ctx.stage, steps=tuple(steps), calls=()))
    return Additions(attempts=tuple(made))
'''
REPLAYED = """
name: replayed
version: 1
source: {use: worlds, with: {world: crafting, count: 6, difficulty: [1, 3], seed: 3}}
engines:
  student: {use: noisy, with: {rate: 0.1}}
stages:
  - {use: act, with: {n: 4, limit: 12}}
  - {name: lie, use: "parts.py:lie"}
  - {use: replay, with: {of: lie, own_observations: replace}}
exports:
  - {use: sft, with: {of: [lie, replay]}}
"""


def ran(recipe: str, folder: Path) -> Dataset:
    name = recipe.split()[1]
    (folder / "parts.py").write_text(PARTS)
    (folder / f"{name}.yaml").write_text(recipe)
    job.run(Options(recipe=folder / f"{name}.yaml", out=folder / "out"), lambda *_: None)
    made = open_dataset(folder / "out" / name)
    assert check_dataset(made.path) == []
    return made


def test_of_attempts_that_lie_only_what_the_world_said_is_exported(tmp_path: Path) -> None:
    made = ran(REPLAYED, tmp_path)
    episodes = {e.id: e for e in made.rows("episodes") if isinstance(e, Episode)}
    rows = [r for r in made.rows("sft") if isinstance(r, SftRow)]
    sources: dict[str, int] = {}
    for row in rows:
        attempt = episodes[row.episode].attempt(row.lineage[0])
        assert replayed(row.task, row.messages[1:]).reward == 1
        assert all(not s.train or s.role != "observation" for s in row.spans) and row.transition == "none"
        sources[attempt.kind] = sources.get(attempt.kind, 0) + 1
    assert min(sources.get("replayed", 0), sources.get("sampled", 0)) >= 3, sources
    lies = [e.outcome(a.id, "replay") for e in episodes.values() for a in e.attempts if a.stage == "lie"]
    told = [d for d in made.rows("drops") if isinstance(d, Drop) and d.code == "not_replayed"]
    assert lies.count("fail") == len(told) >= 6 and "pass" in lies and "unknown" not in lies


# ---- tt_si_inputs and tt_si


@pytest.fixture(scope="module")
def unsure(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return run("tt_si_inputs", tmp_path_factory.mktemp("unsure"), "source.with.count=20", "stages.0.with.tau=0.8")


def test_only_the_test_inputs_go_on_of_whose_first_action_the_agent_is_not_sure(unsure: Dataset) -> None:
    kept = [e for e in unsure.rows("episodes") if isinstance(e, Episode)]
    sure = [d for d in unsure.rows("drops") if isinstance(d, Drop) and d.code == "certain"]
    assert len(kept) + len(sure) == 20 and min(len(kept), len(sure)) >= 2
    assert {e.problem.split for e in kept} == {"test"} and not any(e.attempts for e in kept)
    margins = [e.estimate(e.id, "margin") for e in kept]
    assert all(m is not None and 0 <= m < 0.8 for m in margins)


def test_the_next_run_teaches_tasks_like_them_and_none_of_the_test(unsure: Dataset, tmp_path: Path) -> None:
    path = f"source.with.path={unsure.path / 'data/episodes'}"
    made = run("tt_si", tmp_path, path, "source.with.k=2", "source.with.draws=16")
    asked = {e.id for e in unsure.rows("episodes") if isinstance(e, Episode)}
    episodes = {e.id: e for e in made.rows("episodes") if isinstance(e, Episode)}
    rows = [r for r in made.rows("sft") if isinstance(r, SftRow)]
    assert len(rows) == len(episodes) >= len(asked) > 0
    for row in rows:
        problem = episodes[row.episode].problem
        assert row.task is not None and row.split == "train" and row.episode not in asked
        assert split_of(row.task.world, json.loads(row.task.spec)) == "train"
        assert problem.origin.split(":")[1] in asked and row.messages[:1] == problem.messages
        assert replayed(row.task, row.messages[1:]).reward == 1
