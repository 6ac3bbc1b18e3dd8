"""Turn away critiques and reflections that give away what their makers were shown.

What they say is searched for the reference answer and the gold steps (errata.verifiers.leak). What no rule can see, an
engine can be asked: if it finds the answer with nothing but the critique, the problem masked, then the critique holds
the answer, however it is put. Such a critique mends any attempt, and teaches a critic to know what it cannot know.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Literal

from msgspec.structs import replace

from errata.records.types import WORDED, Additions, Attempt, Check, Critique, Drop, Episode, Estimate, Verdict
from errata.registry import Count, PromptName, Role, StepName, stage
from errata.stages.base import Context, filtered, gather, new_id, request_seed
from errata.verifiers.leak import Leak, leaks, masked

VERSION = 1
SHOWN = ("reflection", "feedback", "critique")
"""Roles of an attempt's steps that its maker may have copied from what it was shown."""


@stage(version=VERSION)
async def scrub(
    episode: Episode,
    ctx: Context,
    *,
    of: tuple[StepName, ...] = ("critique",),
    policy: Literal["reject", "mask"] = "reject",
    placeholder: str = "[...]",
    phrases: bool = True,
    words: int = 8,
    role: Role = "",
    prompt: PromptName = "answer_from_critique",
    n: Count = 4,
    most_answerable: float = 0.5,
    options: dict[str, Any] = {},
) -> Additions:
    """Pass or turn away the critiques, and the attempts with reflections, of the steps `of`.

    Rejected is what holds the reference answer or a gold step in any of its forms, `words` words in a row of a gold
    step (0: never) or, with `phrases`, talk of a reference; what the problem or the attempt says is no secret. With a
    `role`, that engine is asked n times for the answer with the critique alone, the problem masked; the share of right
    answers is the Estimate `answerability`, and one above `most_answerable` rejects.

    `mask` adds, for a critique that leaks, a copy (`of` names the original) with `placeholder` for every leak, which
    must pass the same tests; the original is rejected all the same. `options` are the verifier's.
    """
    if not placeholder.strip():
        placeholder = "[...]"
    found: dict[str, list[Check]] = {}
    copies: list[Critique] = []
    texts: dict[str, str] = {}
    for target, text, known in _targets(episode, of):
        hits = leaks(episode.problem, text, known, phrases=phrases, words=words)
        found[target.id] = [_check(hits)]
        if not hits:
            texts[target.id] = text
        elif policy == "mask" and isinstance(target, Critique):
            copy = _masked(episode, ctx, target, masked(text, hits, placeholder))
            copies.append(copy)
            left = leaks(episode.problem, copy.text, known, phrases=phrases, words=words)
            found[copy.id] = [_check(left)]
            if not left:
                texts[copy.id] = copy.text
    estimates: list[Estimate] = []
    failed: tuple[Drop, ...] = ()
    if role:
        estimates, failed = await _answered(episode, ctx, texts, role, prompt, n, options)
        for e in estimates:
            held = e.value <= most_answerable
            told = f"{e.value:.2f} of {e.n} answers from it alone are right, at most {most_answerable:g} may be"
            found[e.target].append(Check(name="not_answerable", outcome="pass" if held else "fail", detail=told))
    verdicts = [_verdict(ctx, target, checks) for target, checks in found.items()]
    codes = {"no_leak": "leak", "not_answerable": "answerable"}
    drops = [
        filtered(episode, ctx, v.target, codes[first.name], first.detail)
        for v in verdicts
        if (first := next((c for c in v.checks if c.outcome == "fail"), None))
    ]
    return Additions(
        critiques=tuple(copies), verdicts=tuple(verdicts), estimates=tuple(estimates), drops=(*drops, *failed)
    )


def _targets(episode: Episode, of: tuple[str, ...]) -> Iterator[tuple[Critique | Attempt, str, tuple[str, ...]]]:
    """(record, what it says, what is no secret in it) of the critiques and attempts of these steps.

    The steps of the attempt that is criticised are known; so are those that an attempt takes over from its parent.
    """
    attempts = {a.id: a for a in episode.attempts}
    for c in episode.critiques:
        if c.stage in of and c.source in WORDED and c.text.strip():
            yield c, c.text, tuple(s.text for s in attempts[c.attempt].steps)
    for a in episode.attempts:
        said = "\n".join(s.text for s in a.steps if s.role in SHOWN)
        if a.stage in of and said.strip():
            yield a, said, tuple(s.text for s in attempts[a.parent].steps) if a.parent in attempts else ()


def _check(hits: tuple[Leak, ...]) -> Check:
    told = "; ".join(dict.fromkeys(h.what for h in hits))
    return Check(name="no_leak", outcome="fail" if hits else "pass", detail=told[:500])


def _masked(episode: Episode, ctx: Context, critique: Critique, text: str) -> Critique:
    return replace(
        critique, id=new_id(episode, ctx, critique.id, 0), stage=ctx.stage, text=text, of=(critique.id,),
        findings=(), call=None,
    )  # fmt: skip


async def _answered(
    episode: Episode, ctx: Context, texts: Mapping[str, str], role: str, prompt: str, n: int, options: dict[str, Any]
) -> tuple[list[Estimate], tuple[Drop, ...]]:
    """The share of n answers that are right when nothing but a text is known; one that cannot be read is not right."""
    template = ctx.prompt(prompt)

    async def one(target: str, text: str, k: int) -> tuple[str, bool]:
        alone = Critique(
            id=target, attempt="", stage=ctx.stage, index=0, source="critic", verdict="unknown", text=text
        )  # fmt: skip
        answer = await ctx.ask(
            role, template.render(replace(episode.problem, messages=()), None, alone, index=k),
            seed=request_seed(episode, ctx, target, k), template=template.label,
        )  # fmt: skip
        judged = await ctx.judge(episode.problem, answer.text, options=options)
        return target, answer.complete and judged.outcome == "pass"

    tasks = {new_id(episode, ctx, f"{t}:answer", k): one(t, text, k) for t, text in texts.items() for k in range(n)}
    made, drops = await gather(episode, ctx, tasks)
    right: dict[str, list[bool]] = {}
    for target, passed in made:
        right.setdefault(target, []).append(passed)
    return [
        Estimate(
            target=t, stage=ctx.stage, name="answerability", value=sum(xs) / len(xs), n=len(xs), engine=role
        )
        for t, xs in right.items()
    ], drops  # fmt: skip


def _verdict(ctx: Context, target: str, checks: list[Check]) -> Verdict:
    broken = [c for c in checks if c.outcome == "fail"]
    return Verdict(
        target=target, stage=ctx.stage, verifier="scrub", version=VERSION, outcome="fail" if broken else "pass",
        checks=tuple(checks), evidence="; ".join(c.detail for c in broken)[:500],
    )  # fmt: skip
