"""Injected errors are marked, proven wrong, and continued by the student itself."""

import random
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from errata import chains
from errata.engines.base import Request
from errata.engines.oracle import Oracle
from errata.errors import EngineError
from errata.records.types import Additions, Attempt, Episode, Problem, Verdict
from errata.stages.base import steps_of
from errata.stages.inject import Kind, inject, slip
from tests.stages.support import Says, World, attempt, chain_of, codes, episode, faithful, problem, run, user, verdict

KINDS: tuple[Kind, ...] = ("result", "operand", "operator")


def right(of: Problem, index: int = 0) -> Attempt:
    return attempt(of, chains.solve(chain_of(of)), index)


def start(seed: int, n: int = 1) -> Episode:
    p = problem(seed)
    return episode(p, *(right(p, i) for i in range(n)), outcomes=["pass"] * n)


def first_kept(**options: Any) -> tuple[Episode, Additions]:
    """An episode in which a student that carries errors on turns the slip into a wrong answer."""
    for seed in range(50):
        made = run(inject, start(seed), World({"student": Says(faithful)}), **options)
        if made.attempts:
            return start(seed), made
    raise LookupError("no slip was ever wrong")


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_kept_is_wrong_marked_and_continued_by_the_student(kind: Kind) -> None:
    begun, made = first_kept(kinds=(kind,))
    parent, a = begun.attempts[0], made.attempts[0]
    assert a.kind == "injected" and a.parent == parent.id and a.injection is not None
    at = a.injection.step
    assert (a.injection.kind, a.injection.original, a.fork_step) == (kind, parent.steps[at].text, at)
    assert a.steps[:at] == parent.steps[:at], "the prefix is the student's, step for step"
    assert a.steps[at].text != parent.steps[at].text and a.steps[at].source == "injector"
    assert a.steps[at].text.endswith("\n") and {s.source for s in a.steps[at + 1 :]} == {"student"}
    assert [(v.target, v.outcome) for v in made.verdicts] == [(a.id, "fail")]
    found = chains.first_error(chain_of(begun.problem), [s.text for s in a.steps])
    assert found is not None and found.step == at


def test_a_slip_that_the_student_mends_is_dropped() -> None:
    # The oracle goes on with the true values, so that most answers come out right after all.
    made = [run(inject, start(seed), World({"student": Oracle()})) for seed in range(12)]
    dropped = [d for m in made for d in m.drops]
    assert dropped and set(codes(dropped)) == {"not_proven_wrong"}
    assert {d.detail for d in dropped} == {"the verifier says pass"}
    assert all(len(m.attempts) + len(m.drops) == 1 for m in made)


def test_unknown_is_not_proven_wrong() -> None:
    made = run(inject, start(1), World({"student": Says(lambda _: "I give up")}))
    assert not made.attempts and made.drops[0].detail == "the verifier says unknown"


def test_only_passing_attempts_are_changed_and_n_of_them() -> None:
    p = problem(1)
    tries = [right(p, i) for i in range(4)]
    begun = episode(p, *tries, outcomes=["fail", "pass", "unknown", "pass"])
    for n, parents in ((1, {1}), (2, {1, 3}), (9, {1, 3})):
        made = run(inject, begun, World({"student": Says(lambda _: "The answer is 99")}), n=n)
        assert {a.parent for a in made.attempts} == {tries[i].id for i in parents}


def test_a_failed_request_and_a_solution_without_room_are_drops() -> None:
    def answer(_: Request) -> str:
        raise EngineError("timeout", "no answer")

    made = run(inject, start(1), World({"student": Says(answer)}))
    assert codes(made.drops) == ["timeout"] and not made.attempts
    p = user("What?")
    says = Says(lambda _: "x")
    begun = episode(p, attempt(p, "words\nalone"))
    begun = begun.add(Additions(verdicts=tuple(_passing(begun))))
    made = run(inject, begun, World({"student": says}))
    assert codes(made.drops) == ["no_room_for_a_slip"] and not says.asked


def _passing(begun: Episode) -> Iterator[Verdict]:
    return (verdict(a, "pass", verifier=begun.problem.verifier) for a in begun.attempts)


def test_it_is_the_same_each_time_and_another_with_another_seed() -> None:
    def texts(seed: int) -> list[str]:
        world = World({"student": Says(lambda _: "The answer is 99")}, seed=seed)
        return [a.text for s in range(8) for a in run(inject, start(s), world).attempts]

    assert texts(1) == texts(1) != texts(2)


def test_sentences_are_not_broken_by_a_line_end() -> None:
    p = user("What?", answer="6")
    a = attempt(p, "x")
    text = "We have 2 apples. We get 4 more. So 6."
    a = replace(a, steps=steps_of(text, "sentences", "student"))
    begun = Episode(problem=p).add(Additions(attempts=(a,), verdicts=(verdict(a, "pass", verifier="exact"),)))
    made = run(inject, begun, World({"student": Says(lambda _: "So 5.")}), steps="sentences", kinds=("result",))
    kept = made.attempts[0]
    assert "\n" not in kept.text and kept.text.endswith(". So 5.") and len(kept.steps) >= 2
    at = kept.injection.step if kept.injection else -1
    assert kept.steps[:at] == a.steps[:at] and kept.steps[at].source == "injector"


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 10**6), st.sets(st.sampled_from(KINDS), min_size=1))
def test_a_slip_changes_one_number_or_operator_of_one_step_before_the_answer(seed: int, kinds: set[Kind]) -> None:
    rng = random.Random(seed)
    p = user(chains.question(chains.generate(rng, rng.randint(1, 6), 1)))
    a = right(p)
    found = slip(rng, a, tuple(sorted(kinds)))
    assert found is not None
    before, after = a.steps[found.step].text.split(), found.text.split()
    assert found.kind in kinds and found.step < len(a.steps) - 1
    changed = [(x, y) for x, y in zip(before, after, strict=False) if x != y]
    assert len(changed) == 1
    old, new = changed[0]
    if found.kind == "operator":
        assert old != new and {old, new} <= {"plus", "minus", "times"}
    else:
        assert 0 < abs(int(old) - int(new)) <= 2 and int(new) >= 0
    if found.kind == "result":
        assert not found.unfinished and before[:-1] == after[:-1]
    else:
        assert found.unfinished and after[-1] == new and len(after) < len(before), "the student concludes"


def test_of_each_attempt_several_slips_may_be_drawn_none_of_them_twice() -> None:
    for seed in range(5):
        made = run(inject, start(seed), World({"student": Says(lambda _: "The answer is 99")}), each=12)
        slips = [(a.injection, a.steps[a.fork_step or 0].text) for a in made.attempts]
        assert 3 < len(slips) == len(set(slips)) <= 12 and len({a.id for a in made.attempts}) == len(slips)
        first = run(inject, start(seed), World({"student": Says(lambda _: "The answer is 99")}))
        assert first.attempts[0] in made.attempts, "more of them change none"
