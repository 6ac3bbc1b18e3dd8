"""The best sibling before the worst, along the best way of a tree; rows of one step each."""

from typing import Any

import pytest

from errata.exports.base import ExportContext
from errata.exports.dpo import dpo
from errata.prompts import load
from errata.records.rows import DpoRow
from errata.records.types import Additions, Episode, Message
from errata.stages.sibling_pairs import sibling_pairs
from errata.stages.tree import tree
from tests.stages.grove import grove
from tests.stages.letters import spell
from tests.stages.support import Says, World, codes, run, user

P = user("q")
TREE = {
    "a": {"ok": {"1": "pass", "2": "fail"}, "ko": "fail"},
    "b": {"x": "pass", "y": "fail"},
    "c": None,
    "d": "fail",
}
NUMBERS = {
    "a": (0.8, 6, 0.5), "b": (0.4, 3, 0.5), "c": (0.1, 1, 0.9), "d": (0.0, 0, 0.1),
    "aok": (0.9, 4, 0.4), "ako": (0.2, 2, 0.6), "aok1": (1.0, 2, 0.3), "aok2": (1.0, 2, 0.2),
}  # fmt: skip


def made(tree: Any = TREE, numbers: Any = NUMBERS, **options: Any) -> tuple[Episode, Additions]:
    e = grove(P, tree, numbers)
    found = run(sibling_pairs, e, **options)
    return e.add(found), found


def words(e: Episode, id: str) -> str:
    return e.attempt(id).text.replace("\n", "")


def test_pairs_go_along_the_best_way_by_value_then_prior() -> None:
    e, found = made()
    assert [(words(e, p.chosen), words(e, p.rejected), p.step) for p in found.pairs] == [
        ("aok1", "c", 0),  # the worst that was visited: d was not
        ("aok1", "ako", 1),
    ]
    assert [p.margin for p in found.pairs] == pytest.approx([0.7, 0.7])
    assert codes(found.drops) == ["no_margin"], "siblings that are worth the same are no preference"
    assert {p.rule for p in found.pairs} == {"sibling"}


def test_of_equals_the_likelier_is_the_better_and_the_way_goes_on_there() -> None:
    numbers = {
        "a": (0.5, 2, 0.2), "b": (0.5, 2, 0.7), "c": (0.5, 1, 0.1), "d": (0.0, 0, 1.0),
        "bx": (0.9, 1, 1.0), "by": (0.1, 1, 1.0),
    }  # fmt: skip
    e, found = made(numbers=numbers)
    assert [(words(e, p.chosen), words(e, p.rejected)) for p in found.pairs] == [("bx", "by")]


def test_visits_tell_how_sure_a_preference_is() -> None:
    _, found = made()
    first = {x.name: x.value for x in found.estimates if x.target == found.pairs[0].id}
    assert first == pytest.approx({"q_w": 0.8, "q_l": 0.1, "n_w": 6, "n_l": 1, "conf": 6 / 7, "label_smoothing": 1 / 7})
    _, found = made(numbers={"a": (0.9, 1, 1.0), "b": (0.1, 9, 1.0), "c": (0.2, 1, 1.0)})
    smoothing = {x.name: x.value for x in found.estimates if x.target == found.pairs[0].id}
    assert smoothing["conf"] == 0.1 and smoothing["label_smoothing"] == 0.5, "never more than a half"


def test_no_more_than_most_and_none_that_known_ends_contradict() -> None:
    _, found = made(most=1)
    assert len(found.pairs) == 1 and codes(found.drops) == ["enough", "no_margin"]
    _, found = made(margin=0.75)
    assert not found.pairs and codes(found.drops) == ["no_margin"] * 3
    _, found = made({"a": "fail", "b": "pass"}, {"a": (0.9, 1, 1.0), "b": (0.1, 1, 1.0)})
    assert not found.pairs and codes(found.drops) == ["contradicted"]
    assert codes(run(sibling_pairs, Episode(problem=P)).drops) == ["no_tree"]


def rows(e: Episode, **options: Any) -> list[DpoRow]:
    return [r for r in dpo(e, ExportContext("dpo", load), of=("sibling_pairs",), **options) if isinstance(r, DpoRow)]


def test_a_row_holds_the_steps_alone_on_the_words_that_both_go_on_from() -> None:
    e, _ = made()
    first, second = rows(e, only_step=True)
    assert (first.prompt, first.chosen[0].content, first.rejected[0].content) == (P.messages, "a\n", "c\n")
    assert second.prompt == (*P.messages, Message(role="assistant", content="a\n"))
    assert (second.chosen[0].content, second.rejected[0].content) == ("ok\n", "ko\n")
    assert second.open and (first.diverges, second.diverges) == (0, 0)
    metrics = {m.name: m.value for m in second.metrics}
    assert {"q_w", "q_l", "n_w", "n_l", "conf", "label_smoothing", "margin"} <= set(metrics) and metrics["n_w"] == 4
    whole = rows(e)[1]
    assert (whole.chosen[0].content, whole.rejected[0].content) == ("ok\n1\n", "ko\n") and not whole.open
    e, _ = made({"x = 1 + 2": "pass", "x = 1 + 3": "fail"}, {"x = 1 + 2": (0.9, 1, 1.0), "x = 1 + 3": (0.1, 1, 1.0)})
    assert [r.diverges for r in rows(e, only_step=True)] == [len("x = 1 + ")]


def test_in_a_world_the_replies_are_one_turn() -> None:
    start, student = Episode(problem=spell("abc")), Says(lambda r: "abc"[r.seed % 3])
    e = start.add(run(tree, start, World({"student": student}), simulations=30, width=15, depth=3))
    e = e.add(run(sibling_pairs, e))
    found = rows(e, only_step=True)
    assert found and all(not r.open and len(r.chosen) == len(r.rejected) == 1 for r in found)
    for row in found:
        turns = [m.content for m in row.prompt[1:]]
        assert len(turns) % 2 == 0 and row.prompt[:1] == start.problem.messages
        done = "".join(turns[::2])
        assert row.chosen[0].content == "abc"[len(done)] and done == "abc"[: len(done)]
