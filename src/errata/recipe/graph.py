"""The DAG of a recipe: each step's predecessors, in an order in which all can run."""

from errata.recipe.spec import Recipe


def predecessors(recipe: Recipe) -> dict[str, tuple[str, ...]]:
    """Each step's direct predecessors; without `after` a step follows the one above it."""
    found: dict[str, tuple[str, ...]] = {}
    last: tuple[str, ...] = ()
    for step in recipe.stages:
        found[step.name] = last if step.after is None else step.after
        last = (step.name,)
    return found


def order(recipe: Recipe) -> tuple[list[str], list[str]]:
    """(steps in an order in which each follows its predecessors, faults)."""
    before = predecessors(recipe)
    faults = [
        f"stages.{name}.after: there is no step {p!r}; there are {', '.join(before)}"
        for name, ps in before.items() for p in ps if p not in before
    ]  # fmt: skip
    if faults:
        return [], faults
    done: list[str] = []
    while len(done) < len(before):
        ready = [n for n, ps in before.items() if n not in done and all(p in done for p in ps)]
        if not ready:
            return [], [f"stages: {', '.join(n for n in before if n not in done)} wait for each other"]
        done.append(ready[0])
    return done, []


def ancestors(recipe: Recipe, name: str) -> set[str]:
    """Every step that has run when `name` begins. The graph has no fault."""
    before = predecessors(recipe)
    found: set[str] = set()
    waiting = list(before[name])
    while waiting:
        step = waiting.pop()
        if step not in found:
            found.add(step)
            waiting += before[step]
    return found


def ends(recipe: Recipe) -> list[str]:
    """Steps that nothing follows."""
    before = predecessors(recipe)
    return [n for n in before if not any(n in ps for ps in before.values())]
