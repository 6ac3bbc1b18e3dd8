"""Search a tree of steps for right and wrong paths: sample, value steps by how their paths end, go on from the best.

The process reward of a prefix is its Monte-Carlo value, the share of the paths through it that pass the verifier; where
that checks steps too, a wrong step fails them all. A prefix through which no path passes is pruned. The score of a path
is half its outcome and half the mean value of its prefixes (process and outcome reward, as in SPHERE,
arXiv:2503.04813), so that two paths at least half apart are a right and a wrong one.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from errata.records.segment import Rule
from errata.records.types import Additions, Attempt, Drop, Episode, Estimate, Verdict
from errata.registry import Count, PromptName, Role, stage
from errata.stages.base import Context, ask_attempt, gather, new_id, quarantined, verdict_of


@stage(version=1)
async def search(
    episode: Episode,
    ctx: Context,
    *,
    role: Role = "student",
    prompt: PromptName = "solve",
    width: Count = 4,
    beam: Count = 2,
    depth: Count = 3,
    options: dict[str, Any] = {},
    steps: Rule = "lines",
) -> Additions:
    """Sample `width` paths from the start, then as many from each of the `beam` best prefixes of 1 to `depth` steps.

    Estimates: `mc_value` of the first `step` steps of every path, and its `path_score`. `options` are the verifier's.
    """
    template = ctx.prompt(prompt)
    paths: list[Attempt] = []
    verdicts: list[Verdict] = []
    drops: list[Drop] = []
    starts: list[Attempt | None] = [None]
    for level in range(depth + 1):
        tasks = {
            new_id(episode, ctx, _branch(start, level), k): ask_attempt(
                episode, ctx, template.render(episode.problem, index=k), kind="search", role=role,
                branch=_branch(start, level), k=k, steps=steps, template=template.label,
                prefix=start.steps[:level] if start else (), parent=start.id if start else None,
                fork_step=level if start else None,
            )
            for start in starts
            for k in range(width)
        }  # fmt: skip
        made, lost = await gather(episode, ctx, tasks)
        paths += made
        verdicts += [await verdict_of(episode, ctx, a, options=options) for a in made]
        drops += lost
        starts = _best(paths, _passed(verdicts), level + 1, beam)
        if not starts:
            break
    if not paths:
        drops.append(quarantined(episode, ctx, episode.id, "no_attempt", "every path failed"))
    estimates = _measure(ctx.stage, paths, _passed(verdicts), depth)
    return Additions(attempts=tuple(paths), verdicts=tuple(verdicts), estimates=estimates, drops=tuple(drops))


def _branch(start: Attempt | None, level: int) -> str:
    return f"{start.id}:{level}" if start else ""


def _passed(verdicts: Sequence[Verdict]) -> dict[str, bool]:
    """Whether a path passes, by its id; one with an unknown verdict says nothing."""
    return {v.target: v.outcome == "pass" for v in verdicts if v.outcome != "unknown"}


def _prefix(path: Attempt, size: int) -> str:
    return "".join(s.text for s in path.steps[:size])


def _values(paths: Sequence[Attempt], passed: Mapping[str, bool], size: int) -> dict[str, tuple[float, int]]:
    """(share of paths that pass, paths) of every prefix of `size` steps that is not a whole path."""
    through: dict[str, list[bool]] = {}
    for path in paths:
        if path.id in passed and len(path.steps) > size:
            through.setdefault(_prefix(path, size), []).append(passed[path.id])
    return {prefix: (sum(ends) / len(ends), len(ends)) for prefix, ends in through.items()}


def _best(paths: Sequence[Attempt], passed: Mapping[str, bool], size: int, beam: int) -> list[Attempt | None]:
    """A path through each of the `beam` prefixes of the highest value; those of no value are pruned."""
    values = _values(paths, passed, size)
    first = {_prefix(p, size): p for p in reversed(paths)}
    ranked = sorted(values, key=lambda prefix: (-values[prefix][0], -values[prefix][1], prefix))
    return [first[prefix] for prefix in ranked[:beam] if values[prefix][0] > 0]


def _measure(stage: str, paths: Sequence[Attempt], passed: Mapping[str, bool], depth: int) -> tuple[Estimate, ...]:
    values = {size: _values(paths, passed, size) for size in range(1, depth + 1)}
    made: list[Estimate] = []
    for path in paths:
        if path.id not in passed:
            continue
        mine = {size: values[size][_prefix(path, size)] for size in values if len(path.steps) > size}
        made += [
            Estimate(target=path.id, stage=stage, name="mc_value", value=value, n=n, step=size)
            for size, (value, n) in mine.items()
        ]
        mean = sum(v for v, _ in mine.values()) / len(mine) if mine else float(passed[path.id])
        score = (passed[path.id] + mean) / 2
        made.append(Estimate(target=path.id, stage=stage, name="path_score", value=score, n=len(mine) + 1))
    return tuple(made)
