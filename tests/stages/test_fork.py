"""A fork goes on from the exact first steps of an attempt, to the end or by one step alone."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from errata.engines.base import Request
from errata.errors import EngineError
from errata.records.types import Additions, Episode
from errata.stages.base import steps_of
from errata.stages.fork import fork
from tests.stages.support import (
    Says,
    World,
    attempt,
    chain_of,
    chains,
    codes,
    critique,
    cut,
    episode,
    faithful,
    problem,
    run,
    slipped,
    user,
    verdict,
)

P = problem(8, operations=5)
GOLD = chains.solve(chain_of(P))
RIGHT = attempt(P, GOLD)
START = episode(P, RIGHT, outcomes=["pass"])
OTHER = "birch is 3 plus 4 = 3 plus 4 so birch is 7"


def made(says: Any = faithful, start: Episode = START, **options: Any) -> tuple[Additions, list[Request]]:
    student = Says(says)
    return run(fork, start, World({"student": student}), **options), student.asked


def test_every_step_is_left_n_times_from_its_exact_prefix() -> None:
    found, asked = made(n=2)
    assert [(a.fork_step, a.index) for a in found.attempts] == [(k, i) for k in range(6) for i in (2 * k, 2 * k + 1)]
    assert len({a.id for a in found.attempts}) == len({r.seed for r in asked}) == 12
    for a in found.attempts:
        k = a.fork_step or 0
        assert a.steps[:k] == RIGHT.steps[:k] and a.kind == "forked" and a.parent == RIGHT.id
        assert a.text == RIGHT.text, "who goes on faithfully ends with the same words"
    assert {r.continues for r in asked} == {True, False}, "the first step has no prefix"
    assert asked[4].messages[-1].content == "".join(s.text for s in RIGHT.steps[:2])


def test_a_single_step_ends_where_the_parents_does_and_costs_no_more() -> None:
    found, asked = made(lambda r: OTHER, n=1, only=True)
    assert {r.sampling.stop for r in asked} == {("\n",)}
    assert [a.steps[-1].text for a in found.attempts] == [f"{OTHER}\n"] * 5 + [OTHER]
    for k, a in enumerate(found.attempts):
        assert len(a.steps) == k + 1 and a.steps[:k] == RIGHT.steps[:k] and a.complete
        assert a.steps[-1].role == ("answer" if k == 5 else "reasoning")


def test_of_sentences_the_first_is_kept_even_if_the_reply_met_its_limit() -> None:
    p = user("What?", answer="6")
    a = replace(attempt(p, "x"), steps=steps_of("We have 2. We get 4. So 6.", "sentences", "student"))
    start = Episode(problem=p).add(Additions(attempts=(a,), verdicts=(verdict(a, "pass", verifier="exact"),)))
    found, asked = made(
        lambda r: cut("We get 5. So 7"), start, n=1, only=True, steps="sentences", at="given", places=(1,)
    )
    assert [s.text for s in found.attempts[0].steps] == ["We have 2. ", "We get 5. "] and found.attempts[0].complete
    assert asked[0].sampling.stop == ()
    found, _ = made(lambda r: cut("We get"), start, n=1, only=True, steps="sentences", at="given", places=(1,))
    assert not found.attempts[0].complete, "a step that was cut is no step"


@pytest.mark.parametrize(
    ("options", "places"),
    [
        ({"at": "given", "places": (0, 2, -1, 9, -9)}, [0, 2, 5]),
        ({"at": "end"}, [6]),
        ({"at": "error"}, [3]),
        ({"at": "error", "locations": ("judge",)}, []),
        ({"at": "given"}, []),
    ],
)
def test_where_to_fork(options: dict[str, Any], places: list[int]) -> None:
    start = START.add(Additions(critiques=(critique(RIGHT, 3),)))
    found, _ = made(lambda r: OTHER, start, n=1, **options)
    assert [a.fork_step for a in found.attempts] == places
    assert codes(found.drops) == ([] if places else ["nowhere_to_fork"])


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 9), st.integers(0, 10**6))
def test_random_places_are_distinct_and_drawn_anew_for_each_seed(draws: int, seed: int) -> None:
    student = World({"student": Says(lambda r: OTHER)}, seed=seed)
    found = run(fork, START, student, n=1, at="random", draws=draws).attempts
    places = [a.fork_step for a in found]
    assert len(set(places)) == len(places) == min(draws, 6) and set(places) <= set(range(6))
    assert [a.fork_step for a in run(fork, START, student, n=1, at="random", draws=draws).attempts] == places


def test_an_attempt_that_is_whole_may_have_nothing_to_add() -> None:
    found, _ = made(lambda r: "", n=2, at="end")
    assert [a.text for a in found.attempts] == [RIGHT.text] * 2
    found, _ = made(lambda r: "", n=1, at="given", places=(1,), only=True)
    assert not found.attempts and codes(found.drops) == ["no_step"]


def test_only_attempts_with_the_outcome_are_forked_and_failures_are_drops() -> None:
    assert not made(start=episode(P, RIGHT, outcomes=["fail"]))[0].attempts
    assert made(start=episode(P, RIGHT, outcomes=["fail"]), outcome="fail", n=1)[0].attempts

    def fails(_: Request) -> str:
        raise EngineError("timeout", "no answer")

    found, _ = made(fails, n=1, at="end")
    assert codes(found.drops) == ["timeout"] and not found.attempts


# ---- going on with more than the problem in sight

WRONG = attempt(P, slipped(P, "arithmetic"), 1)
AT = next(i for i, (a, b) in enumerate(zip(WRONG.text.split("\n"), GOLD, strict=True)) if a != b)
WHY = critique(WRONG, AT, "look again", "reflect", seen=("right_step",))
PLACE = critique(WRONG, AT, "", "locate", source="comparison")
BOTH = episode(P, RIGHT, WRONG, outcomes=["pass", "fail"], critiques=[WHY, PLACE])
MEND: Any = {
    "outcome": "fail", "at": "error", "critique": "reflect", "beside": "sample", "prompt": "mend", "n": 1,
}  # fmt: skip


def test_who_goes_on_may_see_the_critique_and_a_right_sibling() -> None:
    found, asked = made(start=BOTH, **MEND)
    a = found.attempts[0]
    assert a.steps[:AT] == WRONG.steps[:AT] and (a.fork_step, a.critique, a.parent) == (AT, WHY.id, WRONG.id)
    assert "right_step" in a.seen
    text = asked[0].messages[0].content
    assert WHY.text in text and RIGHT.text in text and WRONG.text in text
    assert [m.role for m in asked[0].messages] == ["user", "assistant"][: 1 + (AT > 0)]


def test_only_what_is_criticised_is_forked_and_never_without_its_sibling() -> None:
    other = attempt(P, slipped(P, "operand"), 2)
    begun = BOTH.add(Additions(attempts=(other,), verdicts=(verdict(other, "fail"),)))
    assert [a.parent for a in made(start=begun, **MEND)[0].attempts] == [WRONG.id]
    alone = episode(P, WRONG, outcomes=["fail"], critiques=[WHY, PLACE])
    found, asked = made(start=alone, **MEND)
    assert codes(found.drops) == ["nothing_to_show"] and not asked
    elsewhere = episode(P, RIGHT, WRONG, outcomes=["pass", "fail"], critiques=[replace(WHY, first_error=0), PLACE])
    assert AT and codes(made(start=elsewhere, **MEND)[0].drops) == ["nothing_to_show"]
