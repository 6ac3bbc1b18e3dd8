"""Actions put into successful trajectories: what they are is proven in the world, and what follows is right."""

import pytest

from errata.engines.expert import Expert
from errata.records.trajectory import moves
from errata.records.types import Additions, Attempt
from errata.stages.inject_actions import inject_actions
from tests.stages.acting import conversation, replayed, task
from tests.stages.support import Says, World, codes, run
from tests.stages.test_branch import EXPERT, GOLD, HOUSE, START, shown
from tests.stages.test_retarget import distances

LONG = shown(task(seed=8, difficulty=6))
"""With several goals, so that more than one action leads nearer."""
SAYS = World({"teacher": Says(lambda r: "Wait, that was of no use.")})


def made(*kinds: str, world: World = SAYS, **options: object) -> Additions:
    return run(inject_actions, START, world, kinds=kinds, **options)


def placed(attempt: Attempt) -> int:
    return [m.step for m in moves(attempt.steps)].index(attempt.fork_step)


def test_an_action_without_effect_stands_before_the_right_one_whose_string_is_unchanged() -> None:
    found = made("no_effect", n=16)
    assert len(found.attempts) == 16 and found.drops == ()
    for attempt in found.attempts:
        at, all_moves = placed(attempt), moves(attempt.steps)
        assert [m.action for m in all_moves[:at] + all_moves[at + 1 :]] == list(GOLD)
        old = [m.observation for m in moves(EXPERT.steps)]
        assert [m.observation for m in all_moves[:at] + all_moves[at + 1 :]] == old, "the state is unchanged"
        assert distances(HOUSE, attempt)[at] == distances(HOUSE, attempt)[at + 1]
        wrong, right = attempt.steps[all_moves[at].step], attempt.steps[all_moves[at + 1].step]
        assert (wrong.train, wrong.source) == (False, "injector") and right.text == GOLD[at]
        assert attempt.steps[all_moves[at + 1].step - 1].text == "Wait, that was of no use.\n"
        assert (attempt.parent, attempt.kind) == (EXPERT.id, "injected")
        assert replayed(HOUSE, conversation(HOUSE, attempt.steps)) == ([], 1.0)
    assert len({placed(a) for a in found.attempts}) > 2, "in various places"
    assert any(all(s.text in GOLD for s in [a.steps[a.fork_step or 0]]) for a in found.attempts), "taken too early"


def test_an_action_that_comes_to_something_is_never_taken_for_one_without_effect() -> None:
    found = run(inject_actions, LONG, SAYS, kinds=("no_effect",), n=30)
    assert len(found.attempts) == 30 and found.drops == ()
    assert all(LONG.add(found).accepts(a) for a in found.attempts)


def test_the_writer_sees_the_history_with_the_mistake_and_the_right_action() -> None:
    writer = Says(lambda r: "Wait, that was of no use.")
    attempt = made("no_effect", world=World({"teacher": writer})).attempts[0]
    at, text = placed(attempt), writer.asked[0].messages[-1].content
    assert f"[{at + 1}] {moves(attempt.steps)[at].action}\n" in text and f"[{at + 2}]" not in text
    assert f"Next the agent will: {GOLD[at]}\n" in text


@pytest.mark.parametrize("kind", ["corrupted", "extra_search"])
def test_what_leads_no_nearer_is_mended_by_the_shortest_way(kind: str) -> None:
    found = run(inject_actions, LONG, SAYS, kinds=(kind,), n=12)
    assert len(found.attempts) == 12
    gold = LONG.problem.solution
    for attempt in found.attempts:
        at, far = placed(attempt), distances(LONG.problem, attempt)
        now, then = far[at : at + 2]
        assert now is not None and then is not None and now <= then
        assert all(a - b == 1 for a, b in zip(far[at + 1 :], far[at + 2 :], strict=False)), "and then straight on"  # type: ignore[operator]
        assert attempt.steps[attempt.fork_step or 0].text != gold[at] and far[-1] == 0
        assert replayed(LONG.problem, conversation(LONG.problem, attempt.steps)) == ([], 1.0)
        if kind == "extra_search":
            assert attempt.steps[attempt.fork_step or 0].text.split()[0] in ("go", "open", "look")


def test_a_corrupted_action_has_the_verb_of_the_right_one_where_there_is_such() -> None:
    verbs = [
        (GOLD[placed(a)].split()[0], a.steps[a.fork_step or 0].text.split()[0]) for a in made("corrupted", n=9).attempts
    ]
    assert sum(x == y for x, y in verbs) >= 2


def test_an_action_is_trained_on_only_by_choice() -> None:
    attempt = made("extra_search", train=True).attempts[0]
    assert attempt.steps[attempt.fork_step or 0].train


def test_where_nothing_fits_there_is_a_drop() -> None:
    assert codes(made("extra_search", searches=("dance",)).drops) == ["no_room"]


def test_an_unreliable_writer_is_turned_away() -> None:
    found = made("no_effect", world=World({"teacher": Expert(skill=0.0)}))
    assert codes(found.drops)[0] in ("leak", "ungrounded")
    assert not START.add(found).accepts(found.attempts[0])
