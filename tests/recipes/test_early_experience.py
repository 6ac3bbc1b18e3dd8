"""Early experience: its rows, one by one, against the method and its control."""

from collections import Counter
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest

from errata.environments.hosts import open_now
from errata.records.rows import SftRow
from errata.records.trajectory import action_of, actions, moves
from errata.records.types import Drop, Episode
from errata.runners import job
from errata.runners.options import Options
from errata.store.check import check_dataset
from errata.store.reader import Dataset, open_dataset
from tests.stages.acting import replayed

ROOT = Path(__file__).resolve().parents[2]


class Made:
    """A dataset and its records."""

    def __init__(self, data: Dataset) -> None:
        self.data = data
        self.episodes = {e.id: e for e in data.rows("episodes") if isinstance(e, Episode)}
        self.drops = [d for d in data.rows("drops") if isinstance(d, Drop)]

    def rows(self, config: str = "sft") -> list[SftRow]:
        return [r for r in self.data.rows(config) if isinstance(r, SftRow)]

    def monologues(self) -> list[SftRow]:
        return [r for r in self.rows() if len(r.lineage) > 1]


@pytest.fixture(scope="module")
def make(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Made]:
    @cache
    def run(name: str) -> Made:
        out = tmp_path_factory.mktemp(name)
        changes = ("source.with.count=4", "source.with.difficulty=[1,3]", "engines.expert.with.thoughts=true")
        job.run(Options(recipe=ROOT / "pipelines" / f"{name}.yaml", out=out, changes=changes), lambda *_: None)
        data = open_dataset(out / name)
        assert check_dataset(data.path) == []
        return Made(data)

    return run


def test_world_rows_say_what_the_world_says(make: Callable[..., Made]) -> None:
    made = make("early_experience_world")
    rows = made.rows("world_model")
    by = Counter(t.value for r in rows for t in r.tags if t.name == "by")
    assert by["other"] > 2 * by["expert"] > 0 and len({r.messages for r in rows}) == len(rows)
    for row in rows:
        episode = made.episodes[row.episode]
        attempt = episode.attempt(row.lineage[0])
        told = row.messages[-2].content.split("\n")
        done = [line.partition("] ")[2] for line in told if line.startswith("[")]
        assert tuple(done) == actions(attempt.steps)[: len(done)] and episode.problem.task is not None
        world, _ = open_now(episode.problem.task)
        answers = [world.step(action).observation for action in done]
        assert row.messages[-1].content == answers[-1], "the world's own answer to the action, after the history"
        assert all(s.message == len(row.messages) - 1 for s in row.spans if s.train)
    assert {r.messages[-1].role for r in made.rows()} == {"assistant"}
    assert len(made.rows()) == 4, "and the expert's trajectories to imitate"


@pytest.mark.parametrize("name", ["early_experience_reflection", "early_experience_ungrounded"])
def test_reflections_conclude_the_experts_action_and_hide_the_others(make: Callable[..., Made], name: str) -> None:
    made = make(name)
    rows = made.monologues()
    assert len(rows) >= 12 and len(made.rows()) == len(rows) + 4, "mixed with the plain trajectories"
    for row in rows:
        episode = made.episodes[row.episode]
        expert = episode.attempt(row.lineage[1])
        move = next(m for m in moves(expert.steps) if m.step == episode.attempt(row.lineage[0]).fork_step)
        assert action_of(row.messages[-1].content) == move.action and episode.accepts(expert)
        assert replayed(episode.problem, row.messages)[0] == []
        assert {s.message for s in row.spans if s.train} == {len(row.messages) - 1}
        said = row.messages[-1].content
        others = [a for a in episode.attempts if a.stage == "branch" and a.fork_step == move.step]
        shown = "\n".join(m.content for m in row.messages[:-1])
        for other in others:
            last = moves(other.steps)[-1]
            assert len(last.observation) <= 12 or last.observation in shown or last.observation not in said
        weighed = sum(f"What about {moves(a.steps)[-1].action}? " in said for a in others)
        assert weighed == (len(others) if name.endswith("reflection") else 0)
        assert ("outcomes" in row.seen) == name.endswith("reflection")


def test_the_control_differs_in_the_outcomes_alone(make: Callable[..., Made]) -> None:
    both = [make(f"early_experience_{arm}") for arm in ("reflection", "ungrounded")]
    places = [
        {(e.id, a.parent, a.fork_step) for e in m.episodes.values() for a in e.attempts if a.stage == "monologue"}
        for m in both
    ]
    assert places[0] == places[1] and places[0]
    wrong = [Counter(d.code for d in m.drops if d.stage == "monologue") for m in both]
    assert wrong[0] == wrong[1] and sum(wrong[0].values()) > 3, "the writer errs at the same places"
