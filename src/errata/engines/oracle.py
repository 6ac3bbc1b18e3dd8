"""A program that knows the procedural family and answers as a model would: solutions, revisions, critiques, judgements.

It reads nothing but the conversation. What is asked is told from the last user turn: a last line that holds the phrase
of a task (errata.engines.oracles) wants that, a request with a JSON schema wants a judgement, a last line that speaks
of the first wrong step wants a critique, and everything else a solution. Whatever it says rests on the gold steps, so
every record of it says that they were seen.
"""

import json
import random
import re
from typing import Any

from errata import chains
from errata.chains import Chain, Finding
from errata.engines import oracles
from errata.engines.base import Identity, Reply, Request
from errata.engines.code import code_digest
from errata.engines.logprobs import refuse
from errata.engines.oracles import Asked, task_for
from errata.engines.phrases import replied
from errata.errors import EngineError, RecipeError
from errata.records import segment as segmentation
from errata.records.ids import canonical, seed
from errata.registry import engine

_CRITIQUE = re.compile(r"first wrong step|critique", re.IGNORECASE)
_PATTERN_LINE = "First wrong step: N"
"""How the general critique prompt asks for a last line of its own."""


@engine(version=1, name="oracle")
class Oracle:
    """A perfect teacher, judge and student of chains; `skill` is the share of requests that it answers well.

    The other requests, chosen by a hash of their seeds, get a plausible wrong answer: a location elsewhere, a solution
    with one slip. Raises `EngineError` with code `oracle_cannot` where the conversation holds no chain or no attempt.
    """

    seen: tuple[str, ...] = ("gold_steps",)

    def __init__(self, *, skill: float = 1.0) -> None:
        if not 0 <= skill <= 1:
            raise RecipeError(f"oracle: skill is {skill}, but it is a share: use a number from 0 to 1")
        self._skill = skill

    @property
    def identity(self) -> Identity:
        return Identity(
            engine="oracle",
            version=1,
            model="oracle:chains",
            revision=code_digest(chains, segmentation, __file__, *oracles.files()),
            detail=canonical({"skill": self._skill}),
            licence="Apache-2.0",
        )

    async def generate(self, request: Request) -> Reply:
        """Answer at once; tokens are counted as words."""
        refuse(request, "the oracle, a program,")
        chain = chains.parse("\n".join(m.content for m in request.messages))
        if chain is None:
            raise EngineError("oracle_cannot", "the conversation holds no problem of the procedural family to answer")
        # Two hashes of one seed, so that how an answer is wrong does not depend on how likely it was to be.
        well = seed(oracle="skill", seed=request.seed) / 2**63 < self._skill
        rng = random.Random(seed(oracle="answer", seed=request.seed))
        return replied(request, _answer(request, chain, well, rng))

    async def close(self) -> None:
        """Nothing to free."""


def _answer(request: Request, chain: Chain, well: bool, rng: random.Random) -> str:
    rules = json.loads(request.schema) if request.schema else {}
    asked = Asked(chain=chain, messages=request.messages, schema=rules, well=well, rng=rng)
    task = task_for(asked.text)
    if task is not None:
        said = task(asked)
        return said if isinstance(said, str) else canonical(dict(said))
    wants_critique = bool(_CRITIQUE.search(asked.text.rstrip().rsplit("\n", 1)[-1]))
    if not (request.schema or wants_critique):
        steps = chains.solve(chain) if well else _wrong_solution(chain, rng)
        return _remaining(request.messages[-1].content, steps) if request.continues else "\n".join(steps)
    if request.continues:
        raise EngineError("oracle_cannot", "the oracle continues solutions, not critiques: send no assistant prefix")
    attempt = asked.attempt
    found = chains.first_error(chain, attempt)
    if not well:
        found = _wrong_finding(chain, attempt, found, rng)
    if request.schema:
        return _judgement(request.schema, found)
    text = chains.critique(found)
    return f"{text}\nFirst wrong step: {found.step + 1 if found else 'none'}" if _PATTERN_LINE in asked.text else text


def _judgement(schema: str, found: Finding | None) -> str:
    """JSON with what the schema has of `first_error` (0-based, -1 for none) and `reason`."""
    known: dict[str, Any] = {"first_error": found.step if found else -1, "reason": chains.critique(found)}
    rules = json.loads(schema)
    asked = rules.get("properties", {})
    if "first_error" not in asked or set(rules.get("required", asked)) - set(known):
        has = ", ".join(sorted(asked)) or "no property"
        raise EngineError("oracle_cannot", f"the oracle fills in first_error and reason, but this schema has {has}")
    return canonical({k: v for k, v in known.items() if k in asked})


def _wrong_finding(chain: Chain, attempt: tuple[str, ...], truth: Finding | None, rng: random.Random) -> Finding | None:
    """A step other than the first wrong one, or an all-clear, with words as of a real critique."""
    true_step = truth.step if truth else None
    choices = [i for i in (None, *range(len(attempt))) if i != true_step]
    step = rng.choice(choices) if choices else 0
    if step is None:
        return None
    said = attempt[step].strip() if attempt else ""
    if chains.answer(said) is not None:
        return Finding(step, "answer", f"it is not the value of {chain.target}")
    name, value = (said.split() or [chain.target])[0], (re.findall(r"\d+", said) or ["0"])[-1]
    return Finding(step, "operand", f"{name} is not {value}")


def _wrong_solution(chain: Chain, rng: random.Random) -> list[str]:
    """The gold solution with one slip."""
    kinds = [k for k in chains.KINDS if k != "format"]
    rng.shuffle(kinds)
    for kind in kinds:
        steps = chains.slip(rng, chain, kind)
        if steps is not None and chains.first_error(chain, steps) is not None:
            return steps
    gold = chains.solve(chain)
    return [*gold[:-1], f"The answer is {(chain.values()[chain.target] + 1) % chain.modulus}"]


def _remaining(prefix: str, steps: list[str]) -> str:
    """What is left of `steps` after `prefix`, whose last line may be unfinished."""
    head, _, last = prefix.rpartition("\n")
    done = {_subject(line) for line in head.splitlines()}
    left = [s for s in steps if _subject(s) not in done]
    if not last:
        return "\n".join(left)
    at = next((i for i, s in enumerate(left) if s.startswith(last)), None)
    if at is not None:
        first = left[at][len(last) :]
        rest = [s for s in left if s != left[at]]
        return "\n".join([first, *rest])
    after = [s for s in left if _subject(s) != _subject(last)]
    return "".join(f"\n{s}" for s in after)


def _subject(step: str) -> str:
    """The name that a step computes; the answer's own word for the last one."""
    return (step.split() or [""])[0]
