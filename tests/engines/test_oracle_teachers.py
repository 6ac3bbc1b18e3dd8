"""What the oracle writes as a teacher: templates, plans, tailored rationales, causes of mistakes; well and badly."""

import asyncio
import json
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from errata import chains, prompts
from errata.engines.base import Request, Sampling
from errata.engines.oracle import Oracle
from errata.records.types import Message, Problem
from errata.verifiers.leak import leaked
from errata.verifiers.template import thought_template
from tests.stages.support import attempt

seeds = st.integers(0, 10**6)
NOTES = {"modules": "- a", "adapted": "b", "structure": "c"}


def made(seed: int) -> tuple[chains.Chain, Problem]:
    rng = random.Random(seed)
    chain = chains.generate(rng, rng.randint(1, 7), 3)
    gold = chains.solve(chain)
    message = Message(role="user", content=chains.question(chain))
    return chain, Problem(
        id="p", messages=(message,), verifier="procedural", answer=chains.answer(gold[-1]), solution=tuple(gold)
    )


def asked(problem: Problem, prompt: str, *lines: str, skill: float = 1.0, seed: int = 0) -> str:
    template = prompts.load(prompt)
    shown = {"reference": problem.answer, "gold_steps": list(problem.solution), "notes": NOTES}
    messages = template.render(problem, attempt(problem, lines) if lines else None, shown=shown)
    request = Request(messages=messages, sampling=Sampling(), seed=seed, schema=template.schema)
    return asyncio.run(Oracle(skill=skill).generate(request)).text


def wrong(chain: chains.Chain, seed: int) -> list[str]:
    steps = chains.slip(random.Random(seed), chain, "arithmetic")
    assert steps is not None
    return steps


@settings(max_examples=40, deadline=None)
@given(seeds)
def test_a_template_is_whole_and_right_or_slipped(seed: int) -> None:
    chain, problem = made(seed)
    for skill in (1.0, 0.0):
        text = asked(problem, "thought_template", skill=skill, seed=seed)
        assert thought_template(problem, text).outcome == "pass"
        lines = [line for line in text.split("\n") if " so " in line or line.startswith("The answer")]
        assert (chains.first_error(chain, lines) is None) == bool(skill)


@settings(max_examples=40, deadline=None)
@given(seeds)
def test_plans_solve_nothing(seed: int) -> None:
    chain, problem = made(seed)
    picked = asked(problem, "regenesis_select", seed=seed).split("\n")
    assert 2 <= len(picked) <= 4 and all(line.startswith("- ") for line in picked)
    said = asked(problem, "regenesis_adapt", seed=seed)
    assert said.count(".") <= 2 and not leaked(problem, said)
    for prompt in ("regenesis_structure", "regenesis_structure_to_answer"):
        plan = asked(problem, prompt, seed=seed).split("\n")
        assert plan == [str(rule) for rule in chains.needed(chain)] and not leaked(problem, "\n".join(plan))
        badly = asked(problem, prompt, skill=0.0, seed=seed).split("\n")
        assert sorted(badly) == sorted(plan)


@settings(max_examples=60, deadline=None)
@given(seeds)
def test_a_tailored_rationale_keeps_what_was_right_and_mends_the_rest(seed: int) -> None:
    chain, problem = made(seed)
    steps = wrong(chain, seed)
    error = chains.first_error(chain, steps)
    assert error is not None
    lines = asked(problem, "tailored_rationale", *steps, seed=seed).split("\n")
    assert chains.first_error(chain, lines) is None and lines[: error.step] == steps[: error.step]
    badly = asked(problem, "tailored_rationale", *steps, skill=0.0, seed=seed).split("\n")
    assert chains.first_error(chain, badly) is not None


def test_tailored_rationales_of_one_problem_differ() -> None:
    counts = []
    for k in range(12):
        chain, problem = made(k)
        counts.append(len({asked(problem, "tailored_rationale", *wrong(chain, k), seed=s) for s in range(6)}))
    assert max(counts) > 2 and sum(n > 1 for n in counts) >= 4


@pytest.mark.parametrize("seed", range(8))
def test_a_mistake_has_a_place_a_kind_and_a_cause(seed: int) -> None:
    chain, problem = made(seed)
    steps = wrong(chain, seed)
    error = chains.first_error(chain, steps)
    assert error is not None
    told = json.loads(asked(problem, "explain_mistake", *steps, seed=seed))
    assert told == {
        "first_error": error.step, "findings": [{"step": error.step, "kind": error.kind, "text": error.why}]
    }  # fmt: skip
    assert json.loads(asked(problem, "explain_mistake", *steps, skill=0.0, seed=seed))["first_error"] != error.step
    clear = asked(problem, "explain_mistake", *chains.solve(chain), seed=seed)
    assert json.loads(clear) == {"first_error": -1, "findings": []}


def test_a_solution_without_its_answer_goes_wrong_after_its_last_step() -> None:
    chain, problem = made(7)
    steps = chains.solve(chain)[:-1]
    told = json.loads(asked(problem, "explain_mistake", *steps))
    assert told["first_error"] == len(steps) and told["findings"][0]["step"] == len(steps) - 1


@given(seeds)
@settings(max_examples=20)
def test_an_unfinished_solution_is_good_until_its_first_wrong_step(seed: int) -> None:
    chain, problem = made(seed)
    gold = chains.solve(chain)
    for n in range(1, len(gold) + 1):
        assert json.loads(asked(problem, "judge_so_far", *gold[:n]))["score"] == 10
        assert json.loads(asked(problem, "judge_so_far", *gold[:n], skill=0.0))["score"] == 1
    slip = chains.slip(random.Random(seed), chain, "arithmetic")
    if slip and (found := chains.first_error(chain, slip)):
        for n in range(1, len(slip) + 1):
            told = json.loads(asked(problem, "judge_so_far", *slip[:n]))
            assert told["score"] == (1 if n > found.step else 10)
