"""A tree of steps: where it grows, what is pruned, and what a step is worth."""

from collections import Counter

from errata.engines.base import Request
from errata.errors import EngineError
from errata.records.types import Additions
from errata.stages.search import search
from tests.stages.support import Says, World, codes, cut, episode, run, user

Q = user("Find 1.", verifier="number", answer="1")


def searched(say: object, **options: object) -> tuple[Additions, Says]:
    student = Says(say)  # type: ignore[arg-type]
    return run(search, episode(Q), World({"student": student}), **options), student


def tree(request: Request) -> str:
    """Step A leads to right ends, B to right and wrong ones, C to wrong ones alone; all by the seed."""
    k = request.seed
    if request.continues:
        return f"end {k}\nThe answer is {1 if request.messages[-1].content.startswith('A') else k % 2}"
    first = "ABC"[k % 3]
    return f"{first}\nmiddle\nThe answer is {dict(A=1, B=k // 3 % 2, C=2)[first]}"


def test_prefixes_are_gone_on_from_by_value_and_those_of_none_are_pruned() -> None:
    found, student = searched(tree, width=24, beam=1, depth=1)
    starts = Counter(r.messages[-1].content for r in student.asked if r.continues)
    assert starts == {"A\n": 24}, "the best prefix alone"
    found, student = searched(tree, width=24, beam=3, depth=1)
    starts = Counter(r.messages[-1].content for r in student.asked if r.continues)
    assert starts == {"A\n": 24, "B\n": 24}, "no path survives C"
    values = {}
    for a in found.attempts:
        for e in found.estimates:
            if e.target == a.id and e.name == "mc_value":
                values.setdefault(a.steps[0].text, set()).add(e.value)
    passed = {v.target: v.outcome == "pass" for v in found.verdicts}
    through = [passed[a.id] for a in found.attempts if a.steps[0].text == "B\n"]
    assert values == {"A\n": {1.0}, "B\n": {sum(through) / len(through)}, "C\n": {0.0}}


def test_a_path_is_scored_by_its_end_and_its_steps() -> None:
    found, _ = searched(tree, width=24, beam=3, depth=1)
    score = {e.target: e.value for e in found.estimates if e.name == "path_score"}
    value = {e.target: e.value for e in found.estimates if e.name == "mc_value"}
    passed = {v.target: v.outcome == "pass" for v in found.verdicts}
    assert score == {id: (value[id] + passed[id]) / 2 for id in score} and len(score) == len(found.attempts)
    right, wrong = ([s for id, s in score.items() if passed[id] is p] for p in (True, False))
    assert min(right) > 0.5 > max(wrong)


def test_a_tree_without_a_right_path_or_of_whole_paths_ends_at_once() -> None:
    found, student = searched(lambda _: "x\nThe answer is 3", width=2, depth=3)
    assert len(student.asked) == 2 and len(found.attempts) == 2
    found, student = searched(lambda _: "The answer is 1", width=2, depth=3)
    assert len(student.asked) == 2, "a whole path is no prefix"
    assert {e.value for e in found.estimates if e.name == "path_score"} == {1.0}


def test_a_path_that_was_cut_has_no_value_and_costs_the_others_none() -> None:
    replies = iter([cut("A\nmid"), "A\nThe answer is 1", "A\nThe answer is 2"])
    found, _ = searched(lambda _: next(replies, "A\nThe answer is 1"), width=3, depth=1)
    unknown = [v.target for v in found.verdicts if v.outcome == "unknown"]
    assert len(unknown) == 1 and unknown[0] not in {e.target for e in found.estimates}
    assert 0 < {e.name: e.value for e in found.estimates}["mc_value"] < 1


def test_lost_requests_are_told_and_a_tree_of_none_ends_the_episode() -> None:
    def down(_: Request) -> str:
        raise EngineError("http_500", "down")

    found, _ = searched(down, width=2)
    assert codes(found.drops) == ["http_500", "http_500", "no_attempt"] and found.drops[-1].target == Q.id
