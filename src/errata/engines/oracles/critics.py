"""Tasks of the methods that train critics: a judgement of every step, then of the answer."""

from errata import chains
from errata.chains import Chain, Finding
from errata.engines.oracles import Asked, task


@task("judge every step")
def every_step(asked: Asked) -> str:
    """Each step repeated, Correct or Wrong, with the reason; the final answer's judgement; the first wrong step.

    Badly answered, it blames another step, or clears a wrong solution.
    """
    steps, found = asked.attempt, asked.finding
    if not asked.well:
        found = _elsewhere(asked, steps, found)
    lines = []
    for i, step in enumerate(steps):
        wrong = _wrong(asked.chain, i, step, found)
        lines += [f"Step {i + 1}: {step.strip()}", f"Judgement: {'Wrong' if wrong else 'Correct'}"]
        lines.append(f"Explanation: {wrong or 'it follows from what is given'}")
    lines.append(f"Final answer: {'Wrong' if found else 'Correct'}")
    if found and found.step >= len(steps):
        lines.append(f"Explanation: {chains.critique(found)}")
    else:
        lines.append(f"Explanation: {'it rests on a wrong step' if found else 'Every step is right'}")
    return "\n".join([*lines, f"First wrong step: {found.step + 1 if found else 'none'}"])


def _wrong(chain: Chain, i: int, step: str, found: Finding | None) -> str:
    """What is wrong with step i, if anything; after the first error, all that is not right in itself."""
    if found is None or i < found.step:
        return ""
    if i == found.step:
        return chains.critique(found)
    return "" if step.strip() in chain.right_steps else f"it rests on step {found.step + 1}"


def _elsewhere(asked: Asked, steps: tuple[str, ...], truth: Finding | None) -> Finding | None:
    choices = [i for i in (None, *range(len(steps))) if i != (truth.step if truth else None)]
    step = asked.rng.choice(choices) if choices else None
    if step is None:
        return None
    name = (steps[step].split() or [asked.chain.target])[0]
    return Finding(step, "definition", str(asked.chain.rule(name) or f"{name} is not given"))
