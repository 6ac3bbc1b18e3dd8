"""Tasks of the methods in which a teacher writes for a student: worked templates, plans, tailored solutions, causes."""

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
