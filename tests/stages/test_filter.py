"""Each rule of the filter: a failing verdict and a drop with the rule's name; records stay."""

from typing import Any

import pytest
from msgspec.structs import replace

from errata.records.types import Additions, Attempt, Critique, Episode, Estimate, Outcome, Step
from errata.stages.filter import filter_
from tests.stages.support import attempt, codes, critique, episode, problem, run, verdict

P = problem(9)
FIRST = attempt(P, "amber is 1\nThe answer is 1")
RIGHT = attempt(P, "The answer is 2", 1)
WARY = Step(text="Wait, Step 1 is wrong\n", role="reflection", source="teacher")
SPLICE = replace(
    attempt(P, "x", 0, "splice", parent=FIRST.id, other=RIGHT.id, kind="spliced", fork_step=0, seen=("reference",)),
    steps=(Step(text="amber is 1\n", train=False), WARY, Step(text="The answer is 2", role="answer")),
)


def start(*splices: Attempt, outcome: Outcome = "pass", critiques: tuple[Critique, ...] = ()) -> Episode:
    return episode(P, FIRST, RIGHT, *splices, outcomes=["fail", "pass", *[outcome] * len(splices)], critiques=critiques)


def judged(found: Additions) -> tuple[Outcome, list[str]]:
    """The filter's verdict on the splice, and the codes of its drops."""
    assert [v.verifier for v in found.verdicts] == ["filter"]
    drops = [d for d in found.drops if d.target == SPLICE.id]
    assert all(d.kind == "filtered" and d.stage == "filter" for d in found.drops)
    return found.verdicts[0].outcome, codes(drops)


def test_a_splice_that_keeps_every_rule_passes() -> None:
    found = run(filter_, start(SPLICE))
    assert judged(found) == ("pass", []) and not found.drops
    assert [(c.name, c.outcome) for c in found.verdicts[0].checks] == [
        ("correction_passes", "pass"),
        ("no_leak", "pass"),
    ]
    assert not found.attempts and not found.critiques


@pytest.mark.parametrize("outcome", ["fail", "unknown"])
def test_a_correction_must_be_proven(outcome: Outcome) -> None:
    found = run(filter_, start(SPLICE, outcome=outcome), need=())
    assert judged(found) == ("fail", ["correction_passes"])
    assert found.drops[0].detail == f"the verdict is {outcome}"


def leaking(role: Any = "reflection", **fields: Any) -> Attempt:
    step = Step(text=f"Wait, the answer is {P.answer}\n", role=role, source="teacher")
    return replace(SPLICE, steps=(SPLICE.steps[0], step, SPLICE.steps[2]), **fields)


@pytest.mark.parametrize("role", ["reflection", "feedback", "critique"])
def test_a_reflection_must_not_give_the_answer_away(role: str) -> None:
    assert judged(run(filter_, start(leaking(role)))) == ("fail", ["no_leak"])
    assert judged(run(filter_, start(leaking(role)), leaks=False)) == ("pass", [])


def test_the_answer_of_the_solution_itself_is_no_leak_and_neither_is_a_guess() -> None:
    assert judged(run(filter_, start(leaking("answer")))) == ("pass", [])
    assert judged(run(filter_, start(leaking(seen=())))) == ("pass", []), "nobody had seen anything"


def said(source: Any, step: int | None, verdict: Any = "error", index: int = 0) -> Critique:
    made = critique(FIRST, 0, "", stage=f"by_{source}", source=source, index=index)
    return replace(made, first_error=step, verdict=verdict)


@pytest.mark.parametrize(
    ("critiques", "same"),
    [
        ([said("gold", 0), said("teacher", 0)], True),
        ([said("gold", 0), said("teacher", 0), said("judge", 1)], True),  # not asked
        ([said("gold", 0), said("teacher", 1)], False),
        ([said("gold", 1), said("teacher", 1)], False),  # of one mind, and not about this splice
        ([said("gold", 0)], False),
        ([], False),
        ([said("gold", None, "no_error"), said("teacher", None, "no_error")], False),
        ([said("gold", None, "unknown"), said("teacher", None, "unknown")], False),
        ([said("gold", 0), said("teacher", None, "unknown")], False),
        ([said("gold", 0), said("teacher", 0), said("teacher", 1, index=1)], False),  # at odds with itself
        ([said("gold", 0), said("teacher", 1), said("teacher", 0, index=1)], False),
    ],
)
def test_locators_agree_if_all_of_them_name_the_step_that_was_spliced(critiques: list[Critique], same: bool) -> None:
    found = run(filter_, start(SPLICE, critiques=tuple(critiques)), agree=("gold", "teacher"))
    assert judged(found) == (("pass", []) if same else ("fail", ["locators_agree"]))


def test_a_two_turn_splice_has_no_step_to_agree_on_but_its_locators_must() -> None:
    turn = replace(SPLICE, fork_step=None, style="turn")
    cleared = (said("gold", None, "no_error"), said("teacher", None, "no_error"))
    found = run(filter_, start(turn, critiques=cleared), agree=("gold", "teacher"))
    assert found.verdicts[0].outcome == "fail", "to find no error in what failed is no place"
    for place, outcome in ((1, "pass"), (0, "fail")):
        found = run(
            filter_, start(turn, critiques=(said("gold", 1), said("teacher", place))), agree=("gold", "teacher")
        )
        assert found.verdicts[0].outcome == outcome


def test_the_first_broken_rule_names_the_drop_and_all_are_in_the_verdict() -> None:
    found = run(filter_, start(leaking(), outcome="fail"), agree=("gold",))
    assert judged(found) == ("fail", ["correction_passes"])
    assert found.verdicts[0].evidence == "correction_passes; no_leak; locators_agree"


def samples(outcomes: str) -> Episode:
    names: dict[str, Outcome] = {"r": "pass", "w": "fail", "u": "unknown"}
    tries = [attempt(P, f"The answer is {i}", i) for i in range(len(outcomes))]
    return episode(P, *tries, outcomes=[names[o] for o in outcomes])


@pytest.mark.parametrize(
    ("outcomes", "band", "inside"),
    [
        ("rrww", (0.5, 0.5), True),
        ("rrww", (0.0, 0.5), True),
        ("rrww", (0.5, 1.0), True),
        ("rrww", (0.51, 1.0), False),
        ("rrww", (0.0, 0.49), False),
        ("rrrr", (0.0, 0.99), False),
        ("rrrr", (1.0, 1.0), True),
        ("wwww", (0.01, 1.0), False),
        ("wwww", (0.0, 1.0), True),
        ("rwuu", (0.5, 0.5), True),  # unknown is no failure
        ("uuuu", (0.5, 0.5), True),  # and no rate
    ],
)
def test_the_bands_edges_belong_to_it(outcomes: str, band: tuple[float, float], inside: bool) -> None:
    found = run(filter_, samples(outcomes), band=band, need=())
    assert [(d.code, d.target) for d in found.drops] == ([] if inside else [("outside_band", P.id)])


@pytest.mark.parametrize(
    ("outcomes", "need", "code"),
    [
        ("rw", ("splice", "pair"), None),
        ("rw", ("pair",), None),
        ("rw", ("splice",), "nothing_to_teach"),
        ("rr", ("splice", "pair"), "all_right"),
        ("rr", ("splice",), "all_right"),
        ("ru", ("pair",), "all_right"),
        ("wu", ("pair",), "nothing_to_teach"),
        ("ww", ("splice", "pair"), "nothing_to_teach"),
        ("uu", ("splice", "pair"), "nothing_to_teach"),
        ("", ("pair",), "nothing_to_teach"),
        ("ww", (), None),
    ],
)
def test_an_episode_must_have_what_is_needed(outcomes: str, need: Any, code: str | None) -> None:
    found = run(filter_, samples(outcomes), need=need)
    assert [(d.code, d.target) for d in found.drops] == ([(code, P.id)] if code else [])


def test_one_kept_splice_is_enough_and_a_rejected_one_is_not() -> None:
    other = replace(leaking(), id="e" * 32, index=1)
    assert codes(run(filter_, start(SPLICE, other), need=("splice",)).drops) == ["no_leak"]
    assert codes(run(filter_, start(leaking()), need=("splice",)).drops) == ["no_leak", "nothing_to_teach"]


def test_samples_and_splices_of_other_steps_are_not_looked_at() -> None:
    elsewhere = start(replace(SPLICE, stage="other"))
    assert not run(filter_, elsewhere).verdicts
    assert len(run(filter_, elsewhere, of="other").verdicts) == 1
    begun = start().add(Additions(verdicts=(verdict(RIGHT, "fail", "x", "label"),)))
    assert codes(run(filter_, begun, samples="other", need=("pair",)).drops) == ["nothing_to_teach"]


# ---- rules for other attempts than splices


def test_a_locator_that_says_nothing_may_abstain() -> None:
    silent = (said("gold", None, "unknown"), said("teacher", 0))
    assert judged(run(filter_, start(SPLICE, critiques=silent), agree=("gold", "teacher"))) == (
        "fail",
        ["locators_agree"],
    )
    found = run(filter_, start(SPLICE, critiques=silent), agree=("gold", "teacher"), abstain=True)
    assert judged(found) == ("pass", [])
    for critiques in ((said("gold", None, "no_error"), said("teacher", 0)), (said("teacher", 0),), silent[:1], ()):
        found = run(filter_, start(SPLICE, critiques=critiques), agree=("gold", "teacher"), abstain=True)
        assert judged(found) == ("fail", ["locators_agree"]), "a clear, a silence without a word and nobody at all"


def test_other_verifiers_may_have_to_pass_too() -> None:
    form = Additions(verdicts=(verdict(SPLICE, "pass", "form", "thought_template"),))
    assert judged(run(filter_, start(SPLICE).add(form), also=("thought_template",))) == ("pass", [])
    assert judged(run(filter_, start(SPLICE), also=("thought_template",))) == ("fail", ["thought_template_passes"])


@pytest.mark.parametrize(
    ("verdicts", "fine"), [((), False), (("no_error",), True), (("no_error", "error"), False), (("unknown",), False)]
)
def test_a_judge_of_the_recipes_may_stand_in_for_the_verifier(verdicts: tuple[Any, ...], fine: bool) -> None:
    critiques = tuple(replace(critique(SPLICE, None, stage="self", index=i), verdict=v) for i, v in enumerate(verdicts))
    found = run(filter_, start(SPLICE, outcome="fail", critiques=critiques), outcome="any", judge="self", need=())
    assert judged(found) == (("pass", []) if fine else ("fail", ["judged_right"]))


def test_words_that_betray_that_the_answer_was_known() -> None:
    told = replace(SPLICE, steps=(*SPLICE.steps[:2], Step(text="As\n Given, the answer is 2", role="answer")))
    assert judged(run(filter_, start(told), betrays=("the key says", "as given"))) == ("fail", ["betrays_nothing"])
    assert judged(run(filter_, start(SPLICE), betrays=("as given",))) == ("pass", [])


def test_estimates_may_have_to_reach_a_value_or_the_mean_of_others() -> None:
    def measured(value: float | None, *others: float) -> Episode:
        targets = [(SPLICE, value), *zip((FIRST, RIGHT), others, strict=False)]
        made = [Estimate(target=a.id, stage="score", name="logprob", value=v, n=1) for a, v in targets if v is not None]
        return start(SPLICE).add(Additions(estimates=tuple(made)))

    def kept(found: Episode, least: float, against: str = "") -> bool:
        outcome, drops = judged(run(filter_, found, least={"logprob": least}, against=against))
        assert drops == ([] if outcome == "pass" else ["logprob_reached"])
        return outcome == "pass"

    assert kept(measured(-0.5), -0.5) and not kept(measured(-0.51), -0.5)
    assert not kept(measured(None), -9.0), "what was not measured does not reach it"
    assert kept(measured(-1.0, -0.5, -1.1), -0.2, "sample") and not kept(measured(-1.01, -0.5, -1.1), -0.2, "sample")
    assert not kept(measured(-0.1), -9.0, "sample"), "there is nothing to measure against"


def test_an_empty_of_judges_no_attempt_and_the_episode_alone() -> None:
    found = run(filter_, start(SPLICE), of="", band=(0.0, 0.0), need=())
    assert not found.verdicts and [(d.target, d.code) for d in found.drops] == [(P.id, "outside_band")]
    assert run(filter_, start(SPLICE), of="", band=(0.4, 0.6), need=()) == Additions()
