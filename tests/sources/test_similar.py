"""Tasks like others: of another split, proven solvable, nearest by words, and none that is asked about."""

import json
from collections import Counter
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from msgspec.structs import replace

from errata.environments.base import split_of
from errata.environments.blocks import Blocks
from errata.environments.hosts import open_now
from errata.errors import RecipeError, SourceError
from errata.records.arrow import to_table
from errata.records.types import Drop, Episode, Task
from errata.sources.similar import likeness, similar
from errata.sources.worlds import worlds
from errata.verifiers.world import world as verify


def asked(world: str = "crafting", count: int = 3, **options: object) -> list[Episode]:
    found = worlds(world=world, count=count, difficulty=(2, 3), split="test", **options)  # type: ignore[arg-type]
    return [e for e in found if isinstance(e, Episode)]


def written(folder: Path, *episodes: Episode) -> Path:
    """A dataset's folder of episodes, a file for each half of them."""
    folder.mkdir(exist_ok=True)
    half = (len(episodes) + 1) // 2
    for i, part in enumerate((episodes[:half], episodes[half:])):
        pq.write_table(to_table(list(part), Episode), folder / f"test-{i:05}-of-00002.parquet")
    return folder


def made(path: Path, **options: object) -> tuple[list[Episode], list[Drop]]:
    items = list(similar(path=str(path), **{"difficulty": (2, 3), "draws": 24, "k": 3, **options}))  # type: ignore[arg-type]
    return [x for x in items if isinstance(x, Episode)], [x for x in items if isinstance(x, Drop)]


def task_of(episode: Episode) -> Task:
    assert episode.problem.task is not None
    return episode.problem.task


@pytest.mark.parametrize("world", ["crafting", "house", "shop"])
def test_neighbours_are_solvable_tasks_of_the_same_world_in_another_split(tmp_path: Path, world: str) -> None:
    inputs = asked(world, count=2)
    found, drops = made(written(tmp_path, *inputs), draws=16)
    assert len(found) + sum(d.code == "duplicate_problem" for d in drops) == 6
    assert {d.code for d in drops} <= {"duplicate_problem", "near_duplicate"}
    for episode in found:
        problem, task = episode.problem, task_of(episode)
        assert (task.world, problem.split, problem.source) == (world, "train", "similar")
        assert split_of(world, json.loads(task.spec)) == "train", "and so no test task, nor kin of one"
        assert verify(problem, "\n".join(problem.solution)).outcome == "pass"
        assert problem.origin.split(":")[:2] in [["similar", i.id] for i in inputs]
    assert not {e.id for e in found} & {i.id for i in inputs}


def test_the_nearest_by_words_are_taken_and_their_likeness_is_told(tmp_path: Path) -> None:
    (given,) = asked(count=1)
    path = written(tmp_path, given)
    all_, _ = made(path, k=40, draws=40)
    few, _ = made(path, k=4, draws=40)
    values = {}
    for episode in all_:
        (told,) = episode.estimates
        first = open_now(task_of(given))[1]
        assert (told.name, told.target) == ("likeness", episode.id)
        assert told.value == round(likeness(first, open_now(task_of(episode))[1]), 6) < 0.95
        values[episode.id] = told.value
    assert [e.id for e in few] == sorted(values, key=lambda id: -values[id])[:4]
    assert min(values[e.id] for e in few) > sum(values.values()) / len(values)


def test_a_task_that_is_drawn_twice_is_one_neighbour(tmp_path: Path) -> None:
    (given,) = asked(Blocks.__errata__.name, count=1)  # type: ignore[attr-defined]
    found, drops = made(written(tmp_path, given), k=80, draws=80, difficulty=(1, 1))
    assert 10 <= len({e.id for e in found}) == len(found) < 60
    assert {d.code for d in drops} <= {"few_neighbours", "near_duplicate"}


def test_likeness_counts_words_as_often_as_both_have_them() -> None:
    assert likeness("get 2 oak", "Get 2 oak") == 1 and likeness("a b", "c") == 0 == likeness("", "")
    assert likeness("a a b", "a b c") == 2 / 4


def test_the_prompt_has_the_form_of_the_one_that_it_is_like(tmp_path: Path) -> None:
    for told in (True, False):
        (given,) = asked(count=1, instructions=told)
        for episode in made(written(tmp_path / str(told), given))[0]:
            world, first = open_now(task_of(episode))
            assert episode.problem.text == (f"{world.instructions}\n\n{first}" if told else first)


def test_neighbours_depend_on_the_problem_and_the_seed_alone(tmp_path: Path) -> None:
    inputs = asked(count=3)
    together, _ = made(written(tmp_path / "a", *inputs))
    assert made(tmp_path / "a")[0] == together
    of = {e.problem.origin.split(":")[1] for e in together}
    assert of == {i.id for i in inputs}
    alone, _ = made(written(tmp_path / "b", inputs[1]))
    mine = [e for e in together if inputs[1].id in e.problem.origin]
    assert mine and {e.id for e in mine} <= {e.id for e in alone}
    assert {e.id for e in made(tmp_path / "b", seed=1)[0]} != {e.id for e in alone}


def test_what_would_contaminate_is_refused_with_the_reason(tmp_path: Path) -> None:
    (given,) = asked(count=1)
    path = written(tmp_path / "near", given)
    (best, *_), _ = made(path, k=1)
    value = best.estimates[0].value
    found, drops = made(path, k=24, near=value)
    assert best.id not in {e.id for e in found} and all(e.estimates[0].value < value for e in found)
    assert Counter(d.code for d in drops)["near_duplicate"] >= 1
    train = replace(given, problem=next(e.problem for e in worlds(world="crafting", count=1) if isinstance(e, Episode)))
    found, drops = made(written(tmp_path / "train", train))
    assert not found and [d.code for d in drops] == ["same_split"]
    assert len(made(tmp_path / "train", split="validation")[0]) == 3


def test_problems_that_have_no_neighbours_say_why(tmp_path: Path) -> None:
    one, two = asked(count=2)
    plain = replace(one, problem=replace(one.problem, task=None))
    old = replace(two, problem=replace(two.problem, task=replace(task_of(two), version=99)))
    found, drops = made(written(tmp_path, plain, old))
    assert not found and [(d.code, d.kind) for d in drops] == [
        ("no_world", "filtered"),
        ("world_version", "quarantined"),
    ]
    found, drops = made(written(tmp_path / "few", one), k=9, draws=3)
    assert len(found) < 9 and [d.code for d in drops] == ["few_neighbours"] and f"{len(found)} of 9" in drops[0].detail


@pytest.mark.parametrize("options", [{"k": 0}, {"draws": 0}, {"difficulty": (0, 1)}, {"near": 0.0}, {"near": 1.5}])
def test_what_cannot_be_asked_is_refused(tmp_path: Path, options: dict[str, object]) -> None:
    with pytest.raises(RecipeError, match="similar: "):
        made(tmp_path, **options)


def test_a_folder_without_episodes_and_a_file_of_other_rows_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="no episodes at"):
        made(tmp_path)
    path = tmp_path / "x.parquet"
    pq.write_table(to_table([], Drop), path)
    with pytest.raises(SourceError, match="cannot read episodes"):
        made(path)
    path.write_bytes(b"PAR1")
    with pytest.raises(SourceError, match="cannot read episodes"):
        made(path)
