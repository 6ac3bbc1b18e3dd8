"""The procedural family of `errata.chains`: the answer is computed, and every step can be checked.

birch is amber plus 6 = 7 plus 6 so birch is 2
The answer is 2
"""

from errata import chains
from errata.records.types import Check, Outcome, Problem
from errata.registry import verifier
from errata.verifiers.base import Judgement


@verifier(version=1)
def procedural(problem: Problem, text: str, *, strict: bool = False) -> Judgement:
    """The answer is the true value of what the problem asks for; `strict` also wants every step right.

    Checks: `answer` decides, and `steps` fails at the first wrong step even where the answer is right.
    """
    chain = chains.parse(problem.text)
    if chain is None:
        return Judgement(outcome="unknown", evidence="the problem is no chain of operations")
    truth = str(chain.values()[chain.target])
    stated = chains.answer(text)
    answer: Outcome = "unknown" if stated is None else _outcome((stated.lstrip("0") or "0") == truth)
    steps = _steps(chain, text)
    outcome: Outcome = "fail" if strict and answer == "pass" and steps.outcome == "fail" else answer
    checks = (Check(name="answer", outcome=answer, detail=(stated or "")[:80]), steps)
    evidence = "no answer is stated" if stated is None else f"{stated[:80]} for {truth}"
    return Judgement(outcome=outcome, checks=checks, evidence=evidence)


def _steps(chain: chains.Chain, text: str) -> Check:
    """Whether every line of `text` is a right step."""
    lines = [line for line in text.split("\n") if line.strip()]
    found = chains.first_error(chain, lines)
    if found is None:
        return Check(name="steps", outcome="pass")
    return Check(name="steps", outcome="fail", detail=f"step {found.step} ({found.kind}): {found.why}")


def _outcome(same: bool) -> Outcome:
    return "pass" if same else "fail"
