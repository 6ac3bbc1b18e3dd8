"""The margin between a model's two likeliest actions, and which episodes go on."""

import asyncio
from math import exp, log

import pytest
from msgspec.structs import replace

from errata.engines.base import Reply, Request
from errata.engines.pocket import Pocket
from errata.errors import EngineError, WorldError
from errata.records.types import Additions, Episode
from errata.sources.worlds import worlds
from errata.stages.uncertain import uncertain
from tests.stages.support import Says, World, codes, cut, episode, problem, run

FOUND = next(iter(worlds(world="crafting", count=1, difficulty=(2, 2), seed=1)))
assert isinstance(FOUND, Episode)
ACTS: Episode = FOUND
GOLD = ACTS.problem.solution[0]


def scorer(gold: float, rest: float, prefix: str = "") -> Says:
    """An engine that gives the gold action and every other one these log-probabilities, each over two tokens."""

    def score(request: Request) -> Reply:
        said = request.messages[-1].content
        assert request.score and said.startswith(prefix) and request.messages[:-1] == ACTS.problem.messages
        value = gold if said == prefix + GOLD else rest
        tokens = (said[:1], said[1:])
        return Reply(
            text="", finish="stop", prompt_tokens=1, completion_tokens=0, tokens=tokens, logprobs=(value - 1.0, 1.0)
        )

    return Says(score)


def margin(made: Additions) -> float:
    (found,) = made.estimates
    assert (found.name, found.step, found.engine) == ("margin", None, "student")
    return found.value


@pytest.mark.parametrize(("gold", "rest"), [(-1.0, -3.0), (-3.0, -1.0), (-2.0, -2.0), (-900.0, -905.0)])
def test_the_margin_is_the_lead_of_the_likeliest_action_among_all_that_are_valid(gold: float, rest: float) -> None:
    engine = scorer(gold, rest)
    made = run(uncertain, ACTS, World({"student": engine}), tau=1.0)
    count = len(engine.asked)
    assert made.estimates[0].n == count >= 3 and made.estimates[0].target == ACTS.id
    share = exp(gold - rest) / (exp(gold - rest) + count - 1)
    other = (1 - share) / (count - 1)
    wanted = max(0.0, share - other) if gold >= rest else 0.0
    assert margin(made) == pytest.approx(wanted, abs=1e-6) and not made.drops


def test_where_the_model_is_sure_the_episode_ends_with_the_reason() -> None:
    sure = World({"student": scorer(-1.0, -9.0)})
    value = margin(run(uncertain, ACTS, sure, tau=1.0))
    for tau, ends in ((value + 0.001, False), (value, True), (0.1, True)):
        made = run(uncertain, ACTS, sure, tau=tau)
        assert codes(made.drops) == ["certain"] * ends and margin(made) == value
        assert all(d.target == ACTS.id and d.kind == "filtered" and f"{value:g}" in d.detail for d in made.drops)


def test_actions_are_scored_in_the_words_that_the_agent_uses() -> None:
    engine = scorer(-1.0, -3.0, prefix="Action: ")
    run(uncertain, ACTS, World({"student": engine}), tau=1.0, says="Action: {action}")
    assert f"Action: {GOLD}" in {r.messages[-1].content for r in engine.asked}


def test_an_action_that_cannot_be_scored_leaves_the_margin_unknown() -> None:
    good = scorer(-1.0, -3.0)

    def answer(request: Request) -> str | Reply:
        if request.messages[-1].content == GOLD:
            raise EngineError("too_long", "no room")
        return good.answer(request)

    made = run(uncertain, ACTS, World({"student": Says(answer)}), tau=1.0)
    assert not made.estimates and codes(made.drops) == ["too_long", "too_long"]
    assert made.drops[-1].target == ACTS.id and made.drops[-1].kind == "quarantined"


def said(text: str, logprob: float) -> Reply:
    return Reply(text=text, finish="stop", prompt_tokens=1, completion_tokens=2, logprobs=(logprob - 1.0, 1.0))


def sampler(*replies: Reply) -> World:
    """An engine that gives these replies in turn."""
    rest = list(replies)
    return World({"student": Says(lambda _: rest.pop(0))})


def test_equal_replies_are_one_candidate_and_those_of_one_action_belong_together() -> None:
    replies = [
        said("I think so.\nget 2 oak", log(0.2)), said("get 2 oak", log(0.1)), said("get 2 oak", log(0.1)),
        said("get 1 ash", log(0.2)), replace(cut("get 1"), logprobs=(-1.0,)),
    ]  # fmt: skip
    made = run(uncertain, ACTS, sampler(*replies), tau=0.9, candidates="sampled", n=5)
    assert margin(made) == pytest.approx((0.2 + 0.1 - 0.2) / 0.5, abs=1e-6) and made.estimates[0].n == 2
    assert codes(made.drops) == ["truncated"] and made.drops[0].target != ACTS.id
    plain = episode(problem(3))
    made = run(uncertain, plain, sampler(*replies), tau=0.9, candidates="sampled", n=5)
    assert margin(made) == pytest.approx(0.0, abs=1e-6) and made.estimates[0].n == 3, "an answer is its whole text"


def test_one_candidate_alone_is_certain_and_none_is_quarantined() -> None:
    made = run(uncertain, ACTS, sampler(*[said("stop", -5.0)] * 2), tau=1.0, candidates="sampled", n=2)
    assert margin(made) == 1.0 and codes(made.drops) == ["certain"]
    none = run(
        uncertain,
        ACTS,
        sampler(replace(cut("get"), logprobs=(-1.0,)), said(" ", -1.0)),
        tau=1.0,
        candidates="sampled",
        n=2,
    )
    assert not none.estimates and codes(none.drops) == ["truncated"] * 3 and none.drops[-1].target == ACTS.id


def test_an_engine_without_log_probabilities_and_a_problem_without_a_world_cannot_be_asked() -> None:
    silent = World({"student": Says(lambda _: "stop")})
    for candidates in ("valid", "sampled"):
        made = run(uncertain, ACTS, silent, tau=0.5, candidates=candidates)
        assert set(codes(made.drops)) == {"no_logprobs"} and made.drops[-1].target == ACTS.id
    with pytest.raises(WorldError):
        run(uncertain, episode(problem(3)), silent, tau=0.5)


def test_the_pocket_student_is_less_sure_of_some_problems_than_of_others() -> None:
    engine = Pocket(slots=8, threads=1)
    try:
        starts = [episode(problem(seed, 4)) for seed in (1, 2, 3)]
        world = World({"student": engine})
        margins = [margin(run(uncertain, s, world, tau=1.0, candidates="sampled", n=6)) for s in starts]
    finally:
        asyncio.run(engine.close())
    assert all(0 <= m <= 1 for m in margins) and len(set(margins)) > 1
