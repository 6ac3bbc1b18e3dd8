"""The gold solution as an attempt: whole, its own steps, and marked as privileged."""

from msgspec.structs import replace

from errata.stages.expert import expert
from errata.stages.verify import verify
from tests.stages.support import codes, episode, grown, problem, run, user

P = problem(3)


def test_it_is_the_gold_solution_step_for_step() -> None:
    a = run(expert, episode(P)).attempts[0]
    assert [s.text.rstrip("\n") for s in a.steps] == list(P.solution) and a.text == "\n".join(P.solution)
    assert (a.kind, a.seen, a.parent, a.steps[-1].role) == ("expert", ("gold_steps",), None, "answer")
    done = grown(verify, episode(P).add(run(expert, episode(P))), options={"strict": True})
    assert done.outcome(a.id) == "pass"


def test_steps_may_be_cut_by_another_rule() -> None:
    p = user("What?", solution=("Two and two. Is four.\n", "The answer is 4"))
    assert len(run(expert, episode(p)).attempts[0].steps) == 2
    a = run(expert, episode(p), steps="sentences").attempts[0]
    assert [s.text for s in a.steps] == ["Two and two. ", "Is four.\n", "The answer is 4"]


def test_a_problem_without_a_solution_is_dropped() -> None:
    made = run(expert, episode(replace(P, solution=())))
    assert codes(made.drops) == ["no_solution"] and made.drops[0].target == P.id and not made.attempts
