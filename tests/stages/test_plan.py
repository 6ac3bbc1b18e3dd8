"""Notes build on notes of their index, tell what was seen, and do not give the answer away."""

import re
from typing import Any

import pytest

from errata import chains
from errata.engines.base import Request
from errata.records.types import Additions, Episode
from errata.stages.hint import hint
from errata.stages.plan import plan
from tests.stages.support import (
    Says,
    World,
    attempt,
    chain_of,
    codes,
    cut,
    episode,
    faithful,
    grown,
    problem,
    run,
    verdict,
)  # fmt: skip

P = problem(6)
START = Episode(problem=P)


def world(answer: Any = lambda r: f"a note of {r.seed}", seen: tuple[str, ...] = ()) -> tuple[World, Says]:
    says = Says(answer, seen)
    return World({"teacher": says, "student": says}), says


def first(n: int = 3, answer: Any = lambda r: f"- {r.seed}", **options: Any) -> Additions:
    return run(plan, START, world(answer)[0], name="select", kind="modules", prompt="regenesis_select", n=n, **options)


def test_n_notes_of_a_kind_each_with_its_call() -> None:
    made = first()
    assert [(n.index, n.kind, n.about, n.stage) for n in made.notes] == [
        (k, "modules", START.id, "select") for k in range(3)
    ]
    assert len({n.text for n in made.notes}) == len({n.id for n in made.notes}) == 3
    assert all(n.call is not None and n.call.role == "teacher" and n.seen == () for n in made.notes)


def test_a_note_is_written_on_top_of_the_earlier_ones_of_its_index() -> None:
    start = START.add(first())
    here, says = world(seen=("weights",))
    made = run(plan, start, here, name="adapt", kind="adapted", prompt="regenesis_adapt", notes=("select",), n=9)
    assert [n.index for n in made.notes] == [0, 1, 2], "one for each, whatever n"
    for note, request in zip(made.notes, says.asked, strict=True):
        mine = next(n for n in start.notes if n.index == note.index)
        others = [n for n in start.notes if n.index != note.index]
        assert mine.text in request.messages[0].content
        assert not any(n.text in request.messages[0].content for n in others)
        assert note.seen == ("weights",)


def test_what_is_shown_is_told_and_passed_on() -> None:
    start = START.add(first())
    here, says = world()
    options: dict[str, Any] = {"kind": "adapted", "prompt": "regenesis_adapt_to_answer", "notes": ("select",)}
    start = grown(plan, start, here, name="adapt", see=("reference",), **options)
    assert f"for your eyes only: {P.answer}\n" in says.asked[0].messages[0].content
    start = grown(plan, start, here, name="structure", kind="structure", prompt="regenesis_structure", notes=("adapt",))
    assert {n.seen for n in start.notes if n.stage != "select"} == {("reference",)}
    here = World({"student": Says(faithful)})
    made = run(hint, start, here, prompt="chains_follow", notes=("structure",), tags={"truth_shown": "yes"})
    assert {a.seen for a in made.attempts} == {("reference",)} and len(made.attempts) == 3
    assert {(t.name, t.value) for a in made.attempts for t in a.tags} == {("truth_shown", "yes")}


@pytest.mark.parametrize("see", [(), ("reference",)])
def test_a_note_that_gives_the_answer_away_is_rejected_and_nothing_builds_on_it(see: tuple[str, ...]) -> None:
    told = [False]

    def answer(request: Request) -> str:
        told[0] = not told[0]
        return f"The answer is {P.answer}" if told[0] else "Look at the order"

    made = first(2, answer, see=see)
    assert codes(made.drops) == ["leak"] and len(made.notes) == 2
    start = START.add(made)
    bad = next(n for n in made.notes if "answer" in n.text)
    assert [d.target for d in made.drops] == [bad.id] and start.rejects(bad.id)
    here = world()[0]
    after = run(plan, start, here, name="adapt", kind="adapted", prompt="regenesis_adapt", notes=("select",))
    assert [n.index for n in after.notes] == [1 - bad.index]
    assert not first(2, answer, leaks=False).drops


def test_a_cut_or_empty_note_is_quarantined() -> None:
    made = first(1, lambda _: cut("- Work"))
    assert (made.notes, codes(made.drops)) == ((), ["truncated"])
    assert codes(first(1, lambda _: " \n").drops) == ["truncated"]


@pytest.mark.parametrize(("outcome", "asks"), [("pass", False), ("fail", True), ("unknown", True)])
def test_nothing_is_asked_where_an_attempt_is_accepted(outcome: Any, asks: bool) -> None:
    start = episode(P, attempt(P, "The answer is 1", stage="solve"), outcomes=[outcome])
    here, says = world()
    run(plan, start, here, kind="modules", prompt="regenesis_select", unless=("solve",))
    run(hint, start, here, prompt="solve", unless=("solve",))
    assert len(says.asked) == 2 * asks
    rejected = start.add(Additions(verdicts=(verdict(start.attempts[0], "fail", "filter", "filter"),)))
    run(plan, rejected, here, kind="modules", prompt="regenesis_select", unless=("solve",))
    assert len(says.asked) == 2 * asks + 1, "a filter has turned it away"


# ---- attempts with a hint


def test_a_hinted_attempt_saw_what_its_prompt_shows() -> None:
    says = Says(faithful, seen=("weights",))
    made = run(
        hint, START, World({"student": says}), prompt="chains_explain_answer", see=("reference",), n=3,
        tags={"hint": "answer"},
    )  # fmt: skip
    assert [(a.kind, a.index, a.parent, a.seen) for a in made.attempts] == [
        ("hinted", k, None, ("reference", "weights")) for k in range(3)
    ]
    assert all(f"The answer is {P.answer}" in [m.content for m in r.messages] for r in says.asked)
    assert {r.seed for r in says.asked} == {a.call.seed for a in made.attempts if a.call} and len(says.asked) == 3
    assert made.attempts[0].text == "\n".join(chains.solve(chain_of(P)))


def test_n_attempts_for_each_plan() -> None:
    start = START.add(first(2))
    start = grown(plan, start, world()[0], name="structure", kind="structure", prompt="regenesis_select", n=2)
    says = Says(faithful)
    made = run(hint, start, World({"student": says}), prompt="chains_follow", notes=("select", "structure"), n=2)
    assert [a.index for a in made.attempts] == [0, 1, 2, 3]
    texts = {n.index: n.text for n in start.notes if n.stage == "structure"}
    shown = [next(m.content for m in r.messages if re.match("a note", m.content)) for r in says.asked]
    assert shown == [texts[0], texts[0], texts[1], texts[1]]
