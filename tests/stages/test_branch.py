"""Other actions at the expert's states: which, what comes of them, and that nothing of them is trained."""

from errata.engines.expert import Expert
from errata.environments.hosts import open_now
from errata.records.trajectory import actions, moves
from errata.records.types import Additions, Attempt, Episode, Problem
from errata.stages.act import act
from errata.stages.branch import branch
from tests.stages.acting import conversation, replayed, scripted, task
from tests.stages.support import Says, World, codes, grown, run

HOUSE = task()
GOLD = HOUSE.solution


def shown(problem: Problem = HOUSE) -> Episode:
    """The episode with the expert's trajectory."""
    return grown(act, Episode(problem=problem), World({"expert": Expert()}), role="expert", source="teacher", limit=60)


START = shown()
EXPERT = START.attempts[0]


def at(made: Additions) -> dict[int, list[Attempt]]:
    found: dict[int, list[Attempt]] = {}
    for a in made.attempts:
        assert a.fork_step is not None
        found.setdefault(a.fork_step, []).append(a)
    return found


def test_each_other_action_is_played_once_where_the_expert_stood() -> None:
    made = run(branch, START, k=2)
    assert sorted(at(made)) == [m.step for m in moves(EXPERT.steps)]
    for step, others in at(made).items():
        move = next(m for m in moves(EXPERT.steps) if m.step == step)
        assert len({a.steps[-2].text for a in others}) == len(others) == 2
        for a in others:
            *before, other = actions(a.steps)
            assert tuple(before) == GOLD[: len(before)] and other != move.action
            assert (a.kind, a.parent, a.steps[-1].role) == ("forked", EXPERT.id, "observation")
            assert replayed(HOUSE, conversation(HOUSE, a.steps))[0] == [], "the world's own answers"
            assert not any(s.train for s in a.steps) and a.seen == EXPERT.seen
    assert [a.index for a in made.attempts] == list(range(2 * len(GOLD)))


def test_actions_are_those_that_the_world_allows_at_random() -> None:
    made = run(branch, START, k=50)
    assert HOUSE.task is not None
    world, _ = open_now(HOUSE.task)
    for (_, others), action in zip(sorted(at(made).items()), GOLD, strict=True):
        assert {actions(a.steps)[-1] for a in others} == set(world.valid_actions()) - {action}
        world.step(action)
    few = [actions(a.steps)[-1] for a in run(branch, START, k=1).attempts]
    assert len(set(few)) > 2, "not always the first of the list"
    assert few == [actions(a.steps)[-1] for a in run(branch, START, k=1).attempts]


def test_the_policys_own_actions_are_taken_once_and_invalid_ones_are_kept() -> None:
    said = ["Thought: up.\nAction: fly away", "FLY  away.", GOLD[0].upper(), "look", "go to garage", "Fly Away!"]
    student = Says(lambda r: said[len(student.asked) % 6])
    made = run(branch, START, World({"student": student}), among="policy", tries=6, k=9, states=1)
    taken = next(m.action for m in moves(EXPERT.steps) if m.step == made.attempts[0].fork_step)
    done = [actions(a.steps)[-1].lower().rstrip(".") for a in made.attempts]
    assert sorted(done) == sorted({"fly away", "look", "go to garage", GOLD[0]} - {taken})
    tags = {actions(a.steps)[-1].lower().rstrip("."): a.tags[0].value for a in made.attempts}
    assert tags["fly away"] == "false" and tags["look"] == "true"
    assert all(len(a.calls) == 1 for a in made.attempts) and len(student.asked) == 6
    fly = next(a for a in made.attempts if "fly" in a.text.lower())
    assert fly.steps[-1].text == "not understood."


def test_the_policy_is_asked_where_the_expert_stood() -> None:
    student = Says(lambda r: "look")
    run(branch, START, World({"student": student}), among="policy", tries=1)
    told = [[m.content for m in r.messages if m.role == "assistant"] for r in student.asked]
    assert sorted(told, key=len) == [list(GOLD[:i]) for i in range(len(GOLD))]


def test_a_state_where_nothing_else_is_done_has_a_drop() -> None:
    student = Says(lambda r: GOLD[sum(m.role == "assistant" for m in r.messages)])
    made = run(branch, START, World({"student": student}), among="policy", tries=2)
    assert made.attempts == () and codes(made.drops) == ["no_other_action"] * len(GOLD)


def test_an_expert_that_fails_is_not_branched_from() -> None:
    start = grown(act, Episode(problem=HOUSE), World({"student": scripted("look")}))
    assert run(branch, start).attempts == ()


def test_states_are_chosen_by_hash() -> None:
    made = at(run(branch, START, states=3, k=1))
    assert len(made) == 3 and made.keys() == at(run(branch, START, states=3, k=2)).keys()
