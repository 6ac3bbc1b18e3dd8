"""Samples are n independent attempts, named and seeded by where they are drawn; what fails is a drop with a reason."""

import pytest
from msgspec.structs import replace

from errata.engines.base import Reply, Request
from errata.engines.oracle import Oracle
from errata.errors import EngineDown, EngineError, ReplayMiss
from errata.records.types import Episode, Message
from errata.stages.sample import sample
from errata.stages.verify import verify
from tests.stages.support import Says, World, attempt, codes, cut, episode, faithful, limit, problem, run, user

START = episode(problem(1))


def test_n_attempts_whose_steps_join_to_the_reply() -> None:
    says = Says(faithful)
    made = run(sample, START, World({"student": says}), n=5)
    assert [a.index for a in made.attempts] == list(range(5)) and not made.drops
    for a in made.attempts:
        assert a.kind == "sampled" and a.stage == "sample" and a.complete and a.seen == ()
        assert a.text == faithful(says.asked[0]) and a.steps[-1].role == "answer"
        assert {s.source for s in a.steps} == {"student"}
        assert a.call is not None and (a.call.role, a.call.finish) == ("student", "stop")


def test_ids_and_seeds_are_distinct_and_depend_on_their_coordinates_alone() -> None:
    def drawn(start: Episode, seed: int = 1, name: str = "sample", n: int = 4) -> list[tuple[str, int]]:
        made = run(sample, start, World({"student": Says(faithful)}, seed=seed), name=name, n=n)
        return [(a.id, a.call.seed if a.call else -1) for a in made.attempts]

    base = drawn(START)
    assert drawn(START) == base, "drawn twice, the same"
    assert drawn(START, n=2) == base[:2], "how many are drawn changes none"
    others = [drawn(START, seed=2), drawn(START, name="again"), drawn(episode(problem(2)))]
    seeds = [seed for group in (base, *others) for _, seed in group]
    assert len(set(seeds)) == len(seeds)
    assert {i for i, _ in base} == {i for i, _ in others[0]}, "an id does not depend on the run's seed"
    ids = [i for group in (base, *others[1:]) for i, _ in group]
    assert len(set(ids)) == len(ids)


def test_what_an_engine_knows_is_recorded() -> None:
    made = run(sample, START, World({"student": Oracle()}), n=1)
    assert made.attempts[0].seen == ("gold_steps",)


@pytest.mark.parametrize("n", [1, 2])
def test_a_cut_reply_is_no_whole_one_and_its_verdict_is_unknown(n: int) -> None:
    cut_short = Says(lambda request: cut(faithful(request)))  # even where the text looks whole
    start = START.add(run(sample, START, World({"student": cut_short}), n=n))
    assert [a.complete for a in start.attempts] == [False] * n
    verdicts = run(verify, start).verdicts
    assert [v.outcome for v in verdicts] == ["unknown"] * n
    assert "length limit" in verdicts[0].evidence


def test_the_recipes_limit_is_sent_and_cuts() -> None:
    made = run(sample, START, World({"student": Oracle()}, {"student": limit(5)}), n=1)
    assert made.attempts[0].call is not None and made.attempts[0].call.max_tokens == 5
    assert not made.attempts[0].complete and len(made.attempts[0].text.split()) == 5


def test_one_failed_request_costs_its_own_attempt() -> None:
    def answer(request: Request) -> str:
        if len(says.asked) == 2:
            raise EngineError("engine_5xx", "the server answers 500")
        return faithful(request)

    says = Says(answer)
    whole = run(sample, START, World({"student": Says(faithful)}), n=4)
    made = run(sample, START, World({"student": says}), n=4)
    lost = {a.id for a in whole.attempts} - {a.id for a in made.attempts}
    assert len(made.attempts) == 3 and len(lost) == 1
    drop = made.drops[0]
    assert (drop.code, drop.kind, {drop.target}) == ("engine_5xx", "quarantined", lost)
    assert drop.episode == START.id != drop.target


def test_a_refusal_is_a_failed_request() -> None:
    refused = Reply(text="", finish="filter", prompt_tokens=1, completion_tokens=0)
    made = run(sample, START, World({"student": Says(lambda _: refused)}), n=1)
    assert codes(made.drops) == ["refusal", "refusal"]


def test_an_episode_whose_samples_all_failed_is_quarantined() -> None:
    def answer(_: Request) -> str:
        raise EngineError("timeout", "no answer in 600 s")

    made = run(sample, START, World({"student": Says(answer)}), n=3)
    assert not made.attempts and codes(made.drops) == ["timeout"] * 4
    ending = [d for d in made.drops if d.target == START.id]
    assert len(ending) == 1 and ending[0].kind == "quarantined"


@pytest.mark.parametrize("error", [EngineDown, ReplayMiss])
def test_what_stops_the_run_is_no_drop(error: type[EngineDown]) -> None:
    def answer(_: Request) -> str:
        raise error("the key is wrong")

    with pytest.raises(error):
        run(sample, START, World({"student": Says(answer)}), n=2)


def test_the_system_message_goes_first_and_the_problems_own_stays() -> None:
    says = Says(lambda _: "yes")
    world = World({"student": says}, {"student": {"system": "Be brief"}})
    run(sample, START, world, n=1)
    assert [(m.role, m.content) for m in says.asked[0].messages] == [
        ("system", "Be brief"),
        ("user", START.problem.text),
    ]
    own = (Message(role="system", content="Mine"), Message(role="user", content="What?"))
    run(sample, episode(replace(user("x"), messages=own)), world, n=1)
    assert [m.content for m in says.asked[1].messages] == ["Mine", "What?"]


def test_an_empty_reply_is_an_attempt_without_steps() -> None:
    made = run(sample, START, World({"student": Says(lambda _: "")}), n=1)
    assert made.attempts[0].steps == () and made.attempts[0].text == ""


@pytest.mark.parametrize(("right", "more"), [(0, 3), (1, 3), (2, 0), (4, 0)])
def test_harder_problems_get_more_samples(right: int, more: int) -> None:
    tries = [attempt(START.problem, "The answer is 1", k) for k in range(4)]
    start = episode(START.problem, *tries, outcomes=["pass"] * right + ["fail"] * (4 - right))
    made = run(sample, start, World({"student": Says(faithful)}), name="again", n=3, hard="sample", below=0.5)
    assert len(made.attempts) == more and not made.drops


def test_a_problem_of_unknown_difficulty_is_not_taken_for_a_hard_one() -> None:
    start = episode(START.problem, attempt(START.problem, "hm"), outcomes=["unknown"])
    assert not run(sample, start, World({"student": Says(faithful)}), name="again", hard="sample").attempts


def test_a_teachers_attempts_are_an_experts() -> None:
    made = run(sample, START, World({"teacher": Says(faithful)}), role="teacher", source="teacher", n=1)
    assert [(a.kind, {s.source for s in a.steps}) for a in made.attempts] == [("expert", {"teacher"})]
    made = run(sample, START, World({"student": Says(faithful)}), n=1)
    assert [(a.kind, {s.source for s in a.steps}) for a in made.attempts] == [("sampled", {"student"})]


def test_shares_that_do_not_meet_work_on_different_problems() -> None:
    world = World({"student": Says(faithful)})
    taken = []
    for i in range(40):
        start = Episode(problem=problem(i))
        low, high = (
            run(sample, start, world, name=name, n=1, share=share)
            for name, share in (("low", (0.0, 0.5)), ("high", (0.5, 1.0)))
        )
        assert len(low.attempts) + len(high.attempts) == 1 and not (low.drops or high.drops)
        taken.append(len(low.attempts))
    assert 10 <= sum(taken) <= 30


def test_a_temperature_stands_in_for_the_engines_own_and_in_the_tags() -> None:
    says = Says(faithful)
    cool = run(sample, START, World({"student": says}), n=2, temperature=0.5)
    assert {r.sampling.temperature for r in says.asked} == {0.5}
    assert [[(t.name, t.value) for t in a.tags] for a in cool.attempts] == [[("temperature", "0.5")]] * 2
    assert {a.call.temperature for a in cool.attempts if a.call} == {0.5}
    plain = run(sample, START, World({"student": says}), n=2)
    assert {r.sampling.temperature for r in says.asked[2:]} == {1.0} and {a.tags for a in plain.attempts} == {()}
    assert [a.id for a in plain.attempts] == [a.id for a in cool.attempts]
