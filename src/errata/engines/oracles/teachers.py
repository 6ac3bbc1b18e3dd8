"""Tasks of the methods in which a teacher writes for a student: worked templates, plans, tailored solutions, causes."""

from collections.abc import Mapping
from typing import Any

from errata import chains
from errata.engines.oracles import Asked, task

_METHOD = (
    "Start from what is given as a number. Compute a value only once both of its operands are known, copy its "
    "definition before putting numbers in, reduce the result at once, and leave out what the question does not rest on."
)


@task("write the thought template")
def template(asked: Asked) -> str:
    """The gold solution in numbered blocks, with a key where order or reduction matter; badly answered, with a slip."""
    *steps, last = chains.solve(asked.chain) if asked.well else _slipped(asked)
    blocks = []
    for i, step in enumerate(steps, 1):
        key = _key(asked.chain, step)
        blocks.append(f"<Step{i}>\n" + (f"<Key>{key}</Key>\n" if key else "") + f"{step}\n</Step{i}>")
    return "\n".join([*blocks, f"<Generalized>\n{_METHOD}\n</Generalized>", last])


def _key(chain: chains.Chain, step: str) -> str:
    """What is hard about a step, if anything is."""
    words = step.split()
    a, op, b = int(words[6]), words[7], int(words[8])
    plain = {"plus": a + b, "minus": a - b, "times": a * b}[op]
    if 0 <= plain < chain.modulus:
        return ""
    why = "falls below zero" if plain < 0 else "is too large"
    return f"The plain result {plain} {why}: it is taken modulo {chain.modulus}."


def _slipped(asked: Asked) -> list[str]:
    """The gold solution with one slip in its arithmetic, carried through to the answer."""
    made = chains.slip(asked.rng, asked.chain, "arithmetic")
    return made if made is not None else chains.solve(asked.chain)


@task("select the reasoning modules")
def modules(asked: Asked) -> str:
    """Some of the modules that are listed, drawn from the request's seed."""
    listed = [line for line in asked.text.split("\n") if line.startswith("- ")]
    picked = asked.rng.sample(listed, min(len(listed), asked.rng.randint(2, 4)))
    return "\n".join(line for line in listed if line in picked)


@task("adapt the modules to the task")
def adapted(asked: Asked) -> str:
    """What the question rests on, and what it does not; no value is named."""
    names = [rule.name for rule in chains.needed(asked.chain)]
    idle = [rule.name for rule in asked.chain.rules if rule.op and rule.name not in names]
    first = f"{names[-1]} rests on {len(names) - 1} other computed values, and each of them on given or computed ones."
    return f"{first} Nothing rests on {' or '.join(idle)}." if idle else first


@task("write the reasoning structure")
def structure(asked: Asked) -> str:
    """The definitions to compute, in an order in which each can be; badly answered, in the problem's own order."""
    rules = chains.needed(asked.chain)
    return "\n".join(str(rule) for rule in (rules if asked.well else sorted(rules, key=asked.chain.rules.index)))


@task("write the tailored rationale")
def tailored(asked: Asked) -> str:
    """The right steps that the student began with, then the rest in an order drawn from the request's seed.

    Sometimes a right step that nothing needs is among them, so that one problem has several right rationales. Badly
    answered, it is a solution with a slip.
    """
    if not asked.well:
        return "\n".join(_slipped(asked))
    chain, said, error = asked.chain, asked.attempt, asked.finding
    begun = [
        line.strip() for line in (said if error is None else said[: error.step]) if line.strip() in chain.right_steps
    ]
    done = {chain.right_steps[line].name for line in begun}
    known = done | {rule.name for rule in chain.rules if not rule.op}
    needed = chains.needed(chain)
    idle = [rule for rule in chain.right_steps.values() if rule not in needed]
    todo = [rule for rule in (*needed, *(r for r in idle if asked.rng.random() < 1 / 2)) if rule.name not in done]
    steps = list(begun)
    while any(rule in needed for rule in todo):
        rule = asked.rng.choice([r for r in todo if known.issuperset(r.operands)])
        todo.remove(rule)
        known.add(rule.name)
        steps.append(chains.step_text(rule, chain.values(), chain.modulus))
    return "\n".join([*steps, chains.solve(chain)[-1]])


@task("explain the mistake")
def mistake(asked: Asked) -> Mapping[str, Any]:
    """The first error as a finding, its kind one of the family's; badly answered, another step is blamed."""
    found = asked.finding
    if found is None:
        return {"first_error": -1, "findings": []}
    last = max(len(asked.attempt) - 1, 0)
    step = found.step if asked.well else (found.step + 1) % (last + 1)
    remark = {"step": min(step, last), "kind": found.kind if asked.well else "calculation", "text": found.why}
    return {"first_error": step, "findings": [remark]}
