"""Rows for a judge: what is asked is drawn from a pool, what is answered is what the verifier says."""

from collections import Counter
from typing import Any

import pytest

from errata import prompts
from errata.errors import RecipeError
from errata.exports.base import ExportContext
from errata.exports.judge import judge
from errata.records.rows import JudgeRow
from errata.records.types import Additions, Attempt, Drop, Episode, Outcome, Verdict
from tests.stages.support import attempt, episode, problem

P = problem(12)
PAIRS: dict[str, Any] = {"pairwise": True, "prompts": ("judge_better",), "labels": {"judge_better": ("A", "B")}}


def rows(start: Episode, **options: Any) -> tuple[list[JudgeRow], list[Drop]]:
    found = list(judge(start, ExportContext("judge", prompts.load), **options))
    return [r for r in found if isinstance(r, JudgeRow)], [r for r in found if isinstance(r, Drop)]


def tries(*outcomes: Outcome, **fields: Any) -> Episode:
    made = [attempt(P, f"try {i}\nThe answer is {i}", i, **fields) for i in range(len(outcomes))]
    return episode(P, *made, attempt(P, "x", stage="other"), outcomes=[*outcomes, "pass"])


def test_one_attempt_one_question_one_answer() -> None:
    start = tries("pass", "fail", seen=("reference",))
    found, drops = rows(start)
    assert not drops and [(r.form, r.label) for r in found] == [("pointwise", "Yes"), ("pointwise", "No")]
    for row, made in zip(found, start.attempts[1:], strict=True):
        assert row.prompt == prompts.load("judge_yes_no").render(P, made) and made.text in row.prompt[0].content
        assert [(m.role, m.content) for m in row.completion] == [("assistant", row.label)]
        assert row.lineage == (made.id,) and row.seen == ("reference",)
        assert {(t.name, t.value) for t in row.tags} == {("template", "judge_yes_no"), ("label", row.label)}


def test_every_right_one_with_every_wrong_one_in_an_order_that_is_drawn() -> None:
    start = tries(*["pass"] * 6, *["fail"] * 5)
    found, drops = rows(start, **PAIRS)
    assert not drops and len(found) == 30 == len({r.id for r in found})
    assert {r.form for r in found} == {"pairwise"} and 6 < Counter(r.label for r in found)["A"] < 24
    for row in found:
        first, second = (start.attempt(x) for x in row.lineage)
        assert row.prompt == prompts.load("judge_better").render(P, first, shown={"other": second})
        assert start.outcome({"A": first, "B": second}[row.label].id) == "pass"
        assert {start.outcome(first.id), start.outcome(second.id)} == {"pass", "fail"}
    assert found == rows(start, **PAIRS)[0]


def test_templates_are_drawn_from_the_pool_each_with_its_labels() -> None:
    labels = {"judge_yes_no": ("Yes", "No"), "judge_pointwise": ("true", "false")}
    found, _ = rows(tries(*["pass"] * 12, *["fail"] * 12), prompts=tuple(labels), labels=labels)
    drawn = Counter(t.value for r in found for t in r.tags if t.name == "template")
    assert set(drawn) == set(labels) and min(drawn.values()) > 4
    for row, right in zip(found, [True] * 12 + [False] * 12, strict=True):
        name = next(t.value for t in row.tags if t.name == "template")
        assert row.label == labels[name][0 if right else 1]
        words = "Yes or No" if name == "judge_yes_no" else "Answer with JSON"
        assert words in row.prompt[0].content


@pytest.mark.parametrize("options", [{"prompts": ("judge_better",)}, {"prompts": ("judge_yes_no", "judge_score")}])
def test_a_prompt_without_labels_is_refused(options: dict[str, Any]) -> None:
    missing = options["prompts"][-1]
    with pytest.raises(RecipeError, match=f"the prompt {missing} has no labels: give the words for right and wrong"):
        rows(tries("pass"), **options)


@pytest.mark.parametrize("options", [{}, PAIRS])
def test_unknown_cut_and_rejected_attempts_are_in_no_row_and_told(options: dict[str, Any]) -> None:
    start = tries("pass", "fail", "unknown", "fail")
    cut: Attempt = attempt(P, "cut", 9, complete=False)
    away = Verdict(target=start.attempts[-1].id, stage="scrub", verifier="scrub", version=1, outcome="fail")
    known = Verdict(target=cut.id, stage="verify", verifier=P.verifier, version=1, outcome="pass")
    start = start.add(Additions(attempts=(cut,), verdicts=(away, known)))
    found, drops = rows(start, **options)
    assert len(found) == (1 if options else 2)
    assert Counter(d.code for d in drops) == {"no_verdict": 2, "not_accepted": 1}
    lost = {d.detail for d in drops}
    assert len(lost) == 3 and not lost & {x for r in found for x in r.lineage}


def test_most_is_kept_to_and_told() -> None:
    found, drops = rows(tries("pass", "fail", "fail"), most=2)
    assert len(found) == 2 and [(d.code, d.detail) for d in drops] == [("enough", "2 rows a problem")]
