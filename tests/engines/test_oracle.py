"""The oracle answers what stages ask, rightly at skill 1 and plausibly wrongly below it."""

import asyncio
import json
import random
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from errata import chains
from errata.chains import Chain
from errata.engines.base import Reply, Request, Sampling
from errata.engines.oracle import Oracle
from errata.errors import EngineError, RecipeError
from errata.records.ids import canonical
from errata.records.types import Message

SCHEMA = canonical(
    {
        "type": "object",
        "properties": {"first_error": {"type": "integer"}, "reason": {"type": "string"}},
        "required": ["first_error", "reason"],
    }
)
CRITIQUE = "Find the first wrong step"


def ask(*turns: tuple[str, str], skill: float = 1.0, seed: int = 0, schema: str = "", **sampling: object) -> Reply:
    messages = tuple(Message(role=r, content=c) for r, c in turns)  # type: ignore[arg-type]
    request = Request(messages=messages, sampling=Sampling(**sampling), seed=seed, schema=schema)  # type: ignore[arg-type]
    return asyncio.run(Oracle(skill=skill).generate(request))


def problem(seed: int) -> Chain:
    rng = random.Random(seed)
    return chains.generate(rng, rng.randint(1, 7), 2)


def wrong_attempt(chain: Chain, seed: int) -> list[str]:
    rng = random.Random(seed)
    kind = rng.choice(["arithmetic", "definition", "answer"])
    steps = chains.slip(rng, chain, kind)
    return chains.solve(chain)[:-1] if steps is None or chains.first_error(chain, steps) is None else steps


seeds = st.integers(0, 10**6)


@settings(max_examples=40, deadline=None)
@given(seeds)
def test_solves_and_revises(seed: int) -> None:
    chain = problem(seed)
    question, gold = ("user", chains.question(chain)), "\n".join(chains.solve(chain))
    attempt = ("assistant", "\n".join(wrong_attempt(chain, seed)))
    assert ask(question).text == gold
    assert ask(question, attempt, ("user", "Step 1 is wrong : it is no step\nCorrect the solution")).text == gold
    assert ask(question, attempt, ("user", "There may be an error\nSolve it again")).text == gold


@settings(max_examples=40, deadline=None)
@given(seeds)
def test_a_critique_names_the_first_error(seed: int) -> None:
    chain = problem(seed)
    steps = wrong_attempt(chain, seed)
    question = ("user", chains.question(chain))
    for attempt in (steps, chains.solve(chain)):
        said = chains.critique(chains.first_error(chain, attempt))
        assert ask(question, ("assistant", "\n".join(attempt)), ("user", CRITIQUE)).text == said


def test_an_attempt_may_stand_in_the_last_turn() -> None:
    chain = problem(3)
    steps = wrong_attempt(chain, 3)
    found = chains.first_error(chain, steps)
    assert found is not None
    plain = f"{chains.question(chain)}\n\nSolution:\n" + "\n".join(steps) + f"\n\n{CRITIQUE}"
    assert ask(("user", plain)).text == chains.critique(found)
    numbered = "".join(f"[{i}] {s}\n" for i, s in enumerate(steps, 1))
    asked = f'Problem:\n{chains.question(chain)}\n\n{numbered}\nEnd with a line "First wrong step: N"'
    assert ask(("user", asked)).text == f"{chains.critique(found)}\nFirst wrong step: {found.step + 1}"


def test_a_revision_request_that_quotes_a_critique_is_no_critique_request() -> None:
    chain = problem(5)
    said = "First wrong step: 2\n\nWrite the corrected solution in full, in the same form as before."
    turns = (("user", chains.question(chain)), ("assistant", "\n".join(wrong_attempt(chain, 5))), ("user", said))
    assert ask(*turns).text == "\n".join(chains.solve(chain))


@settings(max_examples=40, deadline=None)
@given(seeds, st.booleans())
def test_a_judgement_is_json_with_a_0_based_step(seed: int, right: bool) -> None:
    chain = problem(seed)
    steps = chains.solve(chain) if right else wrong_attempt(chain, seed)
    turns = (("user", chains.question(chain)), ("assistant", "\n".join(steps)), ("user", CRITIQUE))
    judged = json.loads(ask(*turns, schema=SCHEMA).text)
    found = chains.first_error(chain, steps)
    assert judged == {"first_error": found.step if found else -1, "reason": chains.critique(found)}


@settings(max_examples=40, deadline=None)
@given(seeds, st.data())
def test_a_prefix_is_continued_to_the_whole_gold_solution(seed: int, data: st.DataObject) -> None:
    chain = problem(seed)
    gold = "\n".join(chains.solve(chain))
    prefix = gold[: data.draw(st.integers(0, len(gold)))]
    reply = ask(("user", chains.question(chain)), ("assistant", prefix))
    assert prefix + reply.text == gold


def test_a_wrong_step_in_the_prefix_is_not_computed_again() -> None:
    chain = chains.parse("All values are modulo 11\nbirch is 4 plus 6\ncedar is birch times 2\nWhat is cedar ?")
    assert chain is not None
    prefix = "birch is 4 plus 6 = 4 plus 6 so birch is 9\n"
    assert ask(("user", chains.question(chain)), ("assistant", prefix)).text == "\n".join(chains.solve(chain)[1:])
    assert ask(("user", chains.question(chain)), ("assistant", prefix.rstrip())).text.startswith("\ncedar is")


def test_skill_is_the_share_answered_well_and_the_seed_chooses() -> None:
    chain = problem(8)
    steps = wrong_attempt(chain, 8)
    turns = (("user", chains.question(chain)), ("assistant", "\n".join(steps)), ("user", CRITIQUE))
    truth = chains.critique(chains.first_error(chain, steps))
    replies = [ask(*turns, skill=0.7, seed=s).text for s in range(400)]
    assert 0.62 < sum(r == truth for r in replies) / 400 < 0.78
    assert replies == [ask(*turns, skill=0.7, seed=s).text for s in range(400)]
    assert all(re.fullmatch(r"Every step is right|Step \d+ is wrong : .+", r) for r in replies)


@settings(max_examples=40, deadline=None)
@given(seeds)
def test_without_skill_every_answer_is_wrong_and_well_formed(seed: int) -> None:
    chain = problem(seed)
    question = ("user", chains.question(chain))
    solution = ask(question, skill=0, seed=seed).text.split("\n")
    assert chains.first_error(chain, solution) is not None
    for attempt in (wrong_attempt(chain, seed), chains.solve(chain)):
        found = chains.first_error(chain, attempt)
        judged = json.loads(
            ask(question, ("assistant", "\n".join(attempt)), ("user", "?"), skill=0, seed=seed, schema=SCHEMA).text
        )
        assert judged["first_error"] != (found.step if found else -1)
        assert -1 <= judged["first_error"] < len(attempt)


def test_limits_cut_and_say_so() -> None:
    chain = problem(2)
    question, gold = ("user", chains.question(chain)), "\n".join(chains.solve(chain))
    cut = ask(question, max_tokens=5)
    assert (cut.text, cut.finish, cut.completion_tokens) == (" ".join(gold.split()[:5]), "length", 5)
    first = ask(question, stop=("\n",))
    assert (first.text, first.finish) == (gold.split("\n")[0], "stop")
    assert ask(question, max_tokens=len(gold.split())).finish == "stop"


def test_what_it_cannot_answer_is_an_error_with_a_reason() -> None:
    question = ("user", chains.question(problem(1)))
    for turns, schema, what in (
        ([("user", "What is 2 + 2 ?")], "", "no problem of the procedural family"),
        ([question, ("assistant", "x"), ("user", CRITIQUE), ("assistant", "Step")], "", "no assistant prefix"),
        ([("user", f"{question[1]}\n{CRITIQUE}")], "", "needs an attempt"),
        (
            [question, ("assistant", "x"), ("user", "?")],
            canonical({"type": "object", "properties": {"score": {"type": "number"}}}),
            "this schema has score",
        ),
    ):
        with pytest.raises(EngineError, match=what) as raised:
            ask(*turns, schema=schema)
        assert raised.value.code == "oracle_cannot"
    with pytest.raises(RecipeError, match="from 0 to 1"):
        Oracle(skill=1.5)


def test_identity_is_honest_about_the_oracle() -> None:
    assert Oracle().seen == ("gold_steps",)
    assert Oracle().identity.model == "oracle:chains"
    assert Oracle().identity != Oracle(skill=0.5).identity
    asyncio.run(Oracle().close())
