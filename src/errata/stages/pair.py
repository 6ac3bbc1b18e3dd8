"""Set two attempts, or two critiques of one attempt, against each other: which one is preferred, and by what rule.

    outcome      a right and a wrong sample of one problem, drawn at random
    revision     a revision and what it revised, whichever is right; both answer the original prompt (SCL's shape)
    first_error  two continuations of the same first steps: a right one over a wrong one (step-level preference)
    correction   two corrections that go on from the same wrong step: the one by `of` over the one by `against`
    reward       two attempts by their verdicts' scores, one above `alpha` and at least `margin` over the other;
                 compared from the first step that differs, where both begin with the same steps
    score        the best and the worst of a group by a named estimate, at least `margin` apart
    diverse      right attempts in different words, each with the wrong one that shares most of its first steps
    effect       two critiques of one attempt by how often revisions with them pass

An attempt or critique without a known verdict or estimate is in no pair.
"""

from collections.abc import Iterable, Iterator
from itertools import combinations
from typing import Literal, NamedTuple

from errata.records.types import Additions, Attempt, Drop, Episode, Outcome, Pair, Tag
from errata.registry import Most, StepName, stage
from errata.stages.base import Context, chosen, filtered, new_id, rng

Rule = Literal["outcome", "revision", "first_error", "correction", "reward", "score", "diverse", "effect"]


# Means of shares carry an error of rounding: 5/6 - 1/3 may come out just below 1/2.
ROUNDING = 1e-9


class Found(NamedTuple):
    """A pair that a rule allows."""

    chosen: str
    rejected: str
    step: int | None = None
    margin: float | None = None
    tags: tuple[Tag, ...] = ()


@stage(version=1)
async def pair(
    episode: Episode,
    ctx: Context,
    *,
    rule: Rule = "outcome",
    of: tuple[StepName, ...] = ("sample",),
    against: tuple[StepName, ...] = (),
    estimate: str = "closed_loop_gain",
    margin: float = 0.0,
    alpha: float = 0.5,
    most: Most = 1,
    worse: tuple[Literal["pass", "fail"], ...] = ("fail",),
    tags: dict[str, str] = {},
) -> Additions:
    """Pair what the steps `of` made, by `rule`, with each other or with what the steps `against` made.

    `worse` is what verdict the rejected one of two corrections may have: a student's own may be right as well.
    `estimate`, a mean over all steps that measured it, names the number that `score` and `effect` compare; pairs less
    than `margin` apart are none. A pair by `reward` has the tag `parted_by`: whose words differ first, the agent's or
    the environment's. `tags` label the pairs, by name.
    """
    if rule == "outcome":
        pairs_of = _outcomes(episode, ctx, of, against)
    elif rule == "revision":
        pairs_of = _revisions(episode, of, against)
    elif rule == "first_error":
        pairs_of = _continuations(episode, of, against)
    elif rule == "correction":
        pairs_of = _corrections(episode, of, against, worse)
    elif rule == "reward":
        pairs_of = _rewards(episode, of, against, alpha, margin)
    elif rule == "score":
        pairs_of = _scores(episode, of, estimate, margin)
    elif rule == "diverse":
        pairs_of = _diverse(episode, of, against)
    else:
        pairs_of = _effects(episode, of, estimate, margin)
    pairs: list[Pair] = []
    drops: list[Drop] = []
    for found in pairs_of:
        id = new_id(episode, ctx, f"{found.chosen}:{found.rejected}", 0)
        if most and len(pairs) >= most:
            drops.append(filtered(episode, ctx, id, "enough", f"{most} {rule} pairs a problem"))
            continue
        pairs.append(
            Pair(
                id=id, stage=ctx.stage, index=len(pairs), rule=rule, chosen=found.chosen, rejected=found.rejected,
                step=found.step, margin=found.margin,
                tags=(*found.tags, *(Tag(name=name, value=value) for name, value in sorted(tags.items()))),
            )
        )  # fmt: skip
    return Additions(pairs=tuple(pairs), drops=tuple(drops))


def _made(episode: Episode, steps: tuple[str, ...]) -> list[Attempt]:
    return [a for step in steps for a in chosen(episode, of=step, outcome="any") if a.complete]


def _outcomes(episode: Episode, ctx: Context, of: tuple[str, ...], against: tuple[str, ...]) -> Iterator[Found]:
    """Each right attempt with a wrong one, in an order drawn from the problem's id."""
    right = [a for a in _made(episode, of) if episode.accepts(a)]
    wrong = [a for a in _made(episode, against or of) if episode.outcome(a.id) == "fail"]
    draw = rng(episode, ctx, "pairs")
    draw.shuffle(right)
    draw.shuffle(wrong)
    for a, b in zip(right, wrong, strict=False):
        yield Found(a.id, b.id)


def _revisions(episode: Episode, of: tuple[str, ...], against: tuple[str, ...]) -> Iterator[Found]:
    """Revisions by the steps `of` (of attempts by the steps `against`, if any) with what they revised."""
    for second in _made(episode, of):
        if second.parent is None:
            continue
        first = episode.attempt(second.parent)
        if not first.complete or (against and first.stage not in against):
            continue
        for better, worse in ((second, first), (first, second)):
            if episode.accepts(better) and episode.outcome(worse.id) == "fail":
                yield Found(better.id, worse.id)


def _continuations(episode: Episode, of: tuple[str, ...], against: tuple[str, ...]) -> Iterator[Found]:
    """Right and wrong attempts that share their first steps, compared from the first that differs.

    The chosen one goes on from the rejected one's first steps, as a fork or revision of it does.
    """
    for better in _made(episode, of):
        for worse in _made(episode, against or of):
            related = better.parent in (worse.id, worse.parent) and better.parent is not None
            if not (related and episode.accepts(better) and episode.outcome(worse.id) == "fail"):
                continue
            step = shared_steps(better, worse)
            if step:
                yield Found(better.id, worse.id, step)


def _corrections(
    episode: Episode, of: tuple[str, ...], against: tuple[str, ...], worse: tuple[Outcome, ...]
) -> Iterator[Found]:
    """Corrections of one attempt from one wrong step on, which both keep: compared from the step after it."""
    for better in _made(episode, of):
        for other in _made(episode, against):
            place = better.fork_step
            if place is None or (better.parent, place) != (other.parent, other.fork_step):
                continue
            same = better.text == other.text
            if not same and episode.accepts(better) and episode.outcome(other.id) in worse:
                yield Found(better.id, other.id, place + 1)


def shared_steps(a: Attempt, b: Attempt) -> int:
    """How many steps both attempts begin with, character for character; at least one of each is left over."""
    most = min(len(a.steps), len(b.steps)) - 1
    return next((i for i in range(most) if a.steps[i].text != b.steps[i].text), max(0, most))


def _rewards(
    episode: Episode, of: tuple[str, ...], against: tuple[str, ...], alpha: float, margin: float
) -> Iterator[Found]:
    """Good attempts, which no filter rejects, with bad ones, widest apart first; as in Agent-R (2501.11425)."""
    found: list[Found] = []
    for better in _made(episode, of):
        for worse in _made(episode, against or of):
            high, low = _reward(episode, better), _reward(episode, worse)
            if high is None or low is None or high <= low or high <= alpha or high - low < margin - ROUNDING:
                continue
            if episode.rejects(better.id):
                continue
            step = shared_steps(better, worse)
            agent = better.steps[step].role != "observation"
            tags = (Tag(name="parted_by", value="agent" if agent else "environment"),)
            found.append(Found(better.id, worse.id, step or None, high - low, tags))
    yield from sorted(found, key=lambda f: (-(f.margin or 0.0), f.chosen, f.rejected))


def _reward(episode: Episode, attempt: Attempt) -> float | None:
    """The score in the verdict of the problem's own verifier."""
    mine = (v for v in episode.verdicts if v.target == attempt.id and v.verifier == episode.problem.verifier)
    return next((v.score for v in mine if v.score is not None), None)


def _scores(episode: Episode, of: tuple[str, ...], estimate: str, margin: float) -> Iterator[Found]:
    """The best with the worst, the second best with the second worst, and so on; ties go by id."""
    scored = [(value, a.id) for a in _made(episode, of) if (value := _measured(episode, a.id, estimate)) is not None]
    order = sorted(scored, reverse=True)
    for (high, better), (low, worse) in zip(order, reversed(order), strict=True):
        if high == low or high - low < margin - ROUNDING:
            return
        yield Found(better, worse, None, high - low)


def _diverse(episode: Episode, of: tuple[str, ...], against: tuple[str, ...]) -> Iterator[Found]:
    """Distinct right attempts with distinct wrong ones, the hardest to tell apart first; none is in two pairs."""
    right = _distinct(a for a in _made(episode, of) if episode.accepts(a))
    wrong = _distinct(a for a in _made(episode, against or of) if episode.outcome(a.id) == "fail")
    shared = {(a.id, b.id): shared_steps(a, b) for a in right for b in wrong}
    used: set[str] = set()
    for a, b in sorted(shared, key=lambda both: (-shared[both], both)):
        if not {a, b} & used:
            used |= {a, b}
            yield Found(a, b)


def _distinct(attempts: Iterable[Attempt]) -> list[Attempt]:
    """The first attempt of each wording, white space aside."""
    found: dict[str, Attempt] = {}
    for a in attempts:
        found.setdefault(" ".join(a.text.split()), a)
    return list(found.values())


def _measured(episode: Episode, target: str, name: str) -> float | None:
    """The estimate `name` over all steps that measured it, each by its samples: several revisers cut noise."""
    found = [e for e in episode.estimates if e.target == target and e.name == name and e.step is None]
    n = sum(e.n for e in found)
    return sum(e.value * e.n for e in found) / n if n else None


def _effects(episode: Episode, of: tuple[str, ...], estimate: str, margin: float) -> Iterator[Found]:
    """Critiques of one attempt, widest apart first."""
    found = []
    mine = [c for c in episode.critiques if c.stage in of]
    for a, b in combinations(mine, 2):
        left, right = _measured(episode, a.id, estimate), _measured(episode, b.id, estimate)
        if (
            a.attempt != b.attempt
            or a.text == b.text
            or left is None
            or right is None
            or left == right
            or abs(left - right) < margin - ROUNDING
        ):
            continue
        better, worse = (a, b) if left > right else (b, a)
        found.append(Found(better.id, worse.id, None, abs(left - right)))
    yield from sorted(found, key=lambda f: (-(f.margin or 0.0), f.chosen, f.rejected))
