"""What gives an answer away is turned away or masked, by rule and by an engine that sees nothing else."""

from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from errata import chains
from errata.engines.base import Request
from errata.engines.oracle import Oracle
from errata.records.types import Additions, Episode, Problem, Step
from errata.reports.metrics import measure, summarise
from errata.stages.critique import critique as ask
from errata.stages.scrub import scrub
from errata.verifiers.leak import leaks
from tests.stages.support import Says, World, attempt, codes, critique, episode, grown, problem, run, slipped, user

TRAIN = user(
    "A train has 12 cars of 64 seats. How many seats are there?",
    answer="768", solution=("Each of the cars has 64 seats, so all cars have 12 * 64 = 768 seats", "#### 768"),
    verifier="number",
)  # fmt: skip
WRONG = attempt(TRAIN, ["Each car has 64 seats and there are 12", "12 * 64 = 758", "The answer is 758"])


def start(*texts: str, of: Problem = TRAIN) -> Episode:
    said = [critique(WRONG, 1, text, index=k, seen=("reference",)) for k, text in enumerate(texts)]
    return episode(of, WRONG, outcomes=["fail"], critiques=said)


LEAKS = {
    "Step 2 is wrong, it is 768": "answer",
    "Step 2 is wrong, it is 768.0": "answer",
    "Step 2 should say seven hundred and sixty-eight.": "answer",
    "Step 2: 1536/2 would be right": "answer",
    "Note: all cars have 12 * 64 = some number": "gold_words",
    "Each of the cars has 64 seats, so all cars have 12 * 64 = 768 seats": "gold_step",
    "The correct answer is larger by ten": "phrase",
    "Step 2 differs from the reference solution": "phrase",
}
CLEAN = "Step 2 is wrong: the product of 12 and 64 is not 758, carry the tens again"


@pytest.mark.parametrize("text", LEAKS)
def test_a_leak_of_each_kind_is_rejected_with_its_words(text: str) -> None:
    made = run(scrub, start(text, CLEAN), words=6)
    leaking, clean = made.verdicts
    assert (leaking.verifier, leaking.outcome, clean.outcome) == ("scrub", "fail", "pass")
    (drop,) = made.drops
    assert (drop.code, drop.kind, drop.target) == ("leak", "filtered", leaking.target) and drop.detail
    assert LEAKS[text] in {h.rule for h in leaks(TRAIN, text, phrases=True, words=6)}
    after = start(text, CLEAN).add(made)
    assert [after.rejects(c.id) for c in after.critiques] == [True, False]


@pytest.mark.parametrize("text", LEAKS)
def test_a_masked_copy_is_clean_and_keeps_the_rest(text: str) -> None:
    begin = start(f"Look here. {text}")
    made = run(scrub, begin, policy="mask", words=6)
    (copy,) = made.critiques
    original = begin.critiques[0]
    assert (copy.of, copy.stage, copy.attempt, copy.first_error) == ((original.id,), "scrub", WRONG.id, 1)
    assert copy.seen == original.seen and copy.text.startswith("Look here. ") and "[...]" in copy.text
    assert not leaks(TRAIN, copy.text, phrases=True, words=6)
    assert {v.target: v.outcome for v in made.verdicts} == {original.id: "fail", copy.id: "pass"}
    assert codes(made.drops) == ["leak"] and made.drops[0].target == original.id


def test_what_the_attempt_says_is_no_secret() -> None:
    right = attempt(TRAIN, ["Each of the cars has 64 seats, so all cars have 12 * 64 = 768 seats", "The answer is 768"])
    quoting = critique(right, None, f"Step 1: {right.steps[0].text}Correct. Step 2: The answer is 768. Correct.")
    made = run(scrub, episode(TRAIN, right, outcomes=["pass"], critiques=[quoting]))
    assert [v.outcome for v in made.verdicts] == ["pass"]
    told = replace(quoting, text=quoting.text + " So the result is 768 again")
    made = run(scrub, episode(TRAIN, right, outcomes=["pass"], critiques=[told]))
    assert [v.outcome for v in made.verdicts] == ["fail"], "in words of its own it states the answer"


def test_phrases_can_be_allowed() -> None:
    assert not run(scrub, start("Step 2 differs from the reference solution"), phrases=False).drops


def test_a_reflection_in_an_attempt_is_searched_too() -> None:
    said = [Step(text="Wait, it should be 768.\n", role="reflection", source="teacher")]
    mixed = attempt(TRAIN, "", stage="splice", kind="spliced", parent=WRONG.id, steps=(*WRONG.steps[:2], *said))
    made = run(scrub, episode(TRAIN, WRONG, mixed), of=("splice",), policy="mask")
    assert [(v.target, v.outcome) for v in made.verdicts] == [(mixed.id, "fail")] and not made.critiques


# ---- answerable from the critique alone


def guesser(request: Request) -> str:
    return "The answer is 768" if "ten more" in request.messages[-1].content else "The answer is unknown"


def test_what_an_engine_answers_from_the_critique_alone_is_rejected() -> None:
    says = Says(guesser)
    begin = start("Step 2 is wrong: it is ten more than you say, 758", CLEAN, "Step 2: it is 768")
    made = run(scrub, begin, World({"judge": says}), role="judge", n=3)
    assert {e.target: (e.name, e.value, e.n) for e in made.estimates} == {
        begin.critiques[0].id: ("answerability", 1.0, 3),
        begin.critiques[1].id: ("answerability", 0.0, 3),
    }, "what leaks by rule is not asked about"
    assert [v.outcome for v in made.verdicts] == ["fail", "pass", "fail"]
    assert sorted(codes(made.drops)) == ["answerable", "leak"]
    for request in says.asked:
        text = "\n".join(m.content for m in request.messages)
        assert "train" not in text and "Each car" not in text, "the problem and the attempt are masked"
    assert len({r.seed for r in says.asked}) == len(says.asked) == 6
    assert not run(scrub, begin, World({"judge": Says(guesser)}), role="judge", most_answerable=1.0).drops[1:]


def test_the_problem_is_masked_whatever_the_prompt_asks_for(tmp_path: Path) -> None:
    (tmp_path / "own.yaml").write_text(
        "messages: [{use: problem}, {role: user, content: '{{ problem.text }}|{{ critique.text }}'}]"
    )
    says = Says(guesser)
    run(scrub, start(CLEAN), World({"judge": says}, folder=tmp_path), role="judge", prompt="own.yaml", n=1)
    assert [m.content for m in says.asked[0].messages] == [f"|{CLEAN}"]


def test_a_masked_copy_is_asked_about_in_its_turn() -> None:
    begin = start("Step 2 is wrong: it is 768, ten more than you say")
    made = run(scrub, begin, World({"judge": Says(guesser)}), role="judge", policy="mask")
    (copy,) = made.critiques
    assert [(e.target, e.value) for e in made.estimates] == [(copy.id, 1.0)]
    assert {v.target: v.outcome for v in made.verdicts} == {begin.critiques[0].id: "fail", copy.id: "fail"}
    assert {(d.code, d.target) for d in made.drops} == {("leak", begin.critiques[0].id), ("answerable", copy.id)}


@pytest.mark.parametrize("kind", ["operand", "arithmetic", "definition", "order", "answer", "premature"])
def test_the_oracles_own_critiques_pass(kind: str) -> None:
    p = problem(7, 5)
    begin = episode(p, attempt(p, slipped(p, kind)), outcomes=["fail"])
    after = grown(ask, begin, World({"teacher": Oracle()}), prompt="chains_critique")
    made = run(scrub, after, words=6)
    assert [v.outcome for v in made.verdicts] == ["pass"] and chains.parse(p.text) is not None


def test_metrics_tell_the_share_that_leaks() -> None:
    begin = start("Step 2: it is 768", CLEAN)
    (row,) = summarise(measure([begin.add(run(scrub, begin))]), {})["critiques"]
    assert (row["scrubbed"], row["leaking"], row["leak_share"]) == (2, 1, 0.5)


def test_nothing_to_scrub_adds_nothing() -> None:
    options: dict[str, Any] = {"of": ("critique",)}
    assert run(scrub, episode(TRAIN, WRONG), **options) == Additions()
