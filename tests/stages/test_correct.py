"""A correction keeps the steps up to and including the wrong one, then come the analysis and the writer's own words."""

import pytest
from msgspec.structs import replace

from errata import chains
from errata.records.types import Additions, Attempt, Episode
from errata.stages.correct import correct
from errata.stages.pair import pair
from tests.stages.support import (
    Says,
    World,
    attempt,
    chain_of,
    codes,
    critique,
    episode,
    faithful,
    problem,
    run,
    slipped,
    verdict,
)  # fmt: skip

P = problem(6)
WRONG = attempt(P, slipped(P, "operand", 3))
PLACE = chains.first_error(chain_of(P), [s.text for s in WRONG.steps])
assert PLACE is not None and PLACE.step > 0
K = PLACE.step
TEACHER = critique(WRONG, K, f"Step {K + 1} is wrong : look\n", stage="by_teacher", seen=("reference",))
STUDENT = critique(WRONG, 0, "Step 1 is wrong : hm", stage="by_student", source="student")
START = episode(P, WRONG, outcomes=["fail"], critiques=[TEACHER, STUDENT])


def corrected(start: Episode = START, **options: object) -> tuple[Additions, Says]:
    says = Says(faithful, seen=("weights",))
    given = {"prompt": "chains_revise", "critique": "by_teacher", **options}
    return run(correct, start, World({"teacher": says, "student": says}), **given), says


def test_prefix_wrong_step_analysis_correction() -> None:
    made, _ = corrected()
    (found,) = made.attempts
    roles = [(s.role, s.source, s.train) for s in found.steps]
    assert roles[:K] == [("reasoning", "student", True)] * K
    assert roles[K : K + 2] == [("reasoning", "student", False), ("reflection", "teacher", True)]
    assert {s.role for s in found.steps[K + 2 : -1]} <= {"correction"} and found.steps[-1].role == "answer"
    assert {s.source for s in found.steps[K + 2 :]} == {"teacher"}
    assert [s.text for s in found.steps[: K + 1]] == [s.text for s in WRONG.steps[: K + 1]]
    assert found.steps[K + 1].text == TEACHER.text, "on a line of its own"
    assert (found.parent, found.fork_step, found.critique, found.kind) == (WRONG.id, K, TEACHER.id, "spliced")
    assert found.seen == ("reference", "weights"), "what the critic, the place's finder and the engine had seen"
    rest = [s.text.strip() for s in (*found.steps[:K], *found.steps[K + 2 :])]
    assert rest == chains.solve(chain_of(P)), "the reply goes on from the right steps"
    assert not made.drops


def test_the_writer_sees_attempt_and_analysis_and_begins_with_the_right_steps() -> None:
    _, says = corrected()
    (request,) = says.asked
    assert [(m.role, m.content) for m in request.messages] == [
        *[(m.role, m.content) for m in P.messages],
        ("assistant", WRONG.text),
        ("user", f"{TEACHER.text}\nCorrect the solution"),
        ("assistant", "".join(s.text for s in WRONG.steps[:K])),
    ]


def test_the_student_corrects_from_the_teachers_place_by_its_own_analysis() -> None:
    made, _ = corrected(role="student", source="student", critique="by_student", n=2)
    assert [(a.fork_step, a.critique, a.index) for a in made.attempts] == [(K, STUDENT.id, 0), (K, STUDENT.id, 1)]
    assert all(a.steps[K + 1].text == STUDENT.text + "\n" for a in made.attempts)
    assert {s.source for a in made.attempts for s in a.steps} == {"student"}


def test_without_a_place_or_with_one_past_the_end_there_is_none() -> None:
    none = episode(P, WRONG, outcomes=["fail"], critiques=[STUDENT])
    assert codes(corrected(none)[0].drops) == ["not_located"]
    past = replace(TEACHER, first_error=len(WRONG.steps))
    assert codes(corrected(episode(P, WRONG, outcomes=["fail"], critiques=[past]))[0].drops) == ["no_wrong_step"]


@pytest.mark.parametrize("changed", [{"first_error": K - 1}, {"verdict": "no_error", "first_error": None}])
def test_of_several_analyses_by_the_locators_source_only_those_of_the_place_count(changed: dict[str, object]) -> None:
    other = replace(TEACHER, id="other", index=1, **changed)
    start = episode(P, WRONG, outcomes=["fail"], critiques=[TEACHER, other])
    assert [a.critique for a in corrected(start)[0].attempts] == [TEACHER.id]


def test_an_unread_analysis_and_an_attempt_that_did_not_fail_give_nothing() -> None:
    unread = replace(STUDENT, verdict="unknown", first_error=None)
    start = episode(P, WRONG, outcomes=["fail"], critiques=[TEACHER, unread])
    assert corrected(start, critique="by_student", source="student")[0] == Additions()
    for outcome in ("pass", "unknown"):
        start = episode(P, WRONG, outcomes=[outcome], critiques=[TEACHER])
        assert corrected(start)[0] == Additions()


def test_an_empty_reply_is_dropped() -> None:
    says = Says(lambda _: "")
    made = run(correct, START, World({"teacher": says}), prompt="chains_revise", critique="by_teacher")
    assert (made.attempts, codes(made.drops)) == ((), ["no_step"])


# ---- pairs of corrections


def both(outcomes: tuple[str, str]) -> Episode:
    teacher = corrected()[0].attempts
    student = run(
        correct, START, World({"student": Says(faithful)}), name="own", prompt="chains_revise", role="student",
        source="student", critique="by_student",
    ).attempts  # fmt: skip
    verdicts = [verdict(a, o) for a, o in zip((*teacher, *student), outcomes, strict=True)]  # type: ignore[arg-type]
    return START.add(Additions(attempts=(*teacher, *student), verdicts=tuple(verdicts)))


def paired(start: Episode, *worse: str) -> list[tuple[str, str, int | None]]:
    found = run(pair, start, rule="correction", of=("correct",), against=("own",), worse=worse or ("fail",)).pairs
    stages = {a.id: a.stage for a in start.attempts}
    return [(stages[p.chosen], stages[p.rejected], p.step) for p in found]


def test_a_pair_goes_on_from_the_wrong_step_and_its_chosen_one_passes() -> None:
    assert paired(both(("pass", "fail"))) == [("correct", "own", K + 1)]
    assert paired(both(("pass", "pass"))) == []
    assert paired(both(("pass", "pass")), "fail", "pass") == [("correct", "own", K + 1)]
    for outcomes in (("fail", "fail"), ("unknown", "fail"), ("pass", "unknown")):
        assert paired(both(outcomes), "fail", "pass") == []


def test_corrections_of_other_steps_or_attempts_and_equal_ones_are_no_pair() -> None:
    start = both(("pass", "fail"))

    def changed(**fields: object) -> Episode:
        attempts = tuple(replace(a, **fields) if a.stage == "own" else a for a in start.attempts)
        return replace(start, attempts=attempts)

    teacher: Attempt = next(a for a in start.attempts if a.stage == "correct")
    assert paired(changed()) and not paired(changed(fork_step=K - 1)) and not paired(changed(parent="another"))
    assert not paired(changed(steps=teacher.steps))
