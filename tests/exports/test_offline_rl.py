"""Rollout rows: who is in a group, what each is worth, and what is never taken for wrong."""

from typing import Any

import pytest
from msgspec.structs import replace

from errata import prompts
from errata.errors import RecipeError
from errata.exports.base import ExportContext
from errata.exports.offline_rl import offline_rl
from errata.records.rows import OfflineRow
from errata.records.types import Additions, Drop, Episode, Estimate, Step
from tests.stages.support import attempt, critique, episode, problem, verdict

PROBLEM = problem(3)
RIGHT, WRONG = "The answer is 1", "The answer is 2"


def rows_of(start: Episode, **options: Any) -> tuple[list[OfflineRow], list[Drop]]:
    found = list(offline_rl(start, ExportContext("offline_rl", prompts.load), **options))
    return [r for r in found if isinstance(r, OfflineRow)], [d for d in found if isinstance(d, Drop)]


def group(*outcomes: Any) -> Episode:
    return episode(PROBLEM, *(attempt(PROBLEM, [f"a {i}", RIGHT], i) for i in range(len(outcomes))), outcomes=outcomes)


def test_every_rollout_with_a_verdict_is_a_row_with_its_groups_rate() -> None:
    start = group("pass", "fail", "fail", "unknown")
    rows, drops = rows_of(start)
    assert [r.reward for r in rows] == [1, 0, 0]
    assert [(d.code, d.target in {r.id for r in rows}) for d in drops] == [("no_verdict", False)]
    assert len({r.group for r in rows}) == 1 and {r.group_rate for r in rows} == {1 / 3}
    for row, made in zip(rows, start.attempts, strict=False):
        assert row.messages == (*PROBLEM.messages, row.messages[-1]) and row.messages[-1].content == made.text
        assert [(s.start, s.end, s.train) for s in row.spans] == [(0, 4, True), (4, len(made.text), True)]
        assert {s.message for s in row.spans} == {len(PROBLEM.messages)} and row.lineage == (made.id,)
        assert {m.name: m.value for m in row.metrics} == {
            "passes": row.reward, "group_size": 3, "group_right": 1,
        }  # fmt: skip
        assert row.advantage is None and not row.guided and not row.constructed and row.logprobs == ()


def test_a_cut_rollout_is_no_row_whatever_its_verdict() -> None:
    start = episode(PROBLEM, attempt(PROBLEM, RIGHT, complete=False), outcomes=["pass"])
    assert [d.code for d in rows_of(start)[1]] == ["no_verdict"] and not rows_of(start)[0]


@pytest.mark.parametrize(
    ("over", "expected"), [("mean", [0.75, -0.25, -0.25, -0.25]), ("mean_and_std", [1.5, -0.5, -0.5, -0.5])]
)
def test_the_advantage_is_over_the_group(over: str, expected: list[float]) -> None:
    rows, _ = rows_of(group("pass", "fail", "fail", "fail"), advantage=over)
    assert [r.advantage for r in rows] == pytest.approx(expected)
    for same in (group("pass", "pass"), group("fail")):
        assert {r.advantage for r in rows_of(same, advantage=over)[0]} == {0.0}


@pytest.mark.parametrize(("outcomes", "code"), [(("pass", "pass"), "all_right"), (("fail", "fail"), "all_wrong")])
def test_a_one_sided_group_is_dropped_where_mixed_ones_are_asked(outcomes: Any, code: str) -> None:
    rows, drops = rows_of(group(*outcomes), mixed=True)
    assert not rows and [d.code for d in drops] == [code, code]
    assert {d.target for d in drops} == {r.id for r in rows_of(group(*outcomes))[0]}
    rows, drops = rows_of(group("pass", "fail", "unknown"), mixed=True)
    assert len(rows) == 2 and [d.code for d in drops] == ["no_verdict"]


def revised() -> Episode:
    """A wrong first attempt, and revisions of it: told nothing, with a critique, with a critique of who knew more."""
    first = attempt(PROBLEM, WRONG)
    plain, told = critique(first, 0, "Step 1 is wrong"), critique(first, 0, "Look", index=1, seen=("reference",))
    made = [
        attempt(PROBLEM, RIGHT, i, "revise", kind="revised", parent=first.id, critique=c, seen=seen)
        for i, (c, seen) in enumerate([(None, ()), (plain.id, ()), (told.id, ("reference",))])
    ]
    outcomes: Any = ["fail", "pass", "fail", "pass"]
    return episode(PROBLEM, first, *made, outcomes=outcomes, critiques=[plain, told])


def test_revisions_are_paid_by_transition_on_the_original_prompt_and_called_guided() -> None:
    start = revised()
    rows, drops = rows_of(start, of=("revise",), rewards="srpo", terms=(
        {"segment": "second", "kind": "transition", "when": "wrong_to_right", "value": 1},
        {"segment": "second", "kind": "transition", "when": "wrong_to_wrong", "value": -1},
    ))  # fmt: skip
    assert not drops and [r.reward for r in rows] == [1, -1, 1]
    assert [r.transition for r in rows] == ["wrong_to_right", "wrong_to_wrong", "wrong_to_right"]
    for row in rows:
        assert row.messages[:-1] == PROBLEM.messages and row.guided, "its maker saw an attempt that the prompt lacks"
    assert rows[2].seen == ("reference",)


def test_what_the_prompt_shows_guides_nobody() -> None:
    shown, _ = rows_of(revised(), of=("revise",), prompt="chains_try_again")
    assert [r.guided for r in shown] == [False, True, True]
    assert [m.role for m in shown[0].messages] == ["user", "assistant", "user", "assistant"]
    assert {(s.message, s.train) for s in shown[0].spans} == {(1, False), (3, True)}


def test_a_critique_that_the_prompt_shows_guides_nobody_unless_it_knew_more() -> None:
    start = revised()
    start = replace(start, attempts=tuple(a for a in start.attempts if a.critique or a.stage == "sample"))
    assert [r.guided for r in rows_of(start, of=("revise",), prompt="chains_revise")[0]] == [False, True]


def test_log_probabilities_stand_where_the_row_is_what_the_sampler_saw() -> None:
    start = revised()
    made = tuple(replace(a, logprobs=(-0.5, -1.0)) for a in start.attempts)
    fork = attempt(PROBLEM, RIGHT, 0, "fork", kind="forked", parent=made[0].id, fork_step=1, logprobs=(-0.5,))
    start = replace(start, attempts=made).add(Additions(attempts=(fork,), verdicts=(verdict(fork, "pass"),)))
    own = (-0.5, -1.0)
    assert [r.logprobs for r in rows_of(start, of=("sample", "fork"))[0]] == [own, ()], "a fork's prefix has none"
    assert [r.logprobs for r in rows_of(start, of=("revise",), prompt="chains_try_again")[0]] == [own, (), ()]
    assert {r.logprobs for r in rows_of(start, of=("revise",))[0]} == {()}, "the original prompt is another one"


def test_groups_are_of_one_step_or_of_the_whole_problem() -> None:
    rows, _ = rows_of(revised(), of=("sample", "revise"))
    assert len({r.group for r in rows}) == 2 and [r.group_rate for r in rows] == [0, 2 / 3, 2 / 3, 2 / 3]
    rows, _ = rows_of(revised(), of=("sample", "revise"), group="problem", advantage="mean")
    assert len({r.group for r in rows}) == 1 and {r.group_rate for r in rows} == {0.5}
    assert [r.advantage for r in rows] == [-0.5, 0.5, -0.5, 0.5]


def test_a_table_of_two_turns_wants_a_first_turn() -> None:
    rows, drops = rows_of(revised(), of=("sample", "revise"), rewards="score_stage_2")
    assert [r.reward for r in rows] == [11, 0, 11] and [d.code for d in drops] == ["no_turn"]


def test_an_estimate_may_be_the_reward() -> None:
    start = group("pass", "fail")
    told = Estimate(target=start.attempts[1].id, stage="game", name="game", value=-0.5, n=1)
    rows, drops = rows_of(start.add(Additions(estimates=(told,))), estimate="game")
    assert [r.reward for r in rows] == [-0.5] and [d.code for d in drops] == ["no_estimate"]


def critiqued() -> Episode:
    wrong, right = attempt(PROBLEM, WRONG), attempt(PROBLEM, RIGHT, 1)
    said = [critique(wrong, 0, "Step 1 is wrong"), critique(wrong, None, "Every step is right", index=1)]
    said += [critique(right, 0, "No"), critique(right, None, "Fine", index=1)]
    said += [critique(right, None, "Hm", index=2, verdict="unknown")]
    outcomes: Any = ["fail", "pass"]
    return episode(PROBLEM, wrong, right, outcomes=outcomes, critiques=said)


def test_critiques_are_rollouts_of_whoever_criticises() -> None:
    start = critiqued()
    rows, drops = rows_of(start, of=("critique",), rewards="critic", prompt="chains_critique")
    assert [d.code for d in drops] == ["no_verdict"]
    assert {r.messages[-1].content: r.reward for r in rows} == {
        "Step 1 is wrong": 1, "Every step is right": -1, "No": -1, "Fine": 1,
    }  # fmt: skip
    for row in rows:
        about = start.attempt(row.lineage[1])
        assert row.messages[1].content == about.text and row.messages[2].content == "Find the first wrong step"
        assert [(s.message, s.role, s.train) for s in row.spans] == [(1, "reasoning", False), (3, "critique", True)]
    assert not rows_of(start, of=("critique",), rewards="critic")[0], "without a prompt nobody sees what is criticised"


def test_privileged_text_stays_out_unless_it_is_asked_for() -> None:
    told = Step(text=f"The answer is {PROBLEM.answer}\n", role="reflection", source="teacher")
    made = attempt(PROBLEM, RIGHT, seen=("reference",))
    start = episode(PROBLEM, replace(made, steps=(told, *made.steps)), outcomes=["pass"])
    assert [d.code for d in rows_of(start)[1]] == ["privileged_text"]
    assert len(rows_of(start, privileged=True)[0]) == 1


def test_a_critique_that_gives_the_answer_away_is_shown_by_no_prompt() -> None:
    first = attempt(PROBLEM, WRONG)
    told = critique(first, 0, f"The correct answer is {PROBLEM.answer}", seen=("reference",))
    second = attempt(PROBLEM, RIGHT, 0, "revise", kind="revised", parent=first.id, critique=told.id)
    outcomes: Any = ["fail", "pass"]
    start = episode(PROBLEM, first, second, outcomes=outcomes, critiques=[told])
    assert [d.code for d in rows_of(start, of=("revise",), prompt="chains_revise")[1]] == ["privileged_text"]
    assert [d.code for d in rows_of(start, of=("critique",), prompt="critique", rewards="critic")[1]] == [
        "privileged_text"
    ]
    assert len(rows_of(start, of=("revise",))[0]) == 1, "the original prompt shows no critique"


def test_what_a_filter_turned_away_is_no_rollout() -> None:
    start = group("pass", "fail")
    rejected = verdict(start.attempts[0], "fail", "filter", "filter")
    rows, drops = rows_of(start.add(Additions(verdicts=(rejected,))))
    assert [r.reward for r in rows] == [0] and [d.code for d in drops] == ["not_accepted"]


@pytest.mark.parametrize("name", ["ufo", "srpo", "refcritic"])
def test_a_term_that_only_a_trainer_can_measure_is_refused(name: str) -> None:
    with pytest.raises(RecipeError, match=f"cannot compute the (repeat|length|share) term of the reward table {name}"):
        rows_of(group("pass"), rewards=name)
