"""A splice shows the student's own mistake, word for word, and trains what mends it."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from errata.records.types import Additions, Attempt, Critique, Episode, Outcome, Step
from errata.stages.base import steps_of
from errata.stages.splice import splice
from tests.stages.support import (
    World,
    attempt,
    chain_of,
    chains,
    codes,
    critique,
    episode,
    problem,
    run,
    slipped,
    user,
    verdict,
)

P = problem(8, operations=5)
GOLD = chains.solve(chain_of(P))
BAD = slipped(P, "arithmetic")
AT = next(i for i, (a, b) in enumerate(zip(BAD, GOLD, strict=True)) if a != b)
FIRST = attempt(P, BAD)
SAID = critique(FIRST, AT, f"Step {AT + 1} is wrong : look again")
SECOND = attempt(P, GOLD, 0, "revise", parent=FIRST.id, critique=SAID.id, kind="revised")


def made(*attempts: Attempt, outcomes: Any = ("fail", "pass"), critiques: Any = (SAID,), **options: Any) -> Additions:
    start = episode(P, *(attempts or (FIRST, SECOND)), outcomes=list(outcomes), critiques=list(critiques))
    return run(splice, start, **options)


def only(found: Additions) -> Attempt:
    assert len(found.attempts) == 1 and not found.drops
    return found.attempts[0]


def trained(a: Attempt) -> list[bool]:
    return [s.train for s in a.steps]


# ---- in one turn


def test_wait_quotes_the_critique_between_the_wrong_step_and_its_correction() -> None:
    a = only(made())
    assert a.steps[: AT + 1] == (*FIRST.steps[:AT], replace(FIRST.steps[AT], role="reasoning", train=False))
    assert a.steps[AT + 1] == Step(text=f"Wait, {SAID.text}\n", role="reflection", source="teacher")
    assert "".join(s.text for s in a.steps[AT + 2 :]) == "".join(s.text for s in SECOND.steps[AT:])
    assert [s.role for s in a.steps[AT + 2 :]] == ["correction"] * (len(GOLD) - AT - 1) + ["answer"]
    assert (a.kind, a.style, a.parent, a.other, a.fork_step, a.critique) == (
        "spliced", "wait", FIRST.id, SECOND.id, AT, SAID.id,
    )  # fmt: skip
    assert a.final_text == a.text and {s.turn for s in a.steps} == {0} and a.complete


def test_marker_needs_no_critique() -> None:
    a = only(made(FIRST, replace(SECOND, critique=None), critiques=[SAID], style="marker", marker="[BACK]"))
    assert a.steps[AT + 1] == Step(text="[BACK]\n", role="marker", source="template")
    assert (a.style, a.critique) == ("marker", None)


@pytest.mark.parametrize(
    ("mask", "prefix", "wrong"), [("wrong_step", True, False), ("attempt", False, False), ("none", True, True)]
)
@pytest.mark.parametrize("style", ["wait", "marker"])
def test_masks_in_one_turn(mask: str, prefix: bool, wrong: bool, style: str) -> None:
    a = only(made(mask=mask, style=style))
    assert trained(a) == [prefix] * AT + [wrong] + [True] * (len(a.steps) - AT - 1)


def test_an_answer_that_is_the_wrong_step_still_stands_on_a_line_of_its_own() -> None:
    bad = [*GOLD[:-1], f"The answer is {(int(str(P.answer)) + 1) % 11}"]
    first = attempt(P, bad)
    said = critique(first, len(bad) - 1, "Step 6 is wrong : look again")
    second = replace(SECOND, parent=first.id, critique=said.id)
    a = only(made(first, second, critiques=[said]))
    assert a.text.split("\n") == [*bad, "Wait, Step 6 is wrong : look again", GOLD[-1]]
    assert a.steps[len(bad) - 1].text == bad[-1] and not a.steps[len(bad) - 1].train
    assert chains.answer(a.final_text) == P.answer


# ---- in turns


def test_two_turns_are_the_whole_attempts_with_the_feedback_between() -> None:
    a = only(made(style="turn", feedback="chains_try_again"))
    turns = ["".join(s.text for s in a.steps if s.turn == t) for t in range(3)]
    assert turns == [FIRST.text, "There may be an error\nSolve it again", SECOND.text]
    assert a.final_text == SECOND.text and a.fork_step is None
    assert [s.role for s in a.steps if s.turn == 1] == ["feedback"]
    assert {s.role for s in a.steps if s.turn == 2} == {"correction", "answer"}


@pytest.mark.parametrize(("mask", "first"), [("wrong_step", False), ("attempt", False), ("none", True)])
def test_masks_in_two_turns(mask: str, first: bool) -> None:
    a = only(made(style="turn", mask=mask))
    assert {t: {s.train for s in a.steps if s.turn == t} for t in range(3)} == {0: {first}, 1: {False}, 2: {True}}


def test_feedback_may_quote_the_critique_that_the_reviser_saw() -> None:
    a = only(made(style="turn", feedback="chains_revise"))
    assert next(s.text for s in a.steps if s.turn == 1) == f"{SAID.text}\nCorrect the solution"
    assert a.critique == SAID.id


# ---- refusals


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"critiques": []}, "not_located"),
        ({"critiques": [replace(SAID, verdict="no_error", first_error=None)]}, "not_located"),
        ({"critiques": [replace(SAID, verdict="unknown", first_error=None)]}, "not_located"),
        ({"locations": ("gold",)}, "not_located"),
        ({"critiques": [replace(SAID, first_error=len(BAD))]}, "no_wrong_step"),
        ({"second": replace(SECOND, steps=steps_of("\n".join(["x", *GOLD]), "lines", "student"))}, "prefix_differs"),
        ({"second": replace(SECOND, steps=FIRST.steps)}, "wrong_step_repeated"),
        ({"second": replace(SECOND, steps=SECOND.steps[:AT])}, "wrong_step_repeated"),
        ({"second": replace(SECOND, critique=None)}, "no_critique"),
        ({"critiques": [replace(SAID, text=" \n")]}, "no_critique"),
    ],
)
def test_what_cannot_be_spliced_is_told_with_its_reason(change: dict[str, Any], reason: str) -> None:
    second = change.pop("second", SECOND)
    found = made(FIRST, second, **change)
    assert not found.attempts and codes(found.drops) == [reason]
    assert found.drops[0].kind == "filtered" and found.drops[0].detail == f"{FIRST.id} with {SECOND.id}"


def test_a_critique_of_another_step_is_not_quoted_at_this_one() -> None:
    gold = critique(FIRST, AT, "", stage="locate", source="gold")
    other = replace(SAID, first_error=0)
    cleared = replace(SAID, verdict="no_error", first_error=None, text="Every step is right")
    for said in (other, cleared):
        found = made(critiques=[gold, said])
        assert not found.attempts and codes(found.drops) == ["critique_elsewhere"]
        assert only(made(critiques=[gold, said], style="marker")).fork_step == AT


def test_locations_are_asked_in_the_order_given() -> None:
    gold = critique(FIRST, AT, "", stage="locate", source="gold", seen=("gold_steps",))
    judge = critique(FIRST, 0, "", stage="judge", source="judge")
    a = only(made(critiques=[gold, judge, SAID], style="marker", locations=("gold", "judge")))
    assert a.fork_step == AT
    found = made(critiques=[gold, judge, SAID], style="marker", locations=("judge", "gold"))
    assert AT > 0 and codes(found.drops) == ["wrong_step_repeated"], "the step that the judge names is right"


@pytest.mark.parametrize("first", ["fail", "pass", "unknown"])
@pytest.mark.parametrize("second", ["fail", "pass", "unknown"])
@pytest.mark.parametrize("style", ["marker", "turn"])
def test_only_known_verdicts_are_spliced(first: Outcome, second: Outcome, style: str) -> None:
    both: Any = {"transitions": ("wrong_to_right", "right_to_right"), "style": style}
    found = made(outcomes=(first, second), **both)
    allowed = second == "pass" and first != "unknown"
    assert bool(found.attempts) == allowed


def test_unverified_attempts_are_not_spliced() -> None:
    assert not made(outcomes=(), style="turn").attempts


# ---- what was seen


def test_everything_that_anybody_saw_is_recorded() -> None:
    gold = critique(FIRST, AT, "", stage="locate", source="gold", seen=("gold_steps",))
    first, second = replace(FIRST, seen=("a",)), replace(SECOND, seen=("b",))
    said = replace(SAID, seen=("reference",))
    assert only(made(first, second, critiques=[gold, said])).seen == ("a", "b", "gold_steps", "reference")
    assert only(made(first, second, critiques=[said], locations=("teacher",))).seen == ("a", "b", "reference")
    assert only(made(first, second, critiques=[said], style="turn")).seen == ("a", "b", "reference")


# ---- pairs


def samples(outcomes: str, same: bool = False) -> Episode:
    """Independent samples of one problem; `r` is right, `w` wrong, `u` unknown."""
    p = user("Which?", answer="yes", verifier="exact")
    tries = [attempt(p, f"{o} yes" if same else f"{o}{i}\nyes", i) for i, o in enumerate(outcomes)]
    names: dict[str, Outcome] = {"r": "pass", "w": "fail", "u": "unknown"}
    verdicts = tuple(verdict(a, names[o], verifier="exact") for a, o in zip(tries, outcomes, strict=True))
    return Episode(problem=p).add(Additions(attempts=tuple(tries), verdicts=verdicts))


def pairs(start: Episode, seed: int = 1, **options: Any) -> list[tuple[str, str]]:
    """First and second attempts, by text."""
    options = {"most": 0, **options}
    found = run(splice, start, World(seed=seed), style="turn", correction="sample", related=False, **options)
    texts = {a.id: a.steps[0].text.strip() for a in start.attempts}
    return [(texts[str(a.parent)], texts[str(a.other)]) for a in found.attempts]


@settings(max_examples=40, deadline=None)
@given(st.text(alphabet="rwu", max_size=8), st.integers(0, 10**6))
def test_unrelated_pairs_go_from_wrong_to_right_each_used_once(outcomes: str, seed: int) -> None:
    found = pairs(samples(outcomes), seed)
    assert all(a[0] == "w" and b[0] == "r" for a, b in found)
    assert len(found) == min(outcomes.count("w"), outcomes.count("r"))
    assert len({a for a, _ in found}) == len({b for _, b in found}) == len(found)
    assert found == pairs(samples(outcomes), seed)


PAIRED: Any = {
    "style": "turn", "correction": "sample", "related": False, "transitions": ("right_to_right",), "most": 0,
}  # fmt: skip


def test_unrelated_pairs_are_drawn_at_random() -> None:
    drawn = {tuple(pairs(samples("wwrrr"), seed)) for seed in range(30)}
    assert len(drawn) == 6, "every right sample comes to stand beside every wrong one"


@settings(max_examples=40, deadline=None)
@given(st.text(alphabet="rwu", max_size=8), st.integers(0, 10**6))
def test_right_to_right_pairs_every_right_attempt_with_another(outcomes: str, seed: int) -> None:
    found = pairs(samples(outcomes), seed, transitions=("right_to_right",))
    rights = outcomes.count("r")
    assert all(a[0] == b[0] == "r" and a != b for a, b in found)
    assert len(found) == (rights if rights > 1 else 0), "none is lost to the draw"


def test_a_right_attempt_stands_beside_other_words_where_there_are_any() -> None:
    alike = samples("rrr", same=True)
    assert len(run(splice, alike, **PAIRED).attempts) == 3 and all(
        a.parent != a.other for a in run(splice, alike, **PAIRED).attempts
    )
    p = alike.problem
    odd = attempt(p, "other\nyes", 9)
    mixed = alike.add(Additions(attempts=(odd,), verdicts=(verdict(odd, "pass", verifier="exact"),)))
    for a in run(splice, mixed, **PAIRED).attempts:
        assert odd.id in (a.parent, a.other)


def test_most_counts_each_transition_by_itself() -> None:
    start = samples("wwwrrrr")
    both: Any = {"transitions": ("wrong_to_right", "right_to_right")}
    kinds = [f"{a[0]}{b[0]}" for a, b in pairs(start, most=2, **both)]
    assert sorted(kinds) == ["rr", "rr", "wr", "wr"]
    assert len(pairs(start, most=0, **both)) == 3 + 4


def test_related_pairs_are_a_first_attempt_and_its_own_revision() -> None:
    stranger = replace(SECOND, id="f" * 32, index=1, parent="0" * 32)
    found = made(FIRST, SECOND, stranger, outcomes=("fail", "pass", "pass"), style="turn", most=0)
    assert [(a.parent, a.other) for a in found.attempts] == [(FIRST.id, SECOND.id)]


# ---- whatever the steps are

texts = st.text("ab .\t\u2028\u00e9\U0001f600", max_size=8)
lines = st.lists(texts.map(lambda t: t.replace("\n", " ") + "\n"), min_size=1, max_size=5)


@settings(max_examples=120, deadline=None)
@given(st.data())
def test_the_prefix_and_the_wrong_step_are_the_students_character_for_character(data: st.DataObject) -> None:
    words = data.draw(lines)
    at = data.draw(st.integers(0, len(words) - 1))
    wrong = data.draw(lines)
    rest = data.draw(lines)
    p = user("What?")
    first = replace(attempt(p, "x"), steps=tuple(Step(text=t) for t in [*words[:at], *wrong]))
    said = critique(first, at, data.draw(texts))
    loose = [f" {t.strip()}\n" for t in words[:at]]  # the revision may differ in outer spaces alone
    second = replace(
        attempt(p, "y", 0, "revise", parent=first.id, critique=said.id),
        steps=tuple(Step(text=t) for t in [*loose, *rest]),
    )
    mask, style = (
        data.draw(st.sampled_from(["wrong_step", "attempt", "none"])),
        data.draw(st.sampled_from(["wait", "marker"])),
    )
    verdicts = (verdict(first, "fail", verifier="exact"), verdict(second, "pass", verifier="exact"))
    start = Episode(problem=p).add(Additions(attempts=(first, second), verdicts=verdicts, critiques=(said,)))
    found = run(splice, start, style=style, mask=mask)
    if not found.attempts:
        assert codes(found.drops)[0] in ("wrong_step_repeated", "no_critique")
        return
    a = found.attempts[0]
    assert [s.text for s in a.steps[: at + 1]] == [*words[:at], wrong[0]]
    assert a.text == "".join(s.text for s in a.steps) and a.text.startswith("".join([*words[:at], wrong[0]]))
    assert "".join(s.text for s in a.steps[at + 2 :]) == "".join(rest)
    assert [s.train for s in a.steps[: at + 1]] == [mask != "attempt"] * at + [mask == "none"]
    assert all(s.train for s in a.steps[at + 1 :]) and a.steps[at + 1].role in ("reflection", "marker")


def test_records_of_two_splices_do_not_clash() -> None:
    start = episode(P, FIRST, SECOND, outcomes=["fail", "pass"], critiques=[SAID])
    for style in ("wait", "marker", "turn"):
        start = start.add(run(splice, start, name=style, style=style))
    assert len([a for a in start.attempts if a.kind == "spliced"]) == 3
    assert isinstance(start.critiques[0], Critique)


# ---- what a corpus can be balanced by


@pytest.mark.parametrize(("kind", "source"), [("sampled", "own"), ("injected", "injected"), ("forked", "forked")])
def test_an_inline_splice_is_labelled_by_its_error(kind: Any, source: str) -> None:
    first = replace(FIRST, kind=kind)
    gold = critique(FIRST, AT, "arithmetic: 2 plus 2 is not 5", "locate", source="gold")
    a = only(made(first, SECOND, critiques=(SAID, gold)))
    tenth = str(10 * AT // len(FIRST.steps))
    assert {t.name: t.value for t in a.tags} == {
        "first_error": tenth, "error_source": source, "error_kind": "arithmetic",
    }  # fmt: skip
    without = {t.name for t in only(made(first, SECOND)).tags}
    assert without == {"first_error", "error_source"}, "a kind is only told by gold steps"
    elsewhere = replace(gold, first_error=AT + 1)
    assert len(only(made(first, SECOND, critiques=(SAID, elsewhere), locations=("teacher",))).tags) == 2


def test_a_splice_in_turns_names_no_place_and_so_no_label() -> None:
    assert only(made(style="turn", feedback="chains_try_again")).tags == ()
