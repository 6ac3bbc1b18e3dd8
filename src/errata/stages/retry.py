"""Weave wrong steps into right solutions, each followed by a sign that it is taken back and by the right step.

    birch is cedar times 3 = 4 times 3 so birch is 1      a wrong step, proven wrong, masked by default
    [BACK]                                                a marker, a fixed sentence, or a reflection on this step
    birch is amber plus 6 = 7 plus 6 so birch is 2        the solution goes on as if nothing had been

Without the woven lines the solution stands there character for character. Shapes: the retry data of Physics of
Language Models 2.2 (arXiv:2408.16293), S3c-Math's step-level corrections (arXiv:2409.01524), and the control of
arXiv:2512.02389, whose errors are made by rule.
"""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

from msgspec.structs import replace

from errata import chains
from errata.errors import RecipeError
from errata.records.types import Additions, Attempt, Critique, Drop, Episode, Step, StepSource, Tag
from errata.registry import Count, Most, StepName, stage
from errata.stages.base import Context, chosen, filtered, named, new_id, proven, rng

Source = Literal["own", "rule", "later", "random"]
Mask = Literal["wrong_step", "none"]
"""What is kept from the loss; reports differ on its worth: arXiv:2408.16293 found masks unnecessary."""


class Wrong(NamedTuple):
    """A step that is wrong where it stands: whose it is, and what tells that it is wrong."""

    text: str
    source: Source
    by: StepSource
    attempt: Attempt | None = None
    seen: tuple[str, ...] = ()
    reflection: Critique | None = None


Pools = Mapping[int, Sequence[Wrong]]
"""What may be said wrongly in the place of each step."""


@stage(version=1)
async def retry(
    episode: Episode,
    ctx: Context,
    *,
    of: StepName = "expert",
    sources: tuple[Source, ...] = ("own",),
    wrong: tuple[StepName, ...] = (),
    proofs: tuple[str, ...] = ("gold",),
    forks: StepName = "",
    reflection: StepName = "",
    lead: str = "Wait, ",
    marker: str = "[BACK]",
    p: float = 0.5,
    errors: tuple[int, int] = (0, 0),
    clean: float = 0.0,
    until: str = "",
    mask: Mask = "wrong_step",
    tags: tuple[str, ...] = (),
    n: Count = 1,
    most: Most = 1,
) -> Additions:
    """Weave wrong steps into passing attempts of the step `of`: n trajectories of each of at most `most`.

    own: what the steps `wrong` forked at this step of the solution, proven by `proofs` and `forks` (see `proven` of
    stages.base). rule: what they injected there. later: a later step of the same solution, of which only what stands
    before `until` is said. random: any other operation of the problem. The last two are proven by the checker of the
    procedural family; a problem of another family has none of them.

    Without `errors` a wrong step is woven in with probability `p`, and another one after it, so that p / (1 - p) are
    expected before a step; the same one never comes twice in a row, so that a single candidate is used once at most.
    With `errors`, between so many wrong steps are drawn for a trajectory, none of them twice over the n trajectories,
    and a share `clean` of the trajectories gets none. After each stands `marker`, or, with `reflection`, `lead` and
    what that step wrote about it. `tags` are put on every trajectory.
    """
    _check(p, errors, clean)
    spliced: list[Attempt] = []
    drops: list[Drop] = []
    for base in [a for a in chosen(episode, of=of, outcome="pass") if episode.accepts(a)][: most or None]:
        pools, refused = _pools(episode, ctx, base, _Made(wrong, sources, proofs, forks, reflection), until)
        drops += refused
        deck = [(k, w) for k, pool in pools.items() for w in pool]
        rng(episode, ctx, f"{base.id}:deck").shuffle(deck)
        for i in range(n):
            draw, id = rng(episode, ctx, f"{base.id}:{i}"), new_id(episode, ctx, base.id, i)
            if errors == (0, 0):
                woven = _geometric(draw, base, pools, p)
            elif draw.random() < clean:
                woven = {}
            else:
                count = draw.randint(*errors)
                woven, deck = _grouped(deck[:count]), deck[count:]
                if not woven and errors[0]:
                    if i == 0:
                        drops.append(filtered(episode, ctx, id, "no_wrong_step", f"none is proven for {base.id}"))
                    break
            made = _trajectory(ctx, base, id, i, woven, (lead, marker, mask))
            spliced.append(replace(made, tags=(*named(tags), *made.tags)))
    return Additions(attempts=tuple(spliced), drops=tuple(drops))


def _check(p: float, errors: tuple[int, int], clean: float) -> None:
    if not 0 <= p < 1 or not 0 <= clean <= 1 or not 0 <= errors[0] <= errors[1]:
        raise RecipeError(
            f"retry: p is {p}, from 0 to below 1; clean is {clean}, a share; errors is {list(errors)}, [least, most]"
        )


@dataclass(frozen=True, slots=True)
class _Made:
    """Which attempts hold wrong steps, and what must prove them."""

    steps: tuple[str, ...]
    sources: tuple[Source, ...]
    proofs: tuple[str, ...]
    forks: str
    reflection: str


def _pools(episode: Episode, ctx: Context, base: Attempt, made: _Made, until: str) -> tuple[Pools, list[Drop]]:
    """Distinct wrong steps by the step that they stand for, and the candidates that are not proven to be wrong."""
    pools: dict[int, dict[str, Wrong]] = {k: {} for k in range(len(base.steps))}
    chain = chains.parse(episode.problem.text)
    if chain:
        for at, source, text in _operations(base, chain, made.sources):
            said = text.split(until, 1)[0].rstrip() + "\n" if until else text
            if said.strip() and _is_wrong(chain, base, at, text):
                pools[at].setdefault(said.strip(), Wrong(said, source, "injector", None, ("gold_steps",)))
    doubtful: list[tuple[Attempt, int]] = []
    for attempt in (a for step in made.steps for a in chosen(episode, of=step, outcome="any")):
        k = attempt.fork_step
        if k is None or _maker(attempt) not in made.sources or not _stands_at(base, attempt, k):
            continue
        found = _proven(episode, attempt, k, made)
        if found:
            pools[k].setdefault(found.text.strip(), found)
        elif _suspected(episode, attempt, k):
            doubtful.append((attempt, k))
    drops = [
        filtered(episode, ctx, attempt.id, "not_proven_wrong", f"step {k}: not all proofs call it wrong")
        for attempt, k in doubtful
        if attempt.steps[k].text.strip() not in pools[k]
    ]
    return {k: list(pool.values()) for k, pool in pools.items()}, drops


def _proven(episode: Episode, attempt: Attempt, k: int, made: _Made) -> Wrong | None:
    """Step k of an attempt that was made otherwise there, if it is proven wrong and, where wanted, reflected on."""
    source = _maker(attempt)
    by_rule = source == "rule"
    proof = proven(episode, attempt, () if by_rule else made.proofs, "" if by_rule else made.forks)
    if proof is None or proof.step != k:
        return None
    said = [c for c in episode.critiques if c.attempt == attempt.id and c.stage == made.reflection]
    about = next((c for c in said if (c.verdict, c.first_error) == ("error", k) and c.text.strip()), None)
    if made.reflection and about is None:
        return None
    seen = tuple(sorted({*attempt.seen, *proof.seen, *(about.seen if about else ())}))
    return Wrong(attempt.steps[k].text, source, attempt.steps[k].source, attempt, seen, about)


def _maker(attempt: Attempt) -> Source:
    return "rule" if attempt.kind == "injected" else "own"


def _operations(base: Attempt, chain: chains.Chain, sources: Sequence[Source]) -> list[tuple[int, Source, str]]:
    """(step, source, text) of what a chain offers: later steps of the solution, and operations of the problem."""
    found: list[tuple[int, Source, str]] = []
    for k in range(len(base.steps)):
        if "later" in sources:
            found += [(k, "later", s.text) for s in base.steps[k + 1 :] if s.role != "answer"]
        if "random" in sources:
            found += [(k, "random", f"{line}\n") for line in chain.right_steps]
    return found


def _is_wrong(chain: chains.Chain, base: Attempt, k: int, text: str) -> bool:
    """Whether the checker of the family finds its first error in `text`, after the first k steps of the solution."""
    before = [line for s in base.steps[:k] for line in s.text.split("\n") if line.strip()]
    found = chains.first_error(chain, [*before, text])
    return found is not None and found.step == len(before)


def _stands_at(base: Attempt, attempt: Attempt, k: int) -> bool:
    """Whether the attempt says something else than the solution in the place of step k, and the same before."""
    if not attempt.complete or k >= min(len(base.steps), len(attempt.steps)):
        return False
    same = [s.text for s in base.steps[:k]] == [s.text for s in attempt.steps[:k]]
    return same and base.steps[k].text.strip() != attempt.steps[k].text.strip()


def _suspected(episode: Episode, attempt: Attempt, k: int) -> bool:
    """Whether somebody says that the attempt goes wrong at step k."""
    return any(c.attempt == attempt.id and (c.verdict, c.first_error) == ("error", k) for c in episode.critiques)


def _geometric(draw: random.Random, base: Attempt, pools: Pools, p: float) -> dict[int, list[Wrong]]:
    """Before each step one more wrong step as long as a coin of bias p says so, unlike the one before it."""
    woven: dict[int, list[Wrong]] = {}
    for k in range(len(base.steps)):
        mine: list[Wrong] = []
        while draw.random() < p:
            others = [w for w in pools[k] if w not in mine[-1:]]
            if not others:
                break
            mine.append(draw.choice(others))
        woven[k] = mine
    return woven


def _grouped(drawn: Sequence[tuple[int, Wrong]]) -> dict[int, list[Wrong]]:
    return {k: [w for at, w in drawn if at == k] for k in sorted({k for k, _ in drawn})}


def _trajectory(
    ctx: Context, base: Attempt, id: str, index: int, woven: Mapping[int, Sequence[Wrong]], words: tuple[str, str, Mask]
) -> Attempt:
    lead, marker, mask = words
    steps: list[Step] = []
    for k, step in enumerate(base.steps):
        mine = woven.get(k, ())
        for w in mine:
            said = lead + w.reflection.text.strip() if w.reflection else marker
            steps.append(Step(text=w.text, source=w.by, train=mask == "none"))
            steps.append(
                Step(
                    text=f"{said}\n" if w.text.endswith("\n") else f"\n{said}\n",
                    role="reflection" if w.reflection else "marker",
                    source="teacher" if w.reflection else "template",
                )
            )
        steps.append(replace(step, role="correction") if mine and step.role != "answer" else step)
    used = [w for k in sorted(woven) for w in woven[k]]
    return Attempt(
        id=id, stage=ctx.stage, index=index, kind="spliced", steps=tuple(steps),
        parent=next((w.attempt.id for w in used if w.attempt), None), other=base.id,
        fork_step=next((k for k in sorted(woven) if woven[k]), None),
        style="reflection" if any(w.reflection for w in used) else "retry",
        critique=next((w.reflection.id for w in used if w.reflection), None),
        seen=tuple(sorted({*base.seen, *(name for w in used for name in w.seen)})), tags=_tags(used),
    )  # fmt: skip


def _tags(used: Sequence[Wrong]) -> tuple[Tag, ...]:
    """How many errors were woven in, whose they are, by what rule they were made, and the attempts that made them."""
    rules = {w.attempt.injection.kind for w in used if w.attempt and w.attempt.injection}
    return (
        Tag(name="errors", value=str(len(used))),
        *(Tag(name="error_source", value=s) for s in sorted({w.source for w in used})),
        *(Tag(name="error_kind", value=kind) for kind in sorted(rules)),
        *(Tag(name="wrong_step_of", value=w.attempt.id) for w in used if w.attempt),
    )
