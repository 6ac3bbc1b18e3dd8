"""The teacher on line: what it is shown, what it corrects, what is kept from the loss, and what is not kept at all."""

import json
from typing import Any

import pytest

from errata.engines.base import Request
from errata.engines.expert import Expert
from errata.records.types import Additions, Attempt, Episode, Problem
from errata.stages.act import act
from errata.stages.teach import teach
from tests.stages.acting import by_turn, conversation, replayed, scripted, task
from tests.stages.support import Says, World, codes, cut, run

HOUSE = task()
GOLD = HOUSE.solution
RIGHT = {"verdict": "right", "reflection": "", "thought": "", "action": ""}


def wrong(action: str, reflection: str = "Wait, that did not help.", thought: str = "") -> str:
    return json.dumps({"verdict": "wrong", "reflection": reflection, "thought": thought, "action": action})


def flags(answers: dict[str, str]) -> Says:
    """A teacher that answers by the last numbered action, and finds all others right."""

    def answer(request: Request) -> str:
        last = [line for line in request.messages[-1].content.split("\n") if line.startswith("[")][-1]
        return answers.get(last.partition("] ")[2], json.dumps(RIGHT))

    return Says(answer)


def taught(student: Any, teacher: Any, problem: Problem = HOUSE, **options: Any) -> Additions:
    return run(teach, Episode(problem=problem), World({"student": student, "teacher": teacher}), **options)


def only(made: Additions) -> Attempt:
    assert len(made.attempts) == 1
    return made.attempts[0]


def counted(made: Additions) -> dict[str, float]:
    return {e.name: e.value for e in made.estimates if e.value}


def kept(made: Additions) -> bool:
    return Episode(problem=HOUSE).add(made).accepts(only(made))


def by_way(*first: str, skip: int = 0) -> Says:
    """An agent that does these things first, each followed by a correction, and then the gold steps from `skip` on."""
    return by_turn(lambda turn: (*(x for f in first for x in (f, "-")), *GOLD[skip:])[turn])


def test_an_error_is_played_reflected_on_and_corrected_and_the_agent_goes_on() -> None:
    made = taught(by_way("Thought: hm.\nAction: go to garage", skip=0), Expert(), thoughts=False)
    attempt = only(made)
    first = [(s.role, s.source, s.train, s.turn) for s in attempt.steps[:6]]
    assert first == [
        ("reasoning", "student", False, 0), ("action", "student", False, 0), ("observation", "environment", False, 1),
        ("reflection", "teacher", True, 2), ("correction", "teacher", True, 2),
        ("observation", "environment", False, 3),
    ]  # fmt: skip
    assert (
        attempt.steps[3].text == "I see now that my last action was an error.\n"
        and attempt.steps[4].text == "go to study"
    )
    rest = [s for s in attempt.steps[6:] if s.turn % 2 == 0]
    assert [s.text for s in rest] == list(GOLD) and all(s.train and s.role == "action" for s in rest)
    assert (attempt.kind, attempt.style, attempt.fork_step) == ("revised", "reflection", 1)
    assert replayed(HOUSE, conversation(HOUSE, attempt.steps)) == ([], 1.0)
    assert kept(made) and made.drops == () and "gold_steps" in attempt.seen
    assert counted(made) == {"judged": len(GOLD), "flagged": 1, "corrections": 1}


def test_an_agent_without_errors_is_left_alone() -> None:
    made = taught(scripted(*GOLD), Expert())
    attempt = only(made)
    assert kept(made) and (attempt.kind, attempt.style, attempt.fork_step) == ("sampled", "", None)
    assert all(s.train == (s.turn % 2 == 0) for s in attempt.steps)
    assert [t.value for t in attempt.tags if t.name == "corrections"] == ["0"]


def test_every_step_but_the_last_is_judged_with_the_gold_trajectory_and_the_history_beside_it() -> None:
    teacher = flags({})
    taught(scripted(*(f"Thought: now {i}.\nAction: {a}" for i, a in enumerate(GOLD))), teacher)
    assert len(teacher.asked) == len(GOLD) - 1
    for i, request in enumerate(teacher.asked):
        text = request.messages[-1].content
        assert HOUSE.text in text and request.schema
        assert all(f"- {a} -> " in text for a in GOLD), "the way to the goal, with the world's answers"
        assert f"[{i + 1}] {GOLD[i]}\n" in text and f"[{i + 2}]" not in text
        assert text.count("it thinks: Thought: now") == text.count("    the world answers:") == i + 1


def test_before_the_observation_is_not_shown_and_a_window_shortens_what_is_older() -> None:
    teacher = flags({})
    taught(scripted(*GOLD), teacher, judge_timing="before", teacher_window=2, see=())
    text = teacher.asked[4].messages[-1].content
    assert text.count("the world answers:") == 1 and f"[5] {GOLD[4]}\n" in text and "For your eyes" not in text
    assert [f"[{i + 1}] {a}" in text for i, a in enumerate(GOLD[:5])] == [True] * 5, "older actions stay"


def test_a_flag_on_progress_is_a_false_alarm_unless_nobody_can_tell() -> None:
    teacher = {GOLD[0]: wrong("look")}
    made = taught(scripted(*GOLD), flags(teacher))
    assert kept(made) and counted(made)["false_alarms"] == 1 and "corrections" not in counted(made)
    obeyed = taught(by_turn(lambda t: (GOLD[0], "-", *GOLD[1:])[t]), flags(teacher), oracle=False)
    assert counted(obeyed)["corrections"] == 1 and not only(obeyed).steps[0].train and kept(obeyed)


def test_an_error_that_the_teacher_misses_is_masked_or_trained_on() -> None:
    made = taught(scripted("look", *GOLD), flags({}))
    assert counted(made)["missed"] == 1 and kept(made)
    assert [s.train for s in only(made).steps if s.role == "action"] == [False] + [True] * len(GOLD)
    trained = taught(scripted("look", *GOLD), flags({}), missed="train")
    assert all(s.train for s in only(trained).steps if s.role == "action")


def test_what_cannot_be_undone_ends_the_episode() -> None:
    made = taught(scripted(*GOLD[:5], "drop white mug"), Expert())
    assert codes(made.drops) == ["irreversible"] and made.drops[0].detail == "drop white mug" and not kept(made)


def test_after_the_last_correction_the_next_error_ends_the_episode() -> None:
    made = taught(by_turn(lambda t: "look"), Expert(), most=2)
    assert codes(made.drops) == ["too_many_errors"] and counted(made)["corrections"] == 2 and not kept(made)


@pytest.mark.parametrize("action", ["go to garage", "look", "fly", ""])
def test_a_correction_that_leads_nowhere_is_not_learnt_from(action: str) -> None:
    made = taught(by_way("look"), flags({"look": wrong(action)}))
    assert codes(made.drops) == ["wrong_correction"] and not kept(made)


@pytest.mark.parametrize(
    ("reflection", "thought", "code"),
    [
        ("Wait, the white mug is on the bench.", "", "ungrounded"),
        ("Wait, that did not help.", "The iron key must be somewhere.", "ungrounded"),
        ("Wait, I should take white mug from bench.", "", "ungrounded"),
        (f"Wait, later I will {GOLD[6]}.", "", "leak"),
    ],
)
def test_what_the_teacher_alone_knows_is_not_learnt_from(reflection: str, thought: str, code: str) -> None:
    made = taught(by_way("look"), flags({"look": wrong(GOLD[0], reflection, thought)}))
    assert codes(made.drops) == [code] and not kept(made)


def test_a_reflection_does_not_say_the_correction_word_for_word() -> None:
    """The correction follows it; said beforehand it is what the gold steps say, and no export would take the row."""
    said = f"Wait, I should {GOLD[1]}."
    made = taught(by_turn(lambda t: (GOLD[0], "look")[t % 2]), flags({"look": wrong(GOLD[1], said)}))
    assert codes(made.drops) == ["leak"]


def test_what_has_been_seen_may_be_spoken_of() -> None:
    said = "Wait, the study has a chest, and I have not opened it."
    made = taught(by_way("look", skip=1), flags({"look": wrong(GOLD[0], said, "The black plate is of no use.")}))
    assert kept(made) and only(made).steps[2].text == f"{said}\n"
    assert only(made).steps[3].text == f"Thought: The black plate is of no use.\nAction: {GOLD[0]}"


def test_an_end_that_is_too_early_is_taken_back() -> None:
    made = taught(by_way("stop", skip=1), Expert(), thoughts=False)
    attempt = only(made)
    assert [s.text for s in attempt.steps[:4]] == [
        "stop", "not understood.", "I see now that the goal is not reached.\n", GOLD[0],
    ]  # fmt: skip
    assert kept(made) and replayed(HOUSE, conversation(HOUSE, attempt.steps)) == ([], 1.0)


def test_an_end_that_the_teacher_lets_pass_is_no_success() -> None:
    made = taught(scripted(GOLD[0], "stop"), flags({}))
    assert codes(made.drops) == ["not_solved"] and not kept(made)


def test_a_teacher_that_cannot_be_read_corrects_nothing() -> None:
    made = taught(scripted(*GOLD), Says(lambda r: "It looks fine to me"))
    assert counted(made) == {"judged": len(GOLD) - 1, "unread": len(GOLD) - 1} and kept(made)


def test_a_turn_that_was_cut_is_no_error() -> None:
    made = taught(Says(lambda r: cut("Thought: I wonder")), Expert())
    assert codes(made.drops) == ["incomplete"] and made.verdicts[0].outcome == "unknown"


def test_the_step_limit_counts_the_teachers_actions_too() -> None:
    made = taught(by_turn(lambda t: "look"), Expert(), limit=5, most=0)
    assert codes(made.drops) == ["not_solved"] and len([s for s in only(made).steps if s.turn % 2]) == 6


def test_shares_divide_the_problems_between_the_expert_and_the_teacher() -> None:
    expert, both = Expert(), []
    for seed in range(12):
        start, world = Episode(problem=task(seed=seed)), World({"student": scripted("stop"), "teacher": expert})
        shown = run(act, start, world, role="teacher", source="teacher", share=(0.0, 0.5)).attempts
        both.append((len(shown), len(run(teach, start, world, share=(0.5, 1.0), limit=1).attempts)))
    assert set(both) == {(1, 0), (0, 1)}
