"""The `iterate:` block: what it may say, every fault in it at once, and the command that it becomes."""

from pathlib import Path
from typing import Any

import pytest

from errata.recipe.iteration import arguments
from errata.recipe.spec import IterateSpec
from tests.recipe.support import faults, made

TRAIN = "python t.py {dataset} {model} {out}"


def block(**fields: Any) -> Any:
    def change(data: dict[str, Any]) -> None:
        data["engines"]["student"] = {"use": "pocket"}
        data["iterate"] = {"train": TRAIN, **fields}

    return change


def test_defaults_are_three_rounds_each_from_the_last_on_its_own_data(tmp_path: Path) -> None:
    assert made(tmp_path).iterate is None
    assert made(tmp_path, change=block()).iterate == IterateSpec(
        train=TRAIN, rounds=3, student="student", config="", start="previous", keep="last", sets=()
    )


def test_sets_and_changes_of_the_command_line_are_read(tmp_path: Path) -> None:
    sets = [[], ["stages.sample.with.n=1", "seed=2"]]
    found = made(tmp_path, "iterate.rounds=2", "iterate.start=base", change=block(sets=sets, keep="all")).iterate
    assert found is not None and (found.rounds, found.start, found.keep) == (2, "base", "all")
    assert found.sets == ((), ("stages.sample.with.n=1", "seed=2"))


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"rounds": 0}, "iterate.rounds: 0 is less than the minimum of 1"),
        ({"start": "new"}, "iterate.start: 'new' is not one of"),
        ({"trian": "x"}, "iterate: unknown key 'trian', did you mean 'train'?"),
        ({"train": "t {dataset} {uot}"}, "iterate.train: unknown placeholder {uot}; known are {dataset}, {config}"),
        ({"train": "t {dataset}"}, "iterate.train: the command needs {out}"),
        ({"train": ""}, "iterate.train: the command needs {dataset}"),
        ({"train": "t {dataset} '{out}"}, "iterate.train: cannot be split into arguments (No closing quotation)"),
        ({"student": "pupil"}, "iterate.student: no engine plays 'pupil'; engines has student, teacher"),
        ({"student": "teacher"}, "iterate.student: the engine oracle of 'teacher' takes no folder of a model"),
        ({"config": "stf"}, "iterate.config: no export is called 'stf'; exports has sft, dpo"),
        ({"sets": [[], ["stages.sample.with.m=1"]]}, "iterate.sets.1: stages.sample.with: unknown key 'm'"),
        ({"sets": [["stages.simple.with.n=1"]]}, "iterate.sets.0: --set stages.simple: there is no 'simple'"),
        ({"sets": [["name=other"]]}, "iterate.sets.0: a round can change neither `name` nor `iterate`"),
        ({"sets": [["iterate.rounds=9"]]}, "iterate.sets.0: a round can change neither `name` nor `iterate`"),
    ],
)
def test_a_fault_is_told_with_its_place(tmp_path: Path, fields: dict[str, Any], told: str) -> None:
    found = faults(tmp_path, change=block(**fields))
    assert any(f.startswith(told) for f in found), found


def test_faults_of_the_block_and_of_every_round_come_at_once(tmp_path: Path) -> None:
    found = faults(tmp_path, change=block(train="t {dataset} {x}", student="pupil", config="stf"))
    assert len(found) == 4
    found = faults(tmp_path, change=block(sets=[["seed=a"], ["limit=0"]]))
    assert [f.split(":")[0] for f in found] == ["iterate.sets.0", "iterate.sets.1"]


def test_the_command_is_split_as_a_shell_would_and_read_by_none() -> None:
    command = """{python} 'my train.py' --data {dataset} --opts '{"a": 1}' --to={out};rm $HOME --n {round}"""
    made = arguments(command, datasets=["/d 1"], values={"python": "/py", "out": "/o $x", "round": 2})
    expected = ["/py", "my train.py", "--data", "/d 1", "--opts", '{"a": 1}', "--to=/o $x;rm", "$HOME", "--n", "2"]
    assert made == expected


def test_an_argument_with_the_dataset_stands_once_for_each() -> None:
    assert arguments("t {dataset} -x", datasets=["a", "b"], values={}) == ["t", "a", "b", "-x"]
    assert arguments("t --d={dataset}", datasets=["a", "b"], values={}) == ["t", "--d=a", "--d=b"]
    assert arguments("t {dataset}", datasets=["{out}"], values={"out": "/o"}) == ["t", "{out}"], "not filled in twice"
