"""Monologues: what the writer is shown, what is kept, and what is turned away and why."""

from collections.abc import Callable

import pytest

from errata.engines.base import Reply, Request
from errata.engines.expert import Expert
from errata.records.trajectory import moves
from errata.records.types import Additions
from errata.stages.branch import branch
from errata.stages.monologue import monologue
from tests.stages.acting import conversation
from tests.stages.support import Says, World, codes, cut, grown, run
from tests.stages.test_branch import EXPERT, GOLD, HOUSE, START

MOVE = moves(EXPERT.steps)[4]
FORKS = tuple(a for a in run(branch, START, k=2).attempts if a.fork_step == MOVE.step)
BRANCHED = START.add(Additions(attempts=FORKS))
FINE = "I need the white mug on the study shelf, and so I had better do what leads me there before anything else"


def written(answer: str | Callable[[Request], str | Reply] | Says | Expert, **options: object) -> Additions:
    writer = answer if isinstance(answer, Says | Expert) else Says(answer if callable(answer) else lambda r: answer)
    return run(monologue, BRANCHED, World({"student": writer}), **options)


def others() -> list[str]:
    return [moves(a.steps)[-1].action for a in BRANCHED.attempts if a.stage == "branch"]


def results() -> list[str]:
    return [moves(a.steps)[-1].observation for a in BRANCHED.attempts if a.stage == "branch"]


def test_the_writer_is_shown_the_state_the_action_and_what_came_of_all() -> None:
    writer = Says(lambda r: f"{FINE}\nAction: {MOVE.action}")
    written(writer)
    text = writer.asked[0].messages[-1].content
    number = 1 + [m.step for m in moves(EXPERT.steps)].index(MOVE.step)
    assert HOUSE.text in text and f"[{number}] {MOVE.action}\n" in text and f"[{number + 1}]" not in text
    assert f"the world answers: {MOVE.observation}\n" in text
    for other, result in zip(others(), results(), strict=True):
        assert f"- {other}\n    the world answers: {result}" in text


def test_the_control_sees_no_outcome() -> None:
    writer = Says(lambda r: f"{FINE}\nAction: {MOVE.action}")
    made = written(writer, outcomes=False)
    text = writer.asked[0].messages[-1].content
    assert f"] {MOVE.action}\n" in text and text.count("the world answers:") == len(text.split("\n[")) - 2
    assert "In the place of" not in text and "outcomes" not in made.attempts[0].seen


def test_what_is_learnt_is_monologue_and_action_given_the_state_alone() -> None:
    made = written(Expert())
    attempt = made.attempts[0]
    mine = [s for s in attempt.steps if s.turn == MOVE.turn]
    assert [(s.role, s.train) for s in mine] == [("reasoning", True), ("action", True)]
    assert mine[1].text == EXPERT.steps[MOVE.step].text and mine[0].text.startswith("Looking at the goal: ")
    assert not any(s.train for s in attempt.steps if s.turn < MOVE.turn)
    state = conversation(HOUSE, [s for s in EXPERT.steps if s.turn < MOVE.turn])
    assert conversation(HOUSE, attempt.steps)[:-1] == state, "the others are hidden"
    assert (attempt.kind, attempt.parent, attempt.fork_step) == ("hinted", EXPERT.id, MOVE.step)
    assert {"expert_action", "outcomes", "gold_steps"} <= set(attempt.seen)
    assert made.drops == () and made.verdicts[0].outcome == "pass"


@pytest.mark.parametrize(
    ("text", "code"),
    [
        (f"{FINE}\nAction: look around", "other_conclusion"),
        (f"Fine.\nAction: {MOVE.action}", "too_short"),
        (" ".join(f"Thing {i} matters." for i in range(140)) + f"\nAction: {MOVE.action}", "too_long"),
        (f"{FINE}, as the expert did\nAction: {MOVE.action}", "meta_talk"),
        (f"{FINE}, as it was tried already\nAction: {MOVE.action}", "meta_talk"),
        (f"{FINE}, then: {MOVE.observation} So be it\nAction: {MOVE.action}", "quotes_outcome"),
        (f"{FINE}, which lies in a wardrobe of the attic\nAction: {MOVE.action}", ""),
        (f"{FINE}, and {GOLD[-1]}\nAction: {MOVE.action}", "leak"),
        (cut(FINE), "truncated"),
    ],
)
def test_what_is_not_fit_to_learn_from_is_turned_away(text: str | Reply, code: str) -> None:
    made = written(lambda r: text)
    assert codes(made.drops) == ([code] if code else [])
    assert [v.outcome for v in made.verdicts] == ["fail" if code else "pass"]


def test_a_name_must_have_been_shown_or_by_choice_have_been_seen_by_the_agent() -> None:
    """Nobody has seen the iron key before the chest is opened, which is what the expert does first."""
    forks = tuple(a for a in run(branch, START, k=1).attempts if a.fork_step == 0)
    start = START.add(Additions(attempts=forks))
    world = World({"student": Says(lambda r: f"{FINE}, and the iron key first\nAction: {GOLD[0]}")})
    assert codes(run(monologue, start, world).drops) == []
    assert codes(run(monologue, start, world, grounded="state").drops) == ["ungrounded"]
    assert codes(run(monologue, start, world, outcomes=False).drops) == ["ungrounded"]


def test_an_unreliable_writer_is_found_out() -> None:
    start = grown(branch, START, k=2)
    made = run(monologue, start, World({"student": Expert(skill=0.0)}))
    assert set(codes(made.drops)) <= {"other_conclusion", "meta_talk", "too_short"} and len(made.drops) == len(GOLD)
