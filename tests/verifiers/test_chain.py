"""The procedural verifier on solutions that the family's own generator makes."""

import random

import pytest

from errata import chains
from errata.records.types import Message, Problem
from errata.verifiers.chain import procedural


def made(seed: int, operations: int = 4) -> tuple[chains.Chain, Problem]:
    chain = chains.generate(random.Random(seed), operations, 1)
    message = Message(role="user", content=chains.question(chain))
    return chain, Problem(id="p", messages=(message,), verifier="procedural")


@pytest.mark.parametrize("seed", range(20))
def test_gold_passes_and_every_other_answer_fails(seed: int) -> None:
    chain, problem = made(seed)
    gold = chains.solve(chain)
    assert procedural(problem, "\n".join(gold)).outcome == "pass"
    checks = procedural(problem, "\n".join(gold)).checks
    assert [(c.name, c.outcome) for c in checks] == [("answer", "pass"), ("steps", "pass")]
    truth = int(gold[-1].split()[-1])
    for other in range(chain.modulus):
        text = "\n".join([*gold[:-1], f"The answer is {other}"])
        assert procedural(problem, text).outcome == ("pass" if other == truth else "fail")


def test_a_right_answer_with_a_wrong_step_passes_unless_strict() -> None:
    chain, problem = made(3)
    gold = chains.solve(chain)
    text = "\n".join(["nonsense", *gold])
    judgement = procedural(problem, text)
    assert judgement.outcome == "pass"
    assert [(c.name, c.outcome) for c in judgement.checks] == [("answer", "pass"), ("steps", "fail")]
    assert procedural(problem, text, strict=True).outcome == "fail"
    assert procedural(problem, "\n".join(gold), strict=True).outcome == "pass"


def test_no_answer_and_no_chain_are_unknown() -> None:
    chain, problem = made(3)
    for strict in (False, True):
        assert procedural(problem, "\n".join(chains.solve(chain)[:-1]), strict=strict).outcome == "unknown"
    other = Problem(id="p", messages=(Message(role="user", content="What is 1 + 1?"),), verifier="procedural")
    assert procedural(other, "The answer is 2").outcome == "unknown"


def test_a_number_of_any_length_is_judged() -> None:
    _, problem = made(3)
    assert procedural(problem, f"The answer is {'9' * 10_000}").outcome == "fail"
