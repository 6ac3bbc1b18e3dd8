"""Replaying attempts: what is the world's own passes, and every word that is not is found at its step."""

from collections.abc import Callable

import pytest
from msgspec.structs import replace

from errata.engines.expert import Expert, Noisy
from errata.records.trajectory import moves
from errata.records.types import Additions, Attempt, Episode, Step, Verdict
from errata.sources.worlds import worlds
from errata.stages.act import act
from errata.stages.replay import replay
from tests.stages.support import Says, World, attempt, codes, cut, episode, grown, problem, run


def start(world: str = "crafting", seed: int = 0) -> Episode:
    found = next(iter(worlds(world=world, count=1, difficulty=(3, 3), seed=seed)))
    assert isinstance(found, Episode)
    return found


def solved(**fields: object) -> Episode:
    """A task with an episode that the expert solved, as `act` made it, perhaps changed."""
    made = grown(act, start(), World({"student": Expert(thoughts=True)}))
    return replace(made, attempts=tuple(replace(a, **fields) for a in made.attempts))  # type: ignore[arg-type]


def changed(before: Episode, change: Callable[[list[Step]], None]) -> Episode:
    """The episode with other steps in its attempt."""
    (made,) = before.attempts
    steps = list(made.steps)
    change(steps)
    return replace(before, attempts=(replace(made, steps=tuple(steps)),))


def says(made: Additions, verifier: str = "replay") -> list[Verdict]:
    return [v for v in made.verdicts if v.verifier == verifier]


def told(made: Attempt) -> list[int]:
    """Where its observations stand."""
    return [i for i, s in enumerate(made.steps) if s.role == "observation"]


@pytest.mark.parametrize("world", ["crafting", "house", "shop"])
@pytest.mark.parametrize("mode", ["strict", "reward_only"])
def test_what_was_played_is_the_worlds_own_to_the_last_character(world: str, mode: str) -> None:
    before = grown(act, start(world), World({"student": Noisy(rate=0.15)}), n=10, limit=15)
    assert {v.outcome for v in before.verdicts} == {"pass", "fail"}
    made = run(replay, before, mode=mode, own_observations="replace")
    assert [(v.outcome, v.score, v.evidence) for v in made.verdicts] == [("pass", 1.0, "")] * 10
    assert {v.verifier for v in made.verdicts} == {"replay"}, "the world has said already what it says"
    assert not (made.drops or made.estimates or made.attempts)


@pytest.mark.parametrize("place", [0, 1, -1])
def test_an_observation_that_was_tampered_with_is_found_at_its_step(place: int) -> None:
    before = solved()
    at = told(before.attempts[0])[place]

    def tamper(steps: list[Step]) -> None:
        steps[at] = replace(steps[at], text=steps[at].text + " ")

    bad = changed(before, tamper)
    made = run(replay, bad)
    (said,) = made.verdicts
    assert said.outcome == "fail" and said.evidence.startswith(f"step {at}: the world answers ")
    assert [(e.name, e.step, e.value) for e in made.estimates] == [("mismatch", at, 1.0)]
    assert codes(made.drops) == ["not_replayed"] and made.drops[0].target == bad.attempts[0].id
    assert bad.accepts(bad.attempts[0]) and not bad.add(made).accepts(bad.attempts[0]), "it is exported no more"
    lenient = run(replay, bad, mode="reward_only")
    assert [v.outcome for v in lenient.verdicts] == ["pass"] and lenient.estimates == made.estimates
    assert lenient.verdicts[0].score == said.score == 1 - 1 / len(told(before.attempts[0])) and not lenient.drops


def test_another_attempt_holds_the_worlds_own_observations_and_the_first_is_kept() -> None:
    before = solved()
    (own,) = before.attempts

    def tamper(steps: list[Step]) -> None:
        for i in told(own)[1:3]:
            steps[i] = replace(steps[i], text="a dragon appears", train=True)

    bad = changed(before, tamper)
    after = grown(replay, bad, own_observations="replace")
    (made,) = (a for a in after.attempts if a.stage == "replay")
    assert (made.steps, made.kind, made.parent) == (own.steps, "replayed", own.id)
    assert (made.fork_step, made.seen, made.tags) == (told(own)[1], own.seen, own.tags)
    assert bad.attempts[0] in after.attempts and not after.accepts(bad.attempts[0])
    assert after.accepts(made) and after.outcome(made.id, "replay") == "pass"
    (fresh,) = (v for v in after.verdicts if (v.target, v.verifier) == (made.id, "world"))
    (first,) = before.verdicts
    assert (fresh.outcome, fresh.score, fresh.checks) == (first.outcome, first.score, first.checks)
    again = run(replay, after, name="again", of="replay", own_observations="replace")
    assert [v.outcome for v in again.verdicts] == ["pass"] and not (again.attempts or again.estimates)


def test_an_attempt_from_elsewhere_gets_the_worlds_verdict() -> None:
    before = solved(stage="source", kind="rollout")
    (own,) = before.verdicts
    made = run(replay, replace(before, verdicts=()))
    (world,) = says(made, "world")
    assert (world.outcome, world.score, world.checks) == ("pass", 1.0, own.checks) and len(says(made)) == 1

    def shorten(steps: list[Step]) -> None:
        del steps[-3:]

    short = run(replay, changed(replace(before, verdicts=()), shorten))
    assert [v.outcome for v in says(short, "world")] == ["fail"], "the reward is the world's, whoever said what"
    assert [v.outcome for v in says(short)] == ["pass"], "and yet every word of it is the world's own"


@pytest.mark.parametrize("mode", ["strict", "reward_only"])
@pytest.mark.parametrize("lie", [{"score": 0.5}, {"outcome": "fail"}])
def test_a_verdict_that_the_world_does_not_repeat_is_found(mode: str, lie: dict[str, object]) -> None:
    before = solved()
    false = replace(before, verdicts=(replace(before.verdicts[0], **lie),))  # type: ignore[arg-type]
    made = run(replay, false, mode=mode)
    assert [v.outcome for v in says(made)] == ["fail"] and "the world's verdict is pass (1.0), not" in says(made)[
        0
    ].evidence
    assert not says(made, "world") and codes(made.drops) == ["not_replayed"]


def test_a_task_of_another_version_of_its_world_is_unknown_and_exported_no_more() -> None:
    before = solved()
    task = before.problem.task
    assert task is not None
    old = replace(before, problem=replace(before.problem, task=replace(task, version=task.version + 1)))
    made = run(replay, old)
    (said,) = made.verdicts
    assert (said.verifier, said.outcome, said.version) == ("replay", "unknown", task.version + 1)
    assert codes(made.drops) == ["world_version"] and made.drops[0].kind == "quarantined" and "version" in said.evidence
    assert old.accepts(old.attempts[0]) and not old.add(made).accepts(old.attempts[0])


def test_an_answer_is_missing_only_after_the_last_action() -> None:
    before = solved()
    places = told(before.attempts[0])
    assert run(replay, changed(before, lambda steps: steps.__delitem__(places[-1]))).verdicts[0].outcome == "pass"
    made = run(replay, changed(before, lambda steps: steps.__delitem__(places[0])), own_observations="replace")
    assert [e.step for e in made.estimates] == [places[0] - 1], "the step of the action that nobody answers"
    assert "the attempt has nothing" in says(made)[0].evidence
    assert made.attempts[0].steps == before.attempts[0].steps


def test_an_observation_that_answers_no_action_is_none_of_the_worlds() -> None:
    before = solved()

    def invent(steps: list[Step]) -> None:
        turn = steps[-1].turn
        steps.append(Step(text="Let me think.", role="reflection", turn=turn + 1))
        steps.append(Step(text="you win", role="observation", source="environment", train=False, turn=turn + 2))

    made = run(replay, changed(before, invent), own_observations="replace")
    assert [e.step for e in made.estimates] == [len(before.attempts[0].steps) + 1]
    assert "the world answers nothing, the attempt has 'you win'" in says(made)[0].evidence
    assert not made.attempts, "there is nothing to put in its place"

    def comment(steps: list[Step]) -> None:
        invent(steps)
        steps[-1] = replace(steps[-1], source="template")

    assert run(replay, changed(before, comment)).verdicts[0].outcome == "pass", "a template's words are no world's"


def test_what_an_agent_does_after_the_end_is_left_out_where_observations_are_replaced() -> None:
    before = solved()
    (own,) = before.attempts

    def go_on(steps: list[Step]) -> None:
        turn = steps[-1].turn
        steps += [Step(text="inventory", role="action", turn=turn + 1)]
        steps += [Step(text="you hold all", role="observation", source="environment", train=False, turn=turn + 2)]

    made = run(replay, changed(before, go_on), own_observations="replace")
    assert [v.outcome for v in made.verdicts if v.target == own.id] == ["fail"]
    assert made.attempts[0].steps == own.steps and len(moves(own.steps)) == len(told(own))


def test_words_that_were_cut_are_no_action() -> None:
    begun = start()
    way = begun.problem.solution
    engine = Says(lambda r: cut(way[-1]) if len(r.messages) == 2 * len(way) - 1 else way[len(r.messages) // 2])
    before = grown(act, begun, World({"student": engine}))
    assert [(v.outcome, v.score) for v in before.verdicts] == [("unknown", 0.0)]
    made = run(replay, before)
    assert [(v.outcome, v.score) for v in made.verdicts] == [("pass", 1.0)], "the last action would have solved it"


def test_other_attempts_are_left_alone_and_a_problem_without_a_world_is_quarantined() -> None:
    plain = problem(4)
    assert run(replay, episode(plain, attempt(plain, "a is 1\nThe answer is 1"))) == Additions()
    before = solved()
    assert run(replay, before, of="other") == run(replay, before, outcome="fail") == Additions()
    bare = replace(before, problem=replace(before.problem, task=None))
    assert codes(run(replay, bare).drops) == ["no_world"]
