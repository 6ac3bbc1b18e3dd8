"""The procedural family: chains of modular arithmetic in words, with gold steps and an exact checker.

A problem defines values in shuffled order, some of them useless, and asks for one. A whole problem and its gold
solution:

    All values are modulo 11
    birch is amber plus 6
    cedar is birch times amber
    amber is 7
    What is cedar ?

    birch is amber plus 6 = 7 plus 6 so birch is 2
    cedar is birch times amber = 2 times 7 so cedar is 3
    The answer is 3

Everything here is a pure function of text, so that the source, the verifier, the oracle and the script that trains the
pocket student all share one definition of right and wrong.
"""

import random
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache

MODULUS = 11
"""The modulus that the pocket student was trained on."""

NAMES = tuple(
    "amber aspen basil birch briar cedar clove coral daisy ebony fern flint grape hazel heron holly iris ivory jade "
    "juniper lilac lotus maple mint moss olive onyx opal pearl robin sage violet".split()
)
OPERATIONS = ("plus", "minus", "times")

KINDS = ("operand", "arithmetic", "definition", "order", "answer", "premature", "format")
"""Kinds of error, from a wrong value recalled for an operand to text that is no step at all."""

_LEAF = re.compile(r"(\w+) is (\d{1,9})")
_RULE = re.compile(r"(\w+) is (\w+) (plus|minus|times) (\w+)")
_STEP = re.compile(
    r"(\w+) is (\w+) (plus|minus|times) (\w+) = (\d{1,9}) (plus|minus|times) (\d{1,9}) so (\w+) is (\d{1,9})"
)
_ANSWER = re.compile(r"The answer is (\d+)")
_PROBLEM = re.compile(r"All values are modulo (\d{1,9})\n((?:.+\n)+?)What is (\w+) \?")


@dataclass(frozen=True, slots=True)
class Rule:
    """One definition: `name is left op right`; a leaf has its value in `left` and no `op`."""

    name: str
    left: str
    op: str = ""
    right: str = ""
    operands: tuple[str, ...] = field(init=False, repr=False, compare=False)
    """The names that must be known first."""

    def __post_init__(self) -> None:
        operands = tuple([x for x in (self.left, self.right) if x and not x.isdigit()])
        object.__setattr__(self, "operands", operands)

    def __str__(self) -> str:
        return f"{self.name} is {self.left} {self.op} {self.right}" if self.op else f"{self.name} is {self.left}"


@dataclass(frozen=True)
class Chain:
    """A problem: its definitions in the order printed, and the name asked for."""

    rules: tuple[Rule, ...]
    target: str
    modulus: int = MODULUS

    def rule(self, name: str) -> Rule | None:
        """The definition of `name`, if it has one."""
        return next((r for r in self.rules if r.name == name), None)

    def values(self) -> dict[str, int]:
        """The true value of every name that can be computed."""
        return dict(self._values)

    @cached_property
    def right_steps(self) -> dict[str, Rule]:
        """Every right step, and the operation that it computes: most lines of most solutions."""
        known = self._values
        defined = [r for r in self.rules if r.op and r.name in known and self.rule(r.name) is r]
        return {step_text(r, known, self.modulus): r for r in defined}

    @cached_property
    def _values(self) -> dict[str, int]:
        known: dict[str, int] = {}
        pending = list(self.rules)
        while pending:
            ready = [r for r in pending if all([o in known for o in r.operands])]
            if not ready:
                break
            for r in ready:
                known[r.name] = _evaluate(r, known, self.modulus)
            pending = [r for r in pending if r.name not in known]
        return known


@dataclass(frozen=True)
class Finding:
    """The first error of a solution: 0-based step index, kind (one of KINDS) and a sentence that says what is wrong."""

    step: int
    kind: str
    why: str


def apply(op: str, a: int, b: int, modulus: int = MODULUS) -> int:
    """`a op b` reduced into 0..modulus-1."""
    return {"plus": a + b, "minus": a - b, "times": a * b}[op] % modulus


def _evaluate(rule: Rule, known: dict[str, int], modulus: int) -> int:
    if not rule.op:
        return int(rule.left) % modulus
    a, b = (int(x) if x.isdigit() else known[x] for x in (rule.left, rule.right))
    return apply(rule.op, a, b, modulus)


def generate(rng: random.Random, operations: int, distractors: int = 0, modulus: int = MODULUS) -> Chain:
    """A chain of `operations` steps; each uses the last result and a number, a given value or an earlier result."""
    if operations < 1 or distractors < 0 or 2 * operations + distractors + 1 > len(NAMES):
        raise ValueError(f"no chain has {operations} operations and {distractors} distractors")
    names = iter(rng.sample(NAMES, len(NAMES)))

    def number() -> str:
        return str(rng.randrange(modulus))

    last = next(names)
    rules = [Rule(last, number())]
    leaves, results = [last], [last]
    for _ in range(operations):
        source = rng.random()
        if source < 0.4:
            other = number()
        elif source < 0.7 or len(results) < 2:
            other = next(names)
            rules.append(Rule(other, number()))
            leaves.append(other)
        else:
            other = rng.choice(results[:-1])
        left, right = (other, last) if rng.random() < 0.3 else (last, other)
        last = next(names)
        rules.append(Rule(last, left, rng.choice(OPERATIONS), right))
        results.append(last)
    for _ in range(distractors):
        name = next(names)
        if rng.random() < 0.5:
            rules.append(Rule(name, number()))
        else:
            rules.append(Rule(name, rng.choice(results[:-1] + leaves), rng.choice(OPERATIONS), number()))
    rng.shuffle(rules)
    return Chain(tuple(rules), last, modulus)


def question(chain: Chain) -> str:
    """The problem as text."""
    lines = "\n".join(str(r) for r in chain.rules)
    return f"All values are modulo {chain.modulus}\n{lines}\nWhat is {chain.target} ?"


@lru_cache(maxsize=4096)  # more than the episodes in flight, each of which is asked about again and again
def parse(text: str) -> Chain | None:
    """The problem found in `text`, or None; the inverse of `question`."""
    found = _PROBLEM.search(text)
    if not found:
        return None
    rules = []
    for line in found[2].splitlines():
        leaf, rule = _LEAF.fullmatch(line), _RULE.fullmatch(line)
        if leaf:
            rules.append(Rule(leaf[1], leaf[2]))
        elif rule:
            rules.append(Rule(*rule.groups()))
        else:
            return None
    chain = Chain(tuple(rules), found[3], int(found[1]))
    return chain if chain.modulus > 0 and chain.target in chain.values() else None


def needed(chain: Chain) -> list[Rule]:
    """The operations that the target rests on, in an order in which they can be computed."""
    order: list[Rule] = []

    def visit(name: str) -> None:
        rule = chain.rule(name)
        if rule is None or rule in order:
            return
        for operand in rule.operands:
            visit(operand)
        if rule.op:
            order.append(rule)

    visit(chain.target)
    return order


def step_text(rule: Rule, known: dict[str, int], modulus: int) -> str:
    """The step that computes `rule` from the values in `known`, however wrong they are."""
    a, b = (x if x.isdigit() else str(known[x]) for x in (rule.left, rule.right))
    value = apply(rule.op, int(a), int(b), modulus)
    return f"{rule} = {a} {rule.op} {b} so {rule.name} is {value}"


def solve(chain: Chain) -> list[str]:
    """The gold steps, the answer last."""
    values = chain.values()
    steps = [step_text(rule, values, chain.modulus) for rule in needed(chain)]
    return [*steps, f"The answer is {values[chain.target]}"]


def answer(text: str) -> str | None:
    """The number that a solution ends with, or None where it states none."""
    found = _ANSWER.findall(text)
    return found[-1] if found else None


def first_error(chain: Chain, steps: Sequence[str]) -> Finding | None:
    """Where a solution first goes wrong; None if every step is right and the answer is reached.

    A right step that nothing needs is no error. A solution that ends without an answer is wrong after its last step.
    """
    values, known, right = chain.values(), {r.name for r in chain.rules if not r.op}, chain.right_steps
    for i, step in enumerate(steps):
        line = step.strip()
        rule = right.get(line)
        if rule is not None and known.issuperset(rule.operands):
            known.add(rule.name)
            continue
        final = _ANSWER.fullmatch(line)
        if final:
            if chain.target not in known:
                return Finding(i, "premature", f"{chain.target} is not known yet")
            if (final[1].lstrip("0") or "0") != str(values[chain.target]):
                return Finding(i, "answer", f"it is not the value of {chain.target}")
            return None
        found = _wrong(chain, line, values, known)
        if found:
            return Finding(i, *found)
        known.add(line.split(" ", 1)[0])
    return Finding(len(steps), "premature", "the answer is missing")


def _wrong(chain: Chain, line: str, values: dict[str, int], known: set[str]) -> tuple[str, str] | None:
    """The kind and description of what is wrong with one step, or None."""
    found = _STEP.fullmatch(line)
    if not found:
        return "format", "it is no step"
    name, left, op, right, a, op2, b, result, c = found.groups()
    rule = chain.rule(name)
    if rule is None or (rule.left, rule.op, rule.right, name) != (left, op, right, result):
        return "definition", str(rule) if rule else f"{name} is not given"
    for operand in rule.operands:
        if operand not in known:
            return "order", f"{operand} is not known yet"
    for operand, value in ((left, a), (right, b)):
        truth = int(operand) if operand.isdigit() else values[operand]
        if int(value) != truth:
            return "operand", f"{operand} is not {value}"
    if op2 != op:
        return "definition", str(rule)
    if int(c) != apply(op, int(a), int(b), chain.modulus):
        return "arithmetic", f"{a} {op} {b} is not {c}"
    return None


def slip(rng: random.Random, chain: Chain, kind: str) -> list[str] | None:
    """A solution with one slip of `kind` that is carried through to its answer; None where the chain has no room."""
    rules = needed(chain)
    at = rng.randrange(len(rules))
    known = chain.values()

    def other(value: int) -> int:
        return (value + rng.randrange(1, chain.modulus)) % chain.modulus

    steps: list[str] = []
    for i, rule in enumerate(rules):
        seen = dict(known)
        if i == at and kind == "operand":
            if not rule.operands:
                return None
            wrong = rng.choice(rule.operands)
            seen[wrong] = rng.choice([v for v in seen.values() if v != seen[wrong]] or [other(seen[wrong])])
        if i == at and kind == "definition":
            rule = Rule(rule.name, rule.left, rng.choice([o for o in OPERATIONS if o != rule.op]), rule.right)
        if i == at and kind == "order" and i + 1 < len(rules):
            continue
        text = step_text(rule, seen, chain.modulus)
        if i == at and kind == "arithmetic":
            head, value = text.rsplit(" ", 1)
            text = f"{head} {other(int(value))}"
        known[rule.name] = int(text.rsplit(" ", 1)[1])
        steps.append(text)
        if i == at and kind == "premature" and i + 1 < len(rules):
            return [*steps, f"The answer is {known[rule.name]}"]
    final = other(known[chain.target]) if kind == "answer" else known[chain.target]
    steps.append(f"The answer is {final}")
    return steps


def critique(found: Finding | None) -> str:
    """What a teacher says of a solution; steps are counted from 1, as readers do."""
    return "Every step is right" if found is None else f"Step {found.step + 1} is wrong : {found.why}"
