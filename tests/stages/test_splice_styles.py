"""Splices in one turn that verify whole solutions (SPOC), or name each step's action (Satori)."""

from typing import Any

import pytest
from msgspec.structs import replace

from errata.records.types import Additions, Attempt, Critique, Episode, Outcome
from errata.stages.splice import splice
from tests.stages.support import attempt, chain_of, chains, codes, critique, episode, problem, run, slipped

P = problem(8, operations=5)
GOLD = chains.solve(chain_of(P))
BAD = slipped(P, "arithmetic")
AT = next(i for i, (a, b) in enumerate(zip(BAD, GOLD, strict=True)) if a != b)
WRONG = [attempt(P, slipped(P, "arithmetic", i), i) for i in range(3)]
RIGHT = attempt(P, GOLD, 9)
NO, YES = "Is this solution correct? No", "Is this solution correct? Yes"


def says(of: Attempt, first_error: int | None, text: str, **fields: Any) -> Critique:
    return critique(of, first_error, text, "critique", **fields)


SAID = [*(says(w, 1, f"no {w.index}", seen=("reference",)) for w in WRONG), says(RIGHT, None, "fine")]


def verified(*attempts: Attempt, said: Any = SAID, **options: Any) -> Additions:
    tries = attempts or (WRONG[0], RIGHT)
    outcomes: list[Outcome] = ["pass" if a.index == RIGHT.index else "fail" for a in tries]
    start = episode(P, *tries, outcomes=outcomes, critiques=said)
    shape: Any = {"style": "verify", "correction": "sample", "related": False, "verifications": "critique", "most": 0}
    return run(splice, start, **{**shape, **options})


# ---- solutions and verifications in turn


def test_a_wrong_solution_a_no_a_right_one_and_a_yes() -> None:
    found = verified(tags=("constructed", "shape=pair"))
    a = found.attempts[0]
    assert a.text == "\n".join([*(s.text.strip() for s in WRONG[0].steps), "no 0", NO, *GOLD, "fine", YES])
    assert {s.turn for s in a.steps} == {0} and a.text.endswith(YES)
    assert [s.train for s in a.steps] == [False] * len(WRONG[0].steps) + [True] * (1 + len(GOLD) + 1)
    roles = [s.role for s in a.steps]
    assert roles.count("critique") == 2 and roles[-1] == "critique" and roles[len(WRONG[0].steps) + 1] == "correction"
    assert (a.parent, a.other, a.fork_step, a.style) == (WRONG[0].id, RIGHT.id, None, "verify")
    assert a.seen == ("reference",) and {(t.name, t.value) for t in a.tags} == {
        ("constructed", "true"), ("shape", "pair"),
    }  # fmt: skip


def test_the_verdict_is_that_of_the_last_solution_whatever_the_verification_says() -> None:
    said = [SAID[0], says(RIGHT, None, "The answer is 99")]
    found = verified(said=said)
    assert [(v.target, v.outcome) for v in found.verdicts] == [(found.attempts[0].id, "pass")]


def test_a_right_first_trace_is_one_solution_and_a_yes() -> None:
    found = verified(RIGHT, transitions=("right_to_right",))
    a = found.attempts[0]
    assert a.text == "\n".join([*GOLD, "fine", YES]) and all(s.train for s in a.steps)
    assert (a.parent, a.other) == (RIGHT.id, None) and "correction" not in {s.role for s in a.steps}


def test_the_mask_may_be_lifted_and_the_closing_words_chosen() -> None:
    a = verified(mask="none", closing=("Nein", "Ja")).attempts[0]
    assert all(s.train for s in a.steps) and a.text.count("Nein") == 1 and a.text.endswith("Ja")


def test_more_rounds_bring_more_wrong_solutions_each_with_a_no() -> None:
    rights = [replace(RIGHT, id=f"{i:032d}", index=RIGHT.index) for i in range(3)]
    said = [*SAID[:3], *(says(r, None, "fine") for r in rights)]
    for rounds, count in ((1, 3), (2, 1), (3, 1), (4, 0)):
        found = verified(*WRONG, *rights, said=said, rounds=rounds)
        assert [a.text.count(NO) for a in found.attempts] == [rounds] * count
        assert all(a.text.count(YES) == 1 for a in found.attempts)


@pytest.mark.parametrize(
    "said",
    [
        [],
        [SAID[0]],
        [SAID[3]],
        [says(WRONG[0], None, "all fine"), SAID[3]],
        [SAID[0], says(RIGHT, 2, "Step 3 is wrong")],
        [replace(SAID[0], verdict="unknown", first_error=None), SAID[3]],
        [replace(SAID[0], text=" "), SAID[3]],
        [replace(SAID[0], stage="other"), SAID[3]],
    ],
)
def test_a_verification_that_is_missing_or_untrue_is_never_quoted(said: list[Critique]) -> None:
    found = verified(said=said)
    assert not found.attempts and codes(found.drops) == ["no_verification"]


# ---- actions

FIRST = attempt(P, BAD)
WHY = critique(FIRST, AT, "look again")
SECOND = attempt(P, GOLD, 0, "revise", parent=FIRST.id, critique=WHY.id, kind="revised")


def acted(*attempts: Attempt, outcomes: Any = ("fail", "pass"), said: Any = (WHY,), **options: Any) -> Additions:
    start = episode(P, *(attempts or (FIRST, SECOND)), outcomes=list(outcomes), critiques=list(said))
    return run(splice, start, style="actions", **{"verifications": "critique", **options})


def test_each_step_stands_after_the_token_of_its_action() -> None:
    a = acted().attempts[0]
    steps = [f"<|continue|> {line}" for line in BAD[: AT + 1]]
    mended = [f"<|explore|> {GOLD[AT]}", *(f"<|continue|> {line}" for line in GOLD[AT + 1 :])]
    assert a.text.split("\n") == [*steps, "<|reflect|> look again", *mended]
    assert [s.text.strip() for s in a.steps if not s.train] == [BAD[AT]], "the wrong step alone is masked"
    assert {s.text.strip() for s in a.steps if s.role == "marker"} == {"<|continue|>", "<|reflect|>", "<|explore|>"}
    assert (a.fork_step, a.critique, a.style) == (AT, WHY.id, "actions") and chains.answer(a.text) == P.answer


def test_masks_cover_tokens_with_their_steps() -> None:
    a = acted(mask="attempt").attempts[0]
    assert [s.train for s in a.steps[: 2 * AT + 3]] == [False] * (2 * AT + 2) + [True]
    assert all(s.train for s in acted(mask="none").attempts[0].steps)


def test_a_wrong_answer_without_a_line_end_is_followed_by_one() -> None:
    bad = [*GOLD[:-1], "The answer is 99"]
    first = attempt(P, bad)
    why = critique(first, len(GOLD) - 1, "it is not")
    a = acted(first, replace(SECOND, parent=first.id, critique=why.id), said=(why,)).attempts[0]
    assert a.text.endswith(f"The answer is 99\n<|reflect|> it is not\n<|explore|> {GOLD[-1]}")


def test_a_right_solution_reflects_before_its_answer_and_goes_on() -> None:
    fine = critique(RIGHT, None, "Every step is right")
    both: Any = {"transitions": ("right_to_right",), "correction": "sample"}
    found = acted(RIGHT, outcomes=("pass",), said=(fine,), **both)
    a = found.attempts[0]
    before = [f"<|continue|> {line}" for line in GOLD[:-1]]
    assert a.text.split("\n") == [*before, "<|reflect|> Every step is right", f"<|continue|> {GOLD[-1]}"]
    assert all(s.train for s in a.steps) and (a.parent, a.other) == (RIGHT.id, None)
    assert codes(acted(RIGHT, outcomes=("pass",), said=(), **both).drops) == ["no_verification"]


def test_what_cannot_be_cut_is_refused_as_in_the_other_styles() -> None:
    assert codes(acted(said=()).drops) == ["not_located"]
    assert codes(acted(FIRST, replace(SECOND, critique=None)).drops) == ["no_critique"]


# ---- groups


def test_a_splice_tells_its_group_and_the_share_of_it_that_passes() -> None:
    tries = (FIRST, WRONG[1], attempt(P, "lost", 7), RIGHT, SECOND)
    start: Episode = episode(P, *tries, outcomes=["fail", "fail", "unknown", "pass", "pass"], critiques=[WHY])
    told = {t.name: t.value for t in run(splice, start, group="sample", tags=("constructed",)).attempts[0].tags}
    assert {"constructed": "true", "group": f"{P.id}:sample", "group_rate": "0.3333"}.items() <= told.items()
    untold = {t.name for t in run(splice, start).attempts[0].tags}
    assert not untold & {"constructed", "group", "group_rate"}
