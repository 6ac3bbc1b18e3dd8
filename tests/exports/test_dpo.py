"""Preference pairs: the chosen reply passes, the rejected one fails, and both answer the original prompt."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from errata import prompts
from errata.exports.base import ExportContext
from errata.exports.dpo import dpo
from errata.records.rows import DpoRow
from errata.records.types import Additions, Attempt, Drop, Episode, Estimate, Message, Outcome, Step
from errata.stages.pair import pair
from tests.stages.support import attempt, critique, episode, problem, run, user, verdict

P = problem(11)
NAMES: dict[str, Outcome] = {"r": "pass", "w": "fail", "u": "unknown"}


def samples(outcomes: str, cut: str = "") -> Episode:
    """Samples by outcome; those whose numbers are in `cut` met their length limit."""
    tries = [attempt(P, f"The answer is {i}", i, complete=str(i) not in cut) for i in range(len(outcomes))]
    return episode(P, *tries, outcomes=[NAMES[o] for o in outcomes])


def pairs_of(start: Episode, **options: Any) -> tuple[list[DpoRow], list[Drop]]:
    privileged = options.pop("privileged", False)
    made = run(pair, start, **options)
    found = [*dpo(start.add(made), ExportContext("dpo", prompts.load), privileged=privileged), *made.drops]
    return [r for r in found if isinstance(r, DpoRow)], [d for d in found if isinstance(d, Drop)]


@settings(max_examples=80, deadline=None)
@given(st.text(alphabet="rwu", max_size=9), st.sets(st.sampled_from("012345678")), st.integers(0, 4))
def test_outcome_pairs(outcomes: str, cut: set[str], most: int) -> None:
    start = samples(outcomes, "".join(cut))
    rows, drops = pairs_of(start, most=most)
    for row in rows:
        chosen, rejected = (start.attempt(x) for x in row.lineage[:2])
        assert (start.outcome(chosen.id), start.outcome(rejected.id)) == ("pass", "fail")
        assert (row.chosen_outcome, row.rejected_outcome) == ("pass", "fail")
        assert chosen.complete and rejected.complete
        assert row.prompt == P.messages
        assert [m.content for m in row.chosen] == [chosen.text] and [m.content for m in row.rejected] == [rejected.text]
        assert {m.role for m in (*row.chosen, *row.rejected)} == {"assistant"}
        assert (row.rule, row.transition) == ("outcome", "none")
    whole = [o for i, o in enumerate(outcomes) if str(i) not in cut]
    possible = min(whole.count("r"), whole.count("w"))
    assert len(rows) == (min(possible, most) if most else possible)
    assert [d.code for d in drops] == ["enough"] * (possible - len(rows))
    used = [x for row in rows for x in row.lineage[:2]]
    assert len(set(used)) == len(used), "no reply stands in two pairs"
    assert pairs_of(start, most=most) == (rows, drops)


def test_pairs_are_drawn_and_not_taken_in_order() -> None:
    drawn = set()
    for seed in range(12):
        p = replace(P, id=f"{seed:032x}")
        start = replace(samples("rrrwww"), problem=p)
        drawn.add(tuple(pairs_of(start, most=1)[0][0].lineage[:2]))
    assert len(drawn) > 4


FIRST = attempt(P, "amber is 1\nThe answer is 1")
SECOND = attempt(P, "amber is 2\nThe answer is 2", 0, "revise", parent=FIRST.id, kind="revised")
TOLD = Step(text="The answer is 5 I am told\n", role="reflection", source="teacher")


def revised(first: Outcome, second: Outcome, **fields: Any) -> Episode:
    return episode(P, FIRST, replace(SECOND, **fields), outcomes=[first, second])


def revision_pairs(start: Episode, **options: Any) -> tuple[list[DpoRow], list[Drop]]:
    return pairs_of(start, rule="revision", **{"of": ("revise",), "against": ("sample",), **options})


def test_a_revision_that_mends_is_chosen_over_what_it_mended() -> None:
    rows, _ = revision_pairs(revised("fail", "pass"))
    assert [(r.lineage[:2], r.transition, r.rule) for r in rows] == [
        ((SECOND.id, FIRST.id), "wrong_to_right", "revision")
    ]
    assert rows[0].prompt == P.messages, "the original prompt, without first attempt and feedback"
    assert rows[0].chosen[0].content == SECOND.text and rows[0].rejected[0].content == FIRST.text


def test_a_revision_that_breaks_is_rejected() -> None:
    rows, _ = revision_pairs(revised("pass", "fail"))
    assert [(r.lineage[:2], r.transition) for r in rows] == [((FIRST.id, SECOND.id), "right_to_wrong")]
    assert rows[0].chosen[0].content == FIRST.text


@pytest.mark.parametrize("first", NAMES.values())
@pytest.mark.parametrize("second", NAMES.values())
@pytest.mark.parametrize("cut", [False, True])
def test_every_other_change_gives_no_pair(first: Outcome, second: Outcome, cut: bool) -> None:
    rows, drops = revision_pairs(revised(first, second, complete=not cut))
    assert len(rows) == ({first, second} == {"pass", "fail"} and not cut) and not drops


def test_a_revision_that_a_filter_rejects_is_not_chosen() -> None:
    start = revised("fail", "pass").add(Additions(verdicts=(verdict(SECOND, "fail", "filter", "filter"),)))
    assert revision_pairs(start) == ([], [])


def test_revisions_of_other_steps_are_taken_where_they_are_named() -> None:
    start = revised("fail", "pass", stage="again")
    assert len(revision_pairs(start, of=("again",))[0]) == 1
    assert len(revision_pairs(start, of=("again",), against=())[0]) == 1, "whatever they revise"
    assert not revision_pairs(start)[0]
    assert not revision_pairs(start, of=("again",), against=("other",))[0]


def test_most_holds_for_each_pair_stage() -> None:
    again = replace(SECOND, id="f" * 32, index=1)
    start = episode(P, FIRST, SECOND, again, outcomes=["fail", "pass", "pass"])
    rows, drops = revision_pairs(start, most=1)
    assert [r.rule for r in rows] == ["revision"] and [d.code for d in drops] == ["enough"]


def test_continuations_of_the_same_steps_stand_on_them() -> None:
    wrong = attempt(P, "a is 1\nb is 2\nThe answer is 2")
    right = attempt(P, "a is 1\nb is 3\nThe answer is 3", 0, "revise", parent=wrong.id, kind="revised")
    elsewhere = attempt(P, "c is 1\nThe answer is 3", 1, "revise", parent=wrong.id, kind="revised")
    start = episode(P, wrong, right, elsewhere, outcomes=["fail", "pass", "pass"])
    rows, _ = pairs_of(start, rule="first_error", of=("revise",), against=("sample",), most=0)
    assert [r.lineage[:2] for r in rows] == [(right.id, wrong.id)], "no step is shared with the other"
    (row,) = rows
    assert row.prompt == (*P.messages, Message(role="assistant", content="a is 1\n"))
    assert (row.chosen[0].content, row.rejected[0].content) == ("b is 3\nThe answer is 3", "b is 2\nThe answer is 2")


def scores(start: Episode, *values: tuple[str, float]) -> Episode:
    made = [Estimate(target=t, stage="s", name="score", value=v, n=1) for t, v in values]
    return start.add(Additions(estimates=tuple(made)))


def test_scores_pair_the_best_with_the_worst_at_least_a_margin_apart() -> None:
    start = samples("rrww")
    ids = [a.id for a in start.attempts]
    scored = scores(start, *zip(ids, (0.9, 0.2, 0.5, 0.4), strict=True))
    rows, _ = pairs_of(scored, rule="score", estimate="score", most=0)
    assert [r.lineage[:2] for r in rows] == [(ids[0], ids[1]), (ids[2], ids[3])]
    assert [round({m.name: m.value for m in r.metrics}["margin"], 6) for r in rows] == [0.7, 0.1]
    assert len(pairs_of(scored, rule="score", estimate="score", most=0, margin=0.3)[0]) == 1
    assert pairs_of(start, rule="score", estimate="score") == ([], [])


def test_critiques_pair_by_their_effect_on_a_prompt_that_shows_the_attempt() -> None:
    wrong = attempt(P, "a is 1\nThe answer is 2")
    says = [critique(wrong, k, f"Step {k + 1} is wrong : no", index=k) for k in (0, 1)]
    start = scores(episode(P, wrong, outcomes=["fail"], critiques=says), (says[0].id, 0.75), (says[1].id, 0.25))
    made = start.add(run(pair, start, rule="effect", of=("critique",), estimate="score"))
    (refused,) = dpo(made, ExportContext("dpo", prompts.load))
    assert isinstance(refused, Drop) and refused.code == "no_prompt"
    (row,) = dpo(made, ExportContext("dpo", prompts.load), prompt="chains_critique")
    assert isinstance(row, DpoRow)
    assert (row.chosen[0].content, row.rejected[0].content) == (says[0].text, says[1].text)
    assert [m.content for m in row.prompt[1:]] == [wrong.text, "Find the first wrong step"]


@pytest.mark.parametrize("leaking", [0, 1])
def test_a_critique_that_gives_away_what_its_maker_saw_is_in_no_preference(leaking: int) -> None:
    wrong = attempt(P, "a is 1\nThe answer is 2")
    texts = ["Step 1 is wrong : no", "Step 2 is wrong : no"]
    texts[leaking] += f", the answer is {P.answer}"
    says = [critique(wrong, k, texts[k], index=k, seen=("reference",)) for k in (0, 1)]
    start = scores(episode(P, wrong, outcomes=["fail"], critiques=says), (says[0].id, 0.75), (says[1].id, 0.25))
    made = start.add(run(pair, start, rule="effect", of=("critique",), estimate="score"))
    (refused,) = dpo(made, ExportContext("dpo", prompts.load), prompt="chains_critique")
    assert isinstance(refused, Drop) and refused.code == "privileged_text"
    (row,) = dpo(made, ExportContext("dpo", prompts.load), prompt="chains_critique", privileged=True)
    assert isinstance(row, DpoRow) and row.seen == ("reference",)


def told(of: Attempt, text: str) -> Attempt:
    return replace(of, steps=(replace(TOLD, text=text), *of.steps), seen=("reference",))


def test_privileged_words_in_either_reply_are_refused_unless_the_recipe_says_so() -> None:
    words = f"The answer is {P.answer}, I am told\n"
    for start in (
        episode(P, FIRST, told(SECOND, words), outcomes=["fail", "pass"]),
        episode(P, told(FIRST, words), SECOND, outcomes=["fail", "pass"]),
    ):
        rows, drops = revision_pairs(start)
        assert not rows and [d.code for d in drops] == ["privileged_text"]
        rows, _ = revision_pairs(start, privileged=True)
        assert [r.seen for r in rows] == [("reference",)]


def test_a_spliced_reply_in_turns_gives_its_last_turn() -> None:
    turns = replace(SECOND, steps=(*FIRST.steps, *(replace(s, turn=2) for s in SECOND.steps)), stage="splice")
    rows, _ = revision_pairs(episode(P, FIRST, turns, outcomes=["fail", "pass"]), of=("splice",))
    assert rows[0].chosen[0].content == SECOND.text


def test_metrics_tell_the_shared_prefix_and_the_gap() -> None:
    p = user("What?")
    a, b = attempt(p, "same then yes"), attempt(p, "same then no", 1)
    verdicts = (verdict(a, "pass", verifier="exact"), verdict(b, "fail", verifier="exact"))
    start = Episode(problem=p).add(Additions(attempts=(a, b), verdicts=verdicts))
    rows, _ = pairs_of(start)
    assert {m.name: m.value for m in rows[0].metrics} == {"shared_prefix": 10.0, "length_gap": 1.0}


# ---- episodes of a world


def trajectory(*turns: str, index: int = 0, **fields: Any) -> Attempt:
    """An episode by turns: the agent's `thought|action`, then the world's answer."""
    steps: list[Step] = []
    for i, text in enumerate(turns):
        if i % 2:
            steps.append(Step(text=text, role="observation", source="environment", train=False, turn=i))
            continue
        thought, mark, action = text.rpartition("|")
        steps += [Step(text=thought + "\n", turn=i)] if mark else []
        steps.append(Step(text=action, role="action", turn=i))
    return attempt(P, "x", index, steps=tuple(steps), **fields)


def between(right: Attempt, wrong: Attempt, rule: str = "first_error") -> tuple[Episode, list[DpoRow]]:
    stem = trajectory("look", "a hall", index=9, stage="stem", complete=False)
    tries = [replace(a, parent=stem.id) for a in (wrong, right)]
    start = episode(P, stem, *tries, outcomes=["unknown", "fail", "pass"])
    return start, pairs_of(start, rule=rule, of=("sample",), most=0)[0]


def contents(messages: tuple[Message, ...]) -> list[str]:
    return [m.content for m in messages]


def test_episodes_part_at_the_turn_in_which_they_first_differ() -> None:
    right = trajectory("look", "a hall", "think|go east", "a yard", "take key", "done")
    wrong = trajectory("look", "a hall", "think|go west", "a wall", index=1)
    _, (row,) = between(right, wrong)
    assert row.prompt == (
        *P.messages,
        Message(role="assistant", content="look"),
        Message(role="user", content="a hall"),
    )
    assert contents(row.chosen) == ["think\ngo east", "a yard", "take key"], "the same thought is said in the turn"
    assert contents(row.rejected) == ["think\ngo west"], "and nobody replies to the last answer"
    assert [m.role for m in row.chosen] == ["assistant", "user", "assistant"]


def test_an_episode_that_only_ends_earlier_leaves_each_side_a_turn_of_the_agents() -> None:
    right = trajectory("look", "a hall", "go east", "a yard", "take key", "done")
    _, (row,) = between(right, trajectory("look", "a hall", "go east", "a yard", index=1))
    assert contents(row.prompt[1:]) == ["look", "a hall"]
    assert (contents(row.chosen), contents(row.rejected)) == (["go east", "a yard", "take key"], ["go east"])


def test_episodes_whose_steps_are_the_same_in_other_turns_part_before_these() -> None:
    right = trajectory("look", "a hall", "wait", "", "go east", "a yard", "take key", "done")
    steps = (
        *right.steps[:3],
        *(replace(s, turn=2) for s in right.steps[3:5]),
        *trajectory("", "a wall", "stop").steps[1:],
    )
    rest = [replace(s, turn=s.turn + 2) for s in steps[5:]]
    wrong = attempt(P, "x", 1, steps=(*steps[:5], *rest))
    _, (row,) = between(right, wrong)
    assert contents(row.prompt[1:]) == ["look", "a hall"]
    assert contents(row.chosen)[0] == "wait" and contents(row.rejected) == ["waitgo east", "a wall", "stop"]


def test_episodes_never_part_at_what_the_world_answers() -> None:
    right = trajectory("look", "a hall", "take key", "done")
    _, (row,) = between(right, trajectory("look", "a wall", "take key", "nothing", index=1))
    assert row.prompt == P.messages and contents(row.chosen) == ["look", "a hall", "take key"]


def test_whole_episodes_are_set_against_each_other_after_the_task_alone() -> None:
    right, wrong = trajectory("look", "a hall", "take key", "done"), trajectory("look", "a hall", "stop", index=1)
    _, (row,) = between(right, wrong, rule="outcome")
    assert row.prompt == P.messages
    assert (contents(row.chosen), contents(row.rejected)) == (
        ["look", "a hall", "take key"],
        ["look", "a hall", "stop"],
    )


def test_the_same_replies_are_taken_once_where_rows_are_to_be_distinct() -> None:
    right = [trajectory("take key", "done", index=i) for i in (0, 1)]
    wrong = [trajectory("look", "a hall", index=i) for i in (2, 3)]
    start = episode(P, *right, *wrong, outcomes=["pass", "pass", "fail", "fail"])
    paired = start.add(run(pair, start, rule="outcome", most=0))
    ctx = ExportContext("dpo", prompts.load)
    assert all(isinstance(x, DpoRow) for x in dpo(paired, ctx)) and len(list(dpo(paired, ctx))) == 2
    once = list(dpo(paired, ctx, distinct=True))
    assert [x.code if isinstance(x, Drop) else "row" for x in once] == ["row", "same_text"]


def test_a_pair_whose_prompt_shows_a_note_that_nobody_wrote_is_refused() -> None:
    start, _ = between(trajectory("take key", "done"), trajectory("look", "a hall", index=1), rule="outcome")
    paired = start.add(run(pair, start, rule="outcome"))
    (found,) = dpo(paired, ExportContext("dpo", prompts.load), prompt="feedback_vector")
    assert isinstance(found, Drop) and found.code == "no_note" and "has no checks" in found.detail
