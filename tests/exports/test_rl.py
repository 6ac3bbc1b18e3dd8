"""Prompts for reinforcement learning: what they show, what they pay, and what they never tell."""

from pathlib import Path
from typing import Any

import pytest

from errata import prompts
from errata.errors import RecipeError
from errata.exports.base import ExportContext
from errata.exports.rewards import reward_table
from errata.exports.rl import rl
from errata.records.rows import RlRow
from errata.records.types import Drop, Episode
from tests.stages.support import attempt, episode, problem

PROBLEM = problem(8)


def rows_of(start: Episode, folder: Path | None = None, **options: Any) -> tuple[list[RlRow], list[Drop]]:
    context = ExportContext("rl", lambda name: prompts.load(name, folder))
    found = list(rl(start, context, **options))
    return [r for r in found if isinstance(r, RlRow)], [d for d in found if isinstance(d, Drop)]


def sampled(*outcomes: Any) -> Episode:
    made = [attempt(PROBLEM, f"The answer is {i}", i) for i in range(len(outcomes))]
    return episode(PROBLEM, *made, outcomes=outcomes)


def test_a_problem_is_a_prompt_with_its_verifier_and_reference() -> None:
    ((row,), drops) = rows_of(episode(PROBLEM))
    assert not drops and row.prompt == PROBLEM.messages and row.answer == PROBLEM.answer
    assert (row.verifier, row.group_size, row.turns, row.feedback) == ("procedural", 8, 1, "")
    assert row.rewards == reward_table("outcome").terms and row.metrics == () and row.lineage == ()
    assert [(t.name, t.value) for t in row.tags] == [("rewards", "outcome")]


def test_two_turns_have_feedback_that_is_the_same_whatever_was_sampled() -> None:
    said = set()
    for outcomes in (("pass",), ("fail",), ("unknown",), ()):
        ((row,), _) = rows_of(sampled(*outcomes), turns=2, feedback="chains_try_again", rewards="score_stage_1")
        said.add(row.feedback)
        assert row.turns == 2 and row.prompt == PROBLEM.messages
        assert ("kl", "first") in {(t.name, t.value) for t in row.tags}
    assert said == {"There may be an error\nSolve it again"}


@pytest.mark.parametrize(
    ("last", "said"),
    [
        ("{role: user, content: 'You said {{ attempt.text }}'}", "names more than the problem"),
        ("{role: user, content: '{% if critique %}No{% endif %}'}", "names more than the problem"),
        ("{role: user, content: '{{ index }}'}", "names more than the problem"),
        ("{role: assistant, content: 'Again'}", "last message is not a user's"),
        ("{use: problem}", "last message is not a user's"),
    ],
)
def test_feedback_that_depends_on_the_attempt_is_refused(tmp_path: Path, last: str, said: str) -> None:
    (tmp_path / "own.yaml").write_text(f"messages:\n  - use: problem\n  - {last}\n")
    with pytest.raises(RecipeError, match=said):
        rows_of(sampled("pass"), tmp_path, turns=2, feedback="own.yaml")


def test_the_students_own_rates_stand_in_the_metrics() -> None:
    ((row,), _) = rows_of(sampled("pass", "fail", "fail", "unknown"))
    assert [(m.name, m.value) for m in row.metrics] == [("rate_sample", 1 / 3)]


def test_rows_of_attempts_show_them_and_tell_their_verdict_beside_the_prompt() -> None:
    start = sampled("pass", "fail", "unknown")
    rows, drops = rows_of(start, of=("sample",), prompt="critique", rewards="refcritic")
    assert [d.code for d in drops] == ["no_verdict"] and len(rows) == 2
    for row, a, truth in zip(rows, start.attempts, ("pass", "fail"), strict=False):
        assert row.lineage == (a.id,) and ("outcome", truth) in {(t.name, t.value) for t in row.tags}
        assert a.text in row.prompt[-1].content and truth not in row.prompt[-1].content
        assert {t.segment for t in row.rewards} == {"verdict", "revisions"}


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"turns": 2}, "several turns need a prompt file as feedback"),
        ({"feedback": "try_again"}, "several turns need a prompt file"),
        ({"of": ("sample",)}, "need a `prompt` that shows them"),
        ({"rewards": "reward"}, "no reward table 'reward'"),
    ],
)
def test_a_configuration_that_cannot_be_is_refused(options: dict[str, Any], said: str) -> None:
    with pytest.raises(RecipeError, match=said):
        rows_of(sampled("pass"), **options)
