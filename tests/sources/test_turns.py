"""Messages of recorded agents become steps by turns, character for character."""

import json
from pathlib import Path
from typing import Any

import pytest

from errata.errors import RecipeError, SourceError
from errata.exports.rows import conversation
from errata.records.trajectory import actions
from errata.records.types import Attempt, Episode, Message, Step
from errata.sources.columns import ColumnError
from errata.sources.rollouts import rollouts
from errata.sources.turns import opened, prompt_of, steps_of
from tests.sources.support import drops, episodes


def system(text: str = "Be brief.") -> dict[str, Any]:
    return {"role": "system", "content": text}


def user(text: str) -> dict[str, Any]:
    return {"role": "user", "content": text}


def says(text: str | None, *calls: tuple[str, str]) -> dict[str, Any]:
    made = [{"function": {"name": name, "arguments": given}} for name, given in calls]
    return {"role": "assistant", "content": text, **({"tool_calls": made} if made else {})}


def tool(text: str) -> dict[str, Any]:
    return {"role": "tool", "content": text}


def read(*messages: dict[str, Any], prompt: tuple[Message, ...] | None = None) -> tuple[Step, ...]:
    found = opened(list(messages))
    return steps_of(found, found.opening if prompt is None else prompt)


def test_even_turns_are_the_agents_and_odd_ones_what_it_is_answered() -> None:
    made = read(system(), user("hi"), says("hello"), user("look"), says(None, ("get", '{"id": 7}')), tool("[1]"))
    assert [(s.turn, s.role, s.source, s.train, s.text) for s in made] == [
        (0, "action", "rollout", True, "hello"),
        (1, "observation", "environment", False, "look"),
        (2, "action", "rollout", True, '{"name": "get", "arguments": {"id": 7}}'),
        (3, "observation", "environment", False, "[1]"),
    ]


def test_words_beside_a_call_are_thought_and_the_call_is_the_action() -> None:
    made = read(user("hi"), says("let me see\nnow", ("get", "{}")))
    assert [(s.role, s.text) for s in made] == [
        ("reasoning", "let me see\nnow\n"),
        ("action", '{"name": "get", "arguments": {}}'),
    ]
    assert actions(made) == ('{"name": "get", "arguments": {}}',)


def test_several_calls_and_several_answers_are_one_turn_each() -> None:
    made = read(user("hi"), says(None, ("a", "{}"), ("b", "{}")), tool("one"), tool("two"), says("done"))
    assert [s.turn for s in made] == [0, 0, 1, 1, 2]
    assert made[0].text.endswith("}\n") and made[2].text == "one\n" and made[3].text == "two"


@pytest.mark.parametrize(
    ("given", "written"),
    [
        ('{"a":1}', '{"a":1}'),
        ({"a": "é"}, '{"a": "é"}'),
        ('{"a":\n1}', json.dumps('{"a":\n1}')),
        ("not json", '"not json"'),
        ('{"a": "\u2028"}', json.dumps('{"a": "\u2028"}', ensure_ascii=False)),
    ],
)
def test_arguments_stay_as_they_were_written_where_they_fit_a_line(given: Any, written: str) -> None:
    message = {"role": "assistant", "content": None, "tool_calls": [{"name": "f", "arguments": given}]}
    (step,) = read(user("hi"), message)
    assert step.text == f'{{"name": "f", "arguments": {written}}}'
    assert json.loads(step.text)["name"] == "f"


def test_an_opening_that_all_share_is_the_prompt() -> None:
    both = [opened([system(), user("hi"), says(x)]) for x in ("a", "b")]
    prompt = prompt_of(both)
    assert [m.role for m in prompt] == ["system", "user"]
    assert [[s.turn for s in steps_of(t, prompt)] for t in both] == [[0], [0]]


def test_where_users_begin_in_other_words_the_system_is_the_prompt_and_attempts_begin_with_the_user() -> None:
    both = [opened([system(), user(x), says(x + "!"), user("ok")]) for x in ("a", "b")]
    prompt = prompt_of(both)
    assert [m.role for m in prompt] == ["system"]
    for x, t in zip("ab", both, strict=True):
        steps = steps_of(t, prompt)
        assert [(s.turn, s.role, s.text) for s in steps] == [
            (1, "observation", x), (2, "action", x + "!"), (3, "observation", "ok"),
        ]  # fmt: skip
        messages, spans = conversation(Attempt(id="a", stage="source", index=0, kind="rollout", steps=steps))
        assert [(m.role, m.content) for m in messages] == [("user", x), ("assistant", x + "!")]
        assert [(s.message, s.start, s.end, s.train) for s in spans] == [(1, 0, 2, True)]


def test_other_systems_are_no_common_prompt() -> None:
    with pytest.raises(ColumnError, match="share no turn of the system"):
        prompt_of([opened([system(x), user("hi"), says("a")]) for x in ("a", "b")])
    with pytest.raises(ColumnError, match="share no turn of the system"):
        prompt_of([opened([user(x), says("a")]) for x in ("a", "b")])


@pytest.mark.parametrize(
    ("messages", "fault"),
    [
        ("no list", "no list of messages"),
        ([user("hi")], "no message is the assistant's"),
        ([tool("x"), says("a")], "texts of the system and the user alone"),
        ([user("hi"), says("a"), system()], "its role is 'system'"),
        ([user("hi"), says(None)], "neither says nor calls"),
        ([user("hi"), {"role": "assistant", "content": None, "tool_calls": [{}]}], "names no function"),
        ([user("hi"), {"role": "assistant", "content": 7}], "is no text"),
    ],
)
def test_what_is_no_trajectory_is_refused(messages: Any, fault: str) -> None:
    with pytest.raises(ColumnError, match=fault):
        opened(messages)


# ---- by the source


def table(tmp_path: Path, *rows: dict[str, Any], **options: Any) -> list[Any]:
    path = tmp_path / "runs.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    given: dict[str, Any] = {
        "columns": {"id": "task"},
        "attempts": ({"trajectory": "rows.*.run", "reward": "rows.*.reward"},),
        "group": "task",
        "verifier": "label",
    }
    return list(rollouts(path=str(path), **{**given, **options}))


def row(task: Any, reward: Any, *messages: dict[str, Any]) -> dict[str, Any]:
    return {"task": task, "reward": reward, "run": [system("SYSTEM"), user("hi"), *(messages or (says("a"),))]}


def test_rows_of_one_task_are_attempts_at_one_problem_in_the_order_of_the_file(tmp_path: Path) -> None:
    items = table(tmp_path, row(1, 0.0, says("a")), row("2", 1), row(1, 0.5, says("b")), row(1, None, says("c")))
    first, second = episodes(items)
    assert (first.problem.origin, second.problem.origin) == ("runs.jsonl line 1, 3, 4", "runs.jsonl line 2")
    assert [a.text for a in first.attempts] == ["a", "b", "c"]
    said = {v.target: (v.verifier, v.outcome, v.score) for v in first.verdicts}
    assert [said[a.id] for a in first.attempts] == [
        ("label", "fail", 0.0), ("label", "fail", 0.5), ("label", "unknown", None),
    ]  # fmt: skip


def test_success_is_the_least_reward_that_passes(tmp_path: Path) -> None:
    (episode,) = episodes(table(tmp_path, row(1, 0.5), row(1, 0.4), success=0.5))
    assert sorted(v.outcome for v in episode.verdicts) == ["fail", "pass"]


def test_a_reward_beyond_one_is_a_malformed_row(tmp_path: Path) -> None:
    (drop,) = drops(table(tmp_path, row(1, 1.5)))
    assert drop.code == "malformed_row" and "reward: 1.5 is no number from 0 to 1" in drop.detail


def test_a_malformed_row_is_refused_and_the_others_of_its_task_stay(tmp_path: Path) -> None:
    items = table(tmp_path, row(1, 1), {"reward": 1}, row(1, 0))
    assert [d.detail for d in drops(items)] == ["runs.jsonl line 2: the row has no 'task' to group it by"]
    assert [len(e.attempts) for e in episodes(items)] == [2]


def test_the_words_of_the_system_come_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "system.txt"
    path.write_text("Real words.\n")
    (item,) = table(tmp_path, row(1, 1), system=str(path))
    assert isinstance(item, Episode) and item.problem.messages[0].content == "Real words.\n"
    with pytest.raises(SourceError, match="set system to a file"):
        table(tmp_path, row(1, 1), system=str(tmp_path / "none.txt"))


@pytest.mark.parametrize(
    ("options", "fault"),
    [
        ({"columns": {"problem": "task"}}, "trajectories bring their own prompt"),
        ({"prompt": "Think."}, "trajectories bring their own prompt"),
        ({"attempts": ({"trajectory": "run"}, {"text": "run"})}, "have no common prompt"),
        ({"attempts": ({"trajectory": "run", "label": "reward", "reward": "reward"},)}, "which one is to be believed"),
        ({"attempts": ({"trajectory": "run", "text": "run"},)}, "and `trajectory`"),
    ],
)
def test_bad_configuration_is_refused(tmp_path: Path, options: dict[str, Any], fault: str) -> None:
    with pytest.raises(RecipeError, match=fault):
        table(tmp_path, row(1, 1), **options)
