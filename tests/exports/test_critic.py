"""A critic's row shows problem and attempt, imitates a critique that is right, and gives nothing away."""

from typing import Any

import pytest

from errata import prompts
from errata.exports.base import ExportContext
from errata.exports.critic import critic
from errata.records.rows import CriticRow
from errata.records.types import Additions, Drop, Episode, Estimate, Outcome, Tag, Verdict
from tests.stages.support import attempt, critique, episode, problem, slipped

P = problem(5)
WRONG = attempt(P, slipped(P, "operand"), tags=(Tag(name="kind", value="operand"),))
CONTEXT = ExportContext(stage="critic", prompt=prompts.load)


def rows(start: Episode, **options: Any) -> tuple[list[CriticRow], list[Drop]]:
    found = list(critic(start, CONTEXT, **{"prompt": "chains_critique", **options}))
    return [r for r in found if isinstance(r, CriticRow)], [r for r in found if isinstance(r, Drop)]


def sorted_out(id: str, verifier: str, outcome: Outcome) -> Verdict:
    return Verdict(target=id, stage=verifier, verifier=verifier, version=1, outcome=outcome)


def test_a_row_is_the_critique_of_an_attempt_and_what_was_measured_of_it() -> None:
    said = critique(WRONG, 2, "Step 3 is wrong : look", seen=("gold_steps",), steps=("pass", "pass", "fail"))
    gain = Estimate(target=said.id, stage="close_loop", name="closed_loop_gain", value=0.4, n=10)
    start = episode(P, WRONG, outcomes=["fail"], critiques=[said]).add(Additions(estimates=(gain,)))
    ((row,), drops) = rows(start)
    assert not drops
    assert [m.role for m in row.prompt] == ["user", "assistant", "user"]
    assert (row.prompt[0].content, row.prompt[1].content) == (P.text, WRONG.text)
    assert [m.content for m in row.completion] == [said.text]
    assert (row.verdict, row.first_error, row.steps, row.outcome) == ("error", 2, ("pass", "pass", "fail"), "fail")
    assert row.gain == 0.4 and [(m.name, m.value) for m in row.metrics] == [("closed_loop_gain", 0.4)]
    assert row.lineage == (said.id, WRONG.id) and row.seen == ("gold_steps",)
    assert {(t.name, t.value) for t in row.tags} == {
        ("kind", "operand"),
        ("verdict", "error"),
        ("outcome", "fail"),
        ("made_by", "sampled"),
    }


@pytest.mark.parametrize(
    ("agree", "outcome", "said", "gold", "code"),
    [
        ("verdict", "fail", 1, None, None),
        ("verdict", "pass", 1, None, "wrong_verdict"),
        ("verdict", "fail", None, None, "wrong_verdict"),
        ("verdict", "pass", None, None, None),
        ("verdict", "unknown", 1, None, None),
        ("none", "pass", 1, None, None),
        ("verdict", "fail", 1, 2, None),
        ("place", "fail", 1, 2, "wrong_place"),
        ("place", "fail", 2, 2, None),
        ("place", "fail", 1, None, None),
        # A right answer with a wrong step: gold steps outweigh the verdict on the answer.
        ("verdict", "pass", 2, 2, None),
        ("verdict", "pass", None, 2, "wrong_verdict"),
    ],
)
def test_a_critique_must_agree_with_what_is_known(
    agree: str, outcome: Outcome, said: int | None, gold: int | None, code: str | None
) -> None:
    told = [critique(WRONG, said, "these words")]
    if gold is not None:
        told.append(critique(WRONG, gold, stage="locate", source="gold"))
    made, drops = rows(episode(P, WRONG, outcomes=[outcome], critiques=told), agree=agree)
    assert (len(made), [d.code for d in drops]) == ((0, [code]) if code else (1, []))


def test_what_was_turned_away_unread_or_not_proven_is_no_row() -> None:
    said = critique(WRONG, 1, "these words")
    start = episode(P, WRONG, outcomes=["fail"], critiques=[said])
    for verifier in ("scrub", "close_loop"):
        rejected = start.add(Additions(verdicts=(sorted_out(said.id, verifier, "fail"),)))
        assert [d.code for d in rows(rejected)[1]] == ["not_accepted"]
        assert [d.code for d in rows(start, need=(verifier,))[1]] == ["not_proven"]
        passed = start.add(Additions(verdicts=(sorted_out(said.id, verifier, "pass"),)))
        assert len(rows(passed, need=(verifier,))[0]) == 1
    unread = [critique(WRONG, None, "hm", verdict="unknown"), critique(WRONG, 1, " ", index=1)]
    assert [d.code for d in rows(episode(P, WRONG, outcomes=["fail"], critiques=unread))[1]] == ["unread"] * 2


def test_privileged_text_is_refused_but_for_what_the_attempt_says_itself() -> None:
    told = critique(WRONG, 1, f"the answer is {P.answer}", seen=("reference",))
    start = episode(P, WRONG, outcomes=["fail"], critiques=[told])
    assert [d.code for d in rows(start)[1]] == ["privileged_text"]
    assert len(rows(start, privileged=True)[0]) == 1
    right = attempt(P, list(P.solution))
    quoting = critique(right, None, f"Step 1: {P.solution[0]} Correct", seen=("reference",))
    assert len(rows(episode(P, right, outcomes=["pass"], critiques=[quoting]))[0]) == 1


def test_at_most_so_many_a_problem_and_only_of_the_named_steps() -> None:
    told = [critique(WRONG, 1, f"words {k}", index=k) for k in range(3)]
    start = episode(P, WRONG, outcomes=["fail"], critiques=told)
    made, drops = rows(start, most=2)
    assert len(made) == 2 and [d.code for d in drops] == ["enough"] and len({r.id for r in made}) == 2
    assert rows(start, of=("other",)) == ([], [])
