"""Where a bad path first goes wrong, by an actor, by the world's distance and by continuations."""

from typing import Any

from msgspec.structs import replace

from errata.engines.base import Request
from errata.environments.base import DEAD_END
from errata.records.types import Critique, Episode, Pair
from errata.stages.first_error import first_error
from tests.stages.letters import paired, spell
from tests.stages.support import Says, World, codes, cut, run

Q = spell("abcd", ink="z")


def judge(bad: str, uncertain: str = "") -> Says:
    """Calls these letters bad, whatever they do."""

    def say(request: Request) -> str:
        last = request.messages[-1].content.rpartition("] ")[2].split("\n")[0]
        word = "bad" if last in bad else "uncertain" if last in uncertain else "good"
        return f"It did this.\nVerdict: {word}"

    return Says(say)


def found(start: Episode, student: Any = None, **options: Any) -> tuple[Critique, Any]:
    made = run(first_error, start, World({"student": student or judge("")}), **options)
    return made.critiques[0], made


def test_the_actor_judges_after_the_common_beginning_and_stops_at_the_first_bad_action() -> None:
    student = judge("cx", uncertain="y")
    critique, made = found(paired(Q, "abcd", "abyxcx", 4), student)
    assert (critique.verdict, critique.first_error, critique.source) == ("error", 6, "student")
    assert critique.steps == (*["unknown"] * 6, "fail", *["unknown"] * 5), "uncertain goes on"
    assert len(student.asked) == 2 and "Verdict: bad" in critique.text and critique.call
    shown = student.asked[1].messages[0].content
    assert "The word is abcd." in shown and "[1] a\n-> You wrote a." in shown and "[4] x\n-> You wrote x." in shown
    assert "[5]" not in shown
    (cost,) = [e for e in made.estimates if e.name == "location_requests"]
    assert cost.value == 2


def test_no_bad_action_is_an_answer_and_what_cannot_be_read_is_uncertain() -> None:
    critique, _ = found(paired(Q, "abcd", "axx", 2), judge(""))
    assert (critique.verdict, critique.first_error) == ("no_error", None) and critique.steps[2] == "pass"
    critique, _ = found(paired(Q, "abcd", "axx", 2), Says(lambda _: "who knows"))
    assert critique.verdict == "no_error" and set(critique.steps) == {"unknown"}
    critique, _ = found(paired(Q, "abcd", "axx", 2), Says(lambda _: cut("Verdict: bad")))
    assert critique.verdict == "no_error"


def test_a_beginning_is_judged_once_however_many_pairs_have_it() -> None:
    start = paired(Q, "abcd", "axyx", 2)
    good, bad = start.attempts
    more = [
        Pair(id=f"{i}", stage="pair_paths", index=i, rule="paths", chosen=good.id, rejected=bad.id, step=step)
        for i, step in ((1, 2), (2, 4))
    ]
    student = judge("x")
    made = run(first_error, replace(start, pairs=(*start.pairs, *more)), World({"student": student}))
    by_start = {c.tags[0].value: c.first_error for c in made.critiques}
    assert by_start == {"2": 2, "4": 6}, "the same path, judged from two places"
    assert len(student.asked) == 3 and len({r.messages for r in student.asked}) == 3


def test_the_distance_labels_every_action_and_finds_the_first_that_leads_away() -> None:
    critique, made = found(paired(Q, "abcd", ["a", "hop", "x", "undo", "z"], 2), source="distance")
    assert (critique.verdict, critique.first_error, critique.source) == ("error", 4, "gold")
    assert critique.steps[2::2] == ("unknown", "fail", "pass", "fail") and critique.seen == ("distance",)
    left = {e.step: e.value for e in made.estimates if e.name == "distance"}
    assert left == {0: 3, 2: 3, 4: 4, 6: 3, 8: DEAD_END}
    critique, _ = found(paired(Q, "abcd", ["a", "hop", "stop"], 2), source="distance")
    assert critique.verdict == "no_error"


def test_an_action_after_which_no_continuation_reaches_the_goal_is_bad() -> None:
    def spell_on(request: Request) -> str:
        said = "".join(m.content for m in request.messages if m.role == "assistant")
        return "undo" if said.endswith("x") else "abcd"[len(said.replace("xundo", ""))]

    student = Says(spell_on)
    critique, made = found(paired(Q, "abcd", "axz", 2), student, source="rollouts", rollouts=2)
    assert (critique.verdict, critique.first_error, critique.source) == ("error", 4, "forks")
    assert {e.step: (e.value, e.n) for e in made.estimates if e.name == "mc_value"} == {2: (1.0, 2), 4: (0.0, 2)}
    assert len({(r.messages, r.seed) for r in student.asked}) == len(student.asked)
    critique, _ = found(paired(Q, "abcd", "axz", 2), Says(lambda _: "stop"), source="rollouts")
    assert critique.verdict == "unknown", "a policy that never gets there tells nothing"


def test_a_world_that_cannot_tell_costs_the_path_alone() -> None:
    start = paired(Q, "abcd", "axx", 2)
    broken = replace(start, problem=replace(Q, task=replace(Q.task, version=9)))
    made = run(first_error, broken, World({"student": judge("")}), source="distance")
    assert codes(made.drops) == ["world_version"] and not made.critiques
