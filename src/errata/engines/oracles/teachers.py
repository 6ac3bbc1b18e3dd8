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
