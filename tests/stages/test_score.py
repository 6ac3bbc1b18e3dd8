"""Scores are sums over the tokens of steps, whoever wrote them; samples carry the log-probabilities of their tokens."""

import asyncio
import json
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from errata.engines.base import Reply, Request
from errata.engines.oracle import Oracle
from errata.engines.pocket import Pocket
from errata.errors import ReplayMiss
from errata.records.types import Call, Episode, Message, Step
from errata.runners import job
from errata.runners.options import Options
from errata.stages.base import Scored
from errata.stages.sample import sample
from errata.stages.score import score
from errata.store.audit import check_calls
from errata.store.check import check_dataset
from errata.store.reader import Dataset, open_dataset
from tests.stages.support import Says, World, attempt, codes, episode, problem, run, slipped, user

P = problem(5)
GOLD = list(P.solution)


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    """The pocket student, one for all tests."""
    engine = Pocket(slots=4, threads=1)
    yield World({"student": engine})
    asyncio.run(engine.close())


def words(request: Request) -> Reply:
    """One token a word, each with minus its length; spaces and line ends go with the word before."""
    text = request.messages[-1].content
    assert request.score and request.continues
    tokens, at = [], 0
    while at < len(text):
        end = at
        while end < len(text) and not text[end].isspace():
            end += 1
        while end < len(text) and text[end].isspace():
            end += 1
        tokens.append(text[at:end])
        at = end
    told = tuple(-float(len(t)) for t in tokens)
    return Reply(text="", finish="stop", prompt_tokens=9, completion_tokens=0, tokens=tuple(tokens), logprobs=told)


CALL = Call(
    role="student", engine="e", model="m", revision="r", key="0" * 32, seed=0, temperature=1, top_p=1, max_tokens=1,
    template="", prompt_tokens=1, completion_tokens=0, finish="stop",
)  # fmt: skip


@given(st.lists(st.text("ab \n", max_size=4), min_size=1, max_size=6), st.lists(st.integers(0, 24), max_size=12))
def test_parts_sum_to_the_whole_however_tokens_lie_across_them(parts: list[str], cuts: list[int]) -> None:
    text = "".join(parts)
    tokens = [text[a:b] for a, b in pairwise([0, *sorted(min(c, len(text)) for c in cuts), len(text)])]
    if not text:
        return
    scored = Scored(tuple(tokens), tuple(-float(i + 1) for i in range(len(tokens))), CALL)
    found = scored.parts(parts)
    assert len(found) == len(parts)
    assert sum(p.total for p in found) == sum(scored.logprobs) and sum(p.tokens for p in found) == len(tokens)
    with pytest.raises(ValueError, match="parts are not those"):
        scored.parts([*parts, "more"])


def test_a_token_is_the_steps_that_holds_its_last_character() -> None:
    scored = Scored(("A", " is 5.", " Then", " B", ".\n", "C"), (-1.0, -2.0, -4.0, -8.0, -16.0, -32.0), CALL)
    assert scored.parts(["A is 5. ", "Then B.\n", "C"]) == ((-3.0, 2), (-28.0, 3), (-32.0, 1))


def test_each_step_and_the_whole_are_means_per_token() -> None:
    a = attempt(P, "amber is 5\nThe answer is 5")
    made = run(score, episode(P, a), World({"student": Says(words)}))
    assert [(e.name, e.step, e.value, e.n, e.engine) for e in made.estimates] == [
        ("logprob", None, round(-26 / 7, 6), 7, "student"),
        ("logprob", 0, round(-11 / 3, 6), 3, "student"),
        ("logprob", 1, -15 / 4, 4, "student"),
    ]


def test_every_turn_of_the_assistant_is_scored_after_those_before_it() -> None:
    turns = (
        Step(text="amber is 5", turn=0),
        Step(text="Solve it again", turn=1, role="feedback", source="template", train=False),
        Step(text="amber is 6\n", turn=2), Step(text="The answer is 6", turn=2, role="answer"),
    )  # fmt: skip
    says = Says(words)
    made = run(score, episode(P, replace(attempt(P, "x"), steps=turns, kind="spliced")), World({"student": says}))
    assert [[m.role for m in r.messages] for r in says.asked] == [
        ["user", "assistant"], ["user", "assistant", "user", "assistant"],
    ]  # fmt: skip
    assert [(e.step, e.n) for e in made.estimates] == [(None, 10), (0, 3), (2, 3), (3, 4)]


def test_own_and_reference_answers_are_measured_given_the_rest(world: World) -> None:
    """An explanation of the right answer makes it likely; the answer of a wrong one is likely by itself alone."""
    right, wrong = attempt(P, GOLD, 0), attempt(P, slipped(P, "arithmetic"), 1)
    start = episode(P, right, wrong)

    def measured(given: str) -> dict[str, float]:
        made = run(score, start, world, given=given)
        assert not made.drops
        return {e.target: e.value for e in made.estimates if e.name == "answer_logprob"}

    own, reference = measured("own"), measured("reference")
    assert own[right.id] == pytest.approx(reference[right.id], abs=1e-5)
    assert reference[right.id] > reference[wrong.id] + 0.3
    assert own[wrong.id] > reference[wrong.id]
    steps = run(score, start, world).estimates
    assert [e.value for e in steps if e.target == right.id and e.step == len(GOLD) - 1] == [own[right.id]]


def test_a_reference_without_a_gold_solution_is_said_in_the_words_that_are_given() -> None:
    p = replace(user("What is 2 + 2 ?"), answer="4")
    says = Says(words)
    cut = replace(attempt(p, "Two and\nThe answer"), complete=False)
    made = run(score, episode(p, attempt(p, "2 + 2 = 4\nso 5", 1), cut), World({"student": says}), given="reference",
               says="It is {answer} .")  # fmt: skip
    assert [r.messages[-1].content for r in says.asked][-1] == "2 + 2 = 4\nIt is 4 ."
    assert [(e.value, e.n) for e in made.estimates if e.name == "answer_logprob"] == [(-9 / 4, 4)]


def test_what_cannot_be_scored_is_a_drop() -> None:
    a = attempt(P, GOLD)
    made = run(score, episode(P, a), World({"student": Oracle()}), given="reference")
    assert not made.estimates and codes(made.drops) == ["no_logprobs"]
    assert made.drops[0].target == a.id and made.drops[0].kind == "quarantined"
    silent = Says(lambda r: "text and no numbers")
    assert codes(run(score, episode(P, a), World({"student": silent})).drops) == ["no_logprobs"]
    assert codes(run(sample, episode(P), World({"student": silent}), n=1, logprobs=True).drops)[0] == "no_logprobs"


def test_samples_carry_the_log_probabilities_of_their_tokens_only_if_asked(world: World) -> None:
    told = run(sample, episode(P), world, n=3, steps="chain", logprobs=True).attempts
    plain = run(sample, episode(P), world, n=3, steps="chain").attempts
    assert [replace(a, logprobs=(), call=None) for a in told] == [replace(a, call=None) for a in plain]
    assert all(a.call and len(a.logprobs) == a.call.completion_tokens for a in told)
    assert not any(a.logprobs for a in plain)
    for a, e in zip(told, [e for e in run(score, episode(P, *told), world).estimates if e.step is None], strict=True):
        assert e.target == a.id
        assert sum(a.logprobs[:-1] if a.complete else a.logprobs) == pytest.approx(e.value * e.n, abs=2e-3)


def test_a_role_is_scored_with_its_system_prompt() -> None:
    says = Says(words)
    run(score, episode(P, attempt(P, GOLD)), World({"student": says}, {"student": {"system": "Be brief"}}))
    assert says.asked[0].messages[0] == Message(role="system", content="Be brief")


# A run.

RECIPE = """
name: scored
version: 1
about: Samples of the student and of a teacher, scored under the student.
method: none
licence: Apache-2.0
seed: 3
source: {use: procedural, with: {count: 12, operations: [6, 8], distractors: [1, 2]}}
engines:
  student: {use: pocket, with: {slots: 8, threads: 1}, sampling: {max_tokens: 160}}
  teacher: {use: oracle, with: {skill: 0}}
stages:
  - {use: sample, with: {n: 2, steps: chain, logprobs: true}}
  - {name: teach, use: sample, with: {role: teacher, n: 1, steps: chain}}
  - {use: verify, with: {of: ""}}
  - {name: locate_own, use: locate, with: {of: sample, method: gold}}
  - {name: locate_taught, use: locate, with: {of: teach, method: gold}}
  - {use: score, with: {of: ""}}
exports: [{use: sft, with: {of: [sample]}}]
gates: [{metric: on_policy.student.stages.teach.wrong.gap, max: -0.5}]
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Dataset]:
    folder = tmp_path_factory.mktemp("scored")
    (folder / "scored.yaml").write_text(RECIPE)
    job.run(Options(recipe=folder / "scored.yaml", out=folder / "out"), lambda *_: None)
    return folder, open_dataset(folder / "out" / "scored")


def test_a_run_stores_log_probabilities_and_tells_how_on_policy_it_is(made: tuple[Path, Dataset]) -> None:
    folder, dataset = made
    assert check_dataset(dataset.path) == []
    assert check_calls(dataset.path, folder / "out" / "journal") == []
    episodes = [e for e in dataset.rows("episodes") if isinstance(e, Episode)]
    samples = [a for e in episodes for a in e.attempts if a.stage == "sample"]
    assert samples and all(a.call and len(a.logprobs) == a.call.completion_tokens for a in samples)
    found = json.loads((dataset.path / "_manifest/metrics.json").read_text())["on_policy"]["student"]
    wholes = [e for x in episodes for e in x.estimates if e.step is None]
    own = [e for e in wholes if e.target in {a.id for a in samples}]
    assert found["own_samples"]["tokens"] == sum(e.n for e in own)
    assert found["own_samples"]["mean"] == pytest.approx(
        sum(e.value * e.n for e in own) / sum(e.n for e in own), abs=1e-5
    )
    assert found["stages"]["sample"]["all"]["gap"] == 0
    # A made-up slip is foreign to the student, and its own is not.
    assert found["stages"]["teach"]["wrong"]["mean"] < found["stages"]["sample"]["wrong"]["mean"] - 0.5


def test_the_run_is_repeated_from_its_journal(made: tuple[Path, Dataset]) -> None:
    folder, dataset = made
    options = Options(recipe=folder / "scored.yaml", out=folder / "out", replay=True)
    job.run(options, lambda *_: None)
    assert open_dataset(folder / "out" / "scored").path.name == dataset.path.name
    other = Options(recipe=folder / "scored.yaml", out=folder / "out", replay=True, changes=("source.with.count=13",))
    with pytest.raises(ReplayMiss):
        job.run(other, lambda *_: None)
