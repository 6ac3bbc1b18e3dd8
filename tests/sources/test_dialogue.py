"""Dialogues of answers and remarks, read from a table: each answer revises the one before it."""

import json
from pathlib import Path
from typing import Any

import pytest

from errata.errors import RecipeError
from errata.records.types import Drop, Episode
from errata.sources.rollouts import rollouts

PDDL = "(:objects a b) (:init (ontable a) (ontable b) (clear a) (clear b) (handempty)) (:goal (on a b))"
ASK = [{"role": "system", "content": "Plan."}, {"role": "user", "content": PDDL}]
TALK = [
    *ASK,
    {"role": "assistant", "content": "```\n(pick-up a)\n(stack b a)\n```"},
    {"role": "user", "content": "It is invalid at step 2."},
    {"role": "assistant", "content": "(pick-up a)"},
    {"role": "user", "content": "It is invalid."},
    {"role": "assistant", "content": "(pick-up a) (stack a b)"},
]
OPTIONS: dict[str, Any] = {
    "columns": {"problem": "messages | opening"}, "verifier": "world", "segment": "actions", "label_base": 1,
    "attempts": ({"turns": "messages", "label": "good", "critic": "'validator'"},),
    "critique_error": r"invalid(?: at step (\d+))?", "critique_no_error": "is valid",
}  # fmt: skip


def read(folder: Path, *talks: Any, **options: Any) -> list[Episode | Drop]:
    path = folder / "t.jsonl"
    path.write_text("".join(json.dumps({"messages": talk, "good": True}) + "\n" for talk in talks))
    return list(rollouts(path=str(path), **{**OPTIONS, **options}))


def test_answers_are_attempts_in_a_line_and_remarks_are_critiques(tmp_path: Path) -> None:
    (e,) = read(tmp_path, TALK)
    assert isinstance(e, Episode)
    assert [(m.role, m.content) for m in e.problem.messages] == [(m["role"], m["content"]) for m in ASK]
    first, second, third = sorted(e.attempts, key=lambda a: next(t.value for t in a.tags if t.name == "turn"))
    assert [a.text for a in (first, second, third)] == [TALK[k]["content"] for k in (2, 4, 6)]
    assert [a.kind for a in (first, second, third)] == ["rollout", "revised", "revised"]
    assert (first.parent, second.parent, third.parent) == (None, first.id, second.id)
    assert [s.text for s in first.steps] == ["```\n(pick-up a)\n", "(stack b a)\n```"]
    assert {s.source for a in e.attempts for s in a.steps} == {"rollout"}
    told = {c.attempt: c for c in e.critiques}
    assert (second.critique, third.critique) == (told[first.id].id, told[second.id].id) and first.critique is None
    assert [(c.verdict, c.first_error, c.text) for c in (told[first.id], told[second.id])] == [
        ("error", 1, TALK[3]["content"]), ("error", 1, TALK[5]["content"]),
    ]  # fmt: skip
    assert {t.value for c in e.critiques for t in c.tags} == {"validator"}
    assert [(v.target, v.outcome) for v in e.verdicts] == [(third.id, "pass")], "the label is the last answer's"


def test_remarks_that_say_nothing_known_are_unknown(tmp_path: Path) -> None:
    for words, verdict, step in (
        ("It is valid.", "no_error", None), ("Hm.", "unknown", None), ("invalid at step 9", "unknown", None),
    ):  # fmt: skip
        (e,) = read(tmp_path, [*TALK[:3], {"role": "user", "content": words}])
        assert isinstance(e, Episode)
        assert [(c.verdict, c.first_error) for c in e.critiques] == [(verdict, step)]


@pytest.mark.parametrize(
    ("talk", "why"),
    [
        (ASK, "none is the assistant's"),
        ([*TALK[:3], TALK[2]], "do not take turns"),
        ([*TALK[:2], {"role": "assistant", "content": " "}], "one has no text"),
        ("words", "opening needs a list"),
    ],
)
def test_what_is_no_dialogue_is_dropped_with_its_reason(tmp_path: Path, talk: Any, why: str) -> None:
    items = read(tmp_path, TALK, talk)
    assert [type(i) for i in items] == [Episode, Drop]
    assert isinstance(items[1], Drop) and items[1].code == "malformed_row" and why in items[1].detail


def test_with_a_world_each_problem_is_its_task(tmp_path: Path) -> None:
    other = [{"role": "user", "content": "no pddl"}, *TALK[2:]]
    found, drop = read(tmp_path, TALK, other, world="blocks")
    assert isinstance(found, Episode) and found.problem.task is not None
    spec = json.loads(found.problem.task.spec)
    assert (spec["blocks"], spec["goal"], found.problem.task.world) == (["a", "b"], ["on a b"], "blocks")
    assert isinstance(drop, Drop) and "blocks reads no task" in drop.detail


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"attempts": ({"turns": "messages", "text": "messages"},)}, "needs one of `text`, `steps`, `turns`"),
        ({"attempts": ({"turns": "messages", "first_error": "x"},)}, "not with first_error"),
        ({"world": "crafting"}, "crafting reads no tasks"),
    ],
)
def test_a_wrong_configuration_is_refused(tmp_path: Path, options: dict[str, Any], why: str) -> None:
    with pytest.raises(RecipeError, match=why):
        read(tmp_path, TALK, **options)
