"""Recipes of one's own over text worlds: attempts that nobody trusts are replayed; tasks like those that are uncertain.

The parts that only a test needs, a stage that lies and an engine with known probabilities, stand beside the recipe.
"""

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

PARTS = '''
from msgspec.structs import replace

from errata.engines.base import Identity, Reply
from errata.records.types import Additions
from errata.registry import engine, stage
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


@engine(version=1)
class Torn:
    """Finds every action equally likely, but where the task has an odd number of words the first one alone."""

    seen = ()
    identity = Identity(engine="torn", version=1, model="a test's own", revision="0")

    async def generate(self, request):
        text = request.messages[-1].content
        odd = len(request.messages[0].content.split()) % 2
        value = -1.0 if not odd or text.endswith("inventory") else -30.0
        return Reply(
            text="", finish="stop", prompt_tokens=1, completion_tokens=0, tokens=(text,), logprobs=(value,)
        )

    async def close(self):
        pass
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
UNSURE = """
name: unsure
version: 1
source: {use: worlds, with: {world: crafting, count: 12, difficulty: [1, 3], seed: 4, split: test}}
engines:
  student: {use: "parts.py:Torn"}
stages:
  - {use: uncertain, with: {tau: 0.5}}
exports:
  - {use: rl}
"""
SIMILAR = """
name: alike
version: 1
source: {use: similar, with: {path: PATH, k: 2, draws: 16, difficulty: [1, 3]}}
engines:
  teacher: {use: expert}
stages:
  - {use: act, with: {role: teacher, source: teacher, limit: 30}}
exports:
  - {use: sft, with: {of: [act]}}
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


@pytest.fixture(scope="module")
def unsure(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return ran(UNSURE, tmp_path_factory.mktemp("unsure"))


def test_only_the_episodes_go_on_of_whose_first_action_the_model_is_not_sure(unsure: Dataset) -> None:
    kept = [e for e in unsure.rows("episodes") if isinstance(e, Episode)]
    sure = [d for d in unsure.rows("drops") if isinstance(d, Drop) and d.code == "certain"]
    assert min(len(kept), len(sure)) >= 2 and {e.problem.split for e in kept} == {"test"}
    for episode in kept:
        assert episode.estimate(episode.id, "margin") == 0
        assert len(episode.problem.text.split()) % 2 == 0


def test_the_next_run_teaches_tasks_like_them_and_none_of_the_test(unsure: Dataset, tmp_path: Path) -> None:
    made = ran(SIMILAR.replace("PATH", json.dumps(str(unsure.path / "data/episodes"))), tmp_path)
    asked = {e.id for e in unsure.rows("episodes") if isinstance(e, Episode)}
    rows = [r for r in made.rows("sft") if isinstance(r, SftRow)]
    assert asked and len(rows) >= len(asked)
    for row in rows:
        assert row.task is not None and row.split == "train" and row.episode not in asked
        assert split_of(row.task.world, json.loads(row.task.spec)) == "train"
        assert replayed(row.task, row.messages[1:]).reward == 1
    origins = {e.problem.origin.split(":")[1] for e in made.rows("episodes") if isinstance(e, Episode)}
    assert origins <= asked
