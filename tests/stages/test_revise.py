"""A revision knows which attempt it revises, which critique it was shown, and what that critique's maker had seen."""

from msgspec.structs import replace

from errata.engines.base import Request
from errata.errors import EngineError
from errata.stages.revise import revise
from tests.stages.support import Says, World, attempt, codes, critique, cut, episode, faithful, problem, run, slipped

P = problem(6)
WRONG = attempt(P, slipped(P, "operand"))
SEEN = critique(WRONG, 1, "Step 2 is wrong : look again", seen=("gold_steps", "reference"))
START = episode(P, WRONG, outcomes=["fail"], critiques=[SEEN])


def test_parent_critique_and_what_was_seen() -> None:
    says = Says(faithful, seen=("weights",))
    start = episode(P, replace(WRONG, seen=("hint",)), outcomes=["fail"], critiques=[SEEN])
    made = run(revise, start, World({"student": says}), prompt="chains_revise", n=2)
    assert [(a.parent, a.critique, a.index, a.kind) for a in made.attempts] == [
        (WRONG.id, SEEN.id, k, "revised") for k in range(2)
    ]
    assert {a.seen for a in made.attempts} == {("gold_steps", "hint", "reference", "weights")}
    assert len({a.id for a in made.attempts}) == len({r.seed for r in says.asked}) == 2
    assert [(m.role, m.content) for m in says.asked[0].messages] == [
        ("user", P.text),
        ("assistant", WRONG.text),
        ("user", f"{SEEN.text}\nCorrect the solution"),
    ]


def test_told_nothing_it_sees_no_critique_and_inherits_none() -> None:
    says = Says(faithful)
    made = run(revise, START, World({"student": says}), critique="", prompt="chains_try_again", outcome="any")
    assert [(a.parent, a.critique, a.seen) for a in made.attempts] == [(WRONG.id, None, ())]
    assert says.asked[0].messages[-1].content == "There may be an error\nSolve it again"
    assert SEEN.text not in "".join(m.content for m in says.asked[0].messages)


def test_each_critique_of_the_step_named_gives_revisions_but_an_unread_one() -> None:
    critiques = [
        SEEN,
        critique(WRONG, 2, "Step 3 is wrong", index=1),
        critique(WRONG, None, "hm", index=2, verdict="unknown"),
        critique(WRONG, 0, "Step 1 is wrong", stage="other"),
    ]
    start = episode(P, WRONG, outcomes=["fail"], critiques=critiques)
    made = run(revise, start, World({"student": Says(faithful)}), n=3)
    assert sorted({a.critique or "" for a in made.attempts}) == sorted([critiques[0].id, critiques[1].id])
    assert len(made.attempts) == 6 == len({a.id for a in made.attempts})


def test_only_attempts_of_the_step_and_outcome_named() -> None:
    tries = [attempt(P, slipped(P, "operand", i), i) for i in range(3)]
    other = attempt(P, slipped(P, "operand", 9), 0, stage="inject")
    start = episode(P, *tries, other, outcomes=["fail", "pass", "unknown", "fail"])
    world = World({"student": Says(faithful)})

    def parents(**options: object) -> set[str | None]:
        return {a.parent for a in run(revise, start, world, critique="", prompt="try_again", **options).attempts}

    assert parents() == {tries[0].id}
    assert parents(outcome="any") == {a.id for a in tries}
    assert parents(outcome="any", most=2) == {a.id for a in tries[:2]}
    assert parents(of="inject") == {other.id}


def test_a_cut_revision_is_incomplete_and_a_failed_one_a_drop() -> None:
    def answer(request: Request) -> object:
        if len(says.asked) == 1:
            raise EngineError("timeout", "no answer")
        return cut(faithful(request))

    says = Says(answer)  # type: ignore[arg-type]
    made = run(revise, START, World({"student": says}), n=2)
    assert [a.complete for a in made.attempts] == [False] and codes(made.drops) == ["timeout"]
    assert made.drops[0].target not in {a.id for a in made.attempts}


def test_without_a_critique_there_is_nothing_to_revise() -> None:
    says = Says(faithful)
    made = run(revise, episode(P, WRONG, outcomes=["fail"]), World({"student": says}))
    assert not made.attempts and not made.drops and not says.asked
