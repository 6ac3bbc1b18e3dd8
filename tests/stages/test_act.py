"""Acting: turns by steps, the world's own verdict, and what ends an episode."""

from collections import Counter

from msgspec.structs import replace

from errata.engines.base import Reply, Request
from errata.engines.expert import Expert, Noisy
from errata.environments.hosts import open_now
from errata.errors import EngineError
from errata.records.trajectory import actions, moves
from errata.records.types import Additions, Episode, Note
from errata.sources.worlds import worlds
from errata.stages.act import act
from tests.stages.support import Says, World, cut, run


def start(seed: int = 0) -> Episode:
    found = next(iter(worlds(world="crafting", count=1, difficulty=(3, 3), seed=seed)))
    assert isinstance(found, Episode)
    return found


def replayed(episode: Episode, made: Additions) -> None:
    """Every observation and the reward are the world's own."""
    assert episode.problem.task is not None
    for attempt, verdict in zip(made.attempts, made.verdicts, strict=True):
        world, _ = open_now(episode.problem.task)
        reward = 0.0
        for move in moves(attempt.steps):
            turn = world.step(move.action)
            assert turn.observation == move.observation
            reward = turn.reward
        assert (verdict.target, verdict.verifier, verdict.score) == (attempt.id, "world", reward)
        assert verdict.outcome == ("pass" if reward >= 1 else "fail")


def test_an_experts_episode_is_solved_and_every_turn_is_in_its_steps() -> None:
    episode = start()
    made = run(act, episode, World({"student": Expert(thoughts=True)}), n=1, source="teacher")
    (attempt,) = made.attempts
    replayed(episode, made)
    assert made.verdicts[0].outcome == "pass" and attempt.kind == "expert" and attempt.seen == ("gold_steps",)
    assert [s.role for s in attempt.steps[:3]] == ["reasoning", "action", "observation"]
    assert [s.turn for s in attempt.steps[:6]] == [0, 0, 1, 2, 2, 3]
    assert all(s.train == (s.role != "observation") for s in attempt.steps)
    assert len(attempt.calls) == len(actions(attempt.steps)) == len(episode.problem.solution)
    assert {c.name: c.outcome for c in made.verdicts[0].checks} and all(
        c.outcome == "pass" for c in made.verdicts[0].checks
    )


def test_noisy_episodes_are_told_apart_by_their_reward() -> None:
    outcomes: Counter[str] = Counter()
    for seed in range(6):
        episode = start(seed)
        made = run(act, episode, World({"student": Noisy(rate=0.3)}), n=4, limit=10)
        replayed(episode, made)
        outcomes.update(v.outcome for v in made.verdicts)
        assert len({a.id for a in made.attempts}) == len(made.attempts) == 4
    assert outcomes["pass"] >= 3 and outcomes["fail"] >= 3


def test_the_limit_and_a_stop_end_an_episode_and_it_has_failed() -> None:
    for said, turns in (("inventory", 5), ("stop", 0), ("Done.\nstop", 0)):
        made = run(act, start(), World({"student": Says(lambda _, said=said: said)}), limit=5)  # type: ignore[misc]
        assert len(moves(made.attempts[0].steps)) == turns
        assert (made.verdicts[0].outcome, made.verdicts[0].evidence) == ("fail", "ended before the world did")


def test_a_turn_that_was_cut_is_not_played_and_nobody_knows_how_it_would_have_ended() -> None:
    made = run(act, start(), World({"student": Says(lambda _: cut("get 2"))}))
    assert not made.attempts[0].complete and [s.role for s in made.attempts[0].steps] == ["action"]
    assert made.verdicts[0].outcome == "unknown"


def test_the_agent_is_shown_the_conversation_and_no_more_of_it_than_its_window() -> None:
    engine = Says(lambda _: "inventory")
    run(act, start(), World({"student": engine}), limit=6, window=2)
    assert [len(r.messages) for r in engine.asked] == [1, 3, 5, 5, 5, 5]
    assert all(r.messages[:1] == start().problem.messages for r in engine.asked)
    assert len({r.seed for r in engine.asked}) == 6


def test_an_engine_that_fails_costs_its_attempt() -> None:
    def answer(request: Request) -> str | Reply:
        if len(request.messages) > 3:
            raise EngineError("too_long", "no room")
        return "inventory"

    made = run(act, start(), World({"student": Says(answer)}), n=2)
    assert not made.attempts
    assert [d.code for d in made.drops] == ["too_long"] * 3 and made.drops[-1].target == start().id


def test_a_problem_without_a_world_is_quarantined() -> None:

    episode = start()
    plain = Episode(problem=replace(episode.problem, task=None))
    assert run(act, plain, World({"student": Expert()})).drops[0].code == "no_world"


# ---- another try at failed episodes


def failed(seed: int = 0, **fields: object) -> Episode:
    """A task with an episode that failed, one that was solved, and a note about each."""
    begun = start(seed)
    agent = Says(lambda r: "inventory" if len(r.messages) < 3 else "stop")
    bad = run(act, begun, World({"student": agent}), name="act")
    good = run(act, begun, World({"student": Expert()}), name="solved")
    told = tuple(
        Note(id=a.id[::-1], about=a.id, stage="condition", index=0, kind="checks", text=f"of {a.stage}", **fields)  # type: ignore[arg-type]
        for a in (*bad.attempts, *good.attempts)
    )
    return begun.add(bad).add(good).add(Additions(notes=told))


def test_a_failed_episode_is_tried_again_from_the_beginning_by_an_agent_that_is_shown_it() -> None:
    before = failed()
    (wrong,) = (a for a in before.attempts if a.stage == "act")
    engine = Says(lambda r: "inventory")
    world = World({"reflector": engine})
    made = run(act, before, world, name="mend", role="reflector", of="act", prompt="try_episode_again", limit=2, n=2)
    replayed(before, made)
    assert [(a.kind, a.parent, a.index) for a in made.attempts] == [("revised", wrong.id, 0), ("revised", wrong.id, 1)]
    (asked,) = {r.messages[0].content for r in engine.asked}
    (move,) = moves(wrong.steps)
    assert f"[1] inventory\n-> {move.observation}\n" in asked and "of act" in asked and "of solved" not in asked
    assert asked.startswith(before.problem.text) and len({r.seed for r in engine.asked}) == 4
    assert [len(r.messages) for r in engine.asked[-2:]] == [3, 3], "and the world begins anew"


def test_only_attempts_of_the_step_with_the_outcome_are_tried_again() -> None:
    before, world = failed(), World({"student": Says(lambda _: "stop")})
    wrong, right = (next(a.id for a in before.attempts if a.stage == s) for s in ("act", "solved"))
    for options, parents in (
        ({"of": "solved"}, []),
        ({"of": "solved", "outcome": "pass"}, [right]),
        ({"of": "act", "outcome": "pass"}, []),
        ({"of": "act", "outcome": "any", "most": 1}, [wrong]),
    ):
        made = run(act, before, world, name="mend", prompt="try_episode_again", **options)
        assert [a.parent for a in made.attempts] == parents and not made.drops


def test_what_the_first_agent_and_the_writer_of_the_note_saw_is_told() -> None:
    before = failed(seen=("reference",))
    world = World({"student": Says(lambda _: "stop", seen=("hints",))})
    made = run(act, before, world, name="again", of="solved", outcome="pass", prompt="try_episode_again")
    assert made.attempts[0].seen == ("gold_steps", "hints", "reference")


def test_a_try_that_lacks_a_note_of_its_prompt_is_dropped_with_the_reason_and_costs_no_other() -> None:
    before = failed()
    bare = replace(before, notes=tuple(n for n in before.notes if n.text == "of solved"))
    world = World({"student": Says(lambda _: "stop")})
    made = run(act, bare, world, name="mend", of="act", prompt="try_episode_again", n=2)
    assert not made.attempts and [(d.code, d.kind) for d in made.drops] == [("no_note", "filtered")] * 2
    assert all("has no checks" in d.detail and d.target != bare.id for d in made.drops)
    whole = run(act, before, world, name="mend", of="act", prompt="try_episode_again", n=2)
    assert {d.target for d in made.drops} == {a.id for a in whole.attempts}
