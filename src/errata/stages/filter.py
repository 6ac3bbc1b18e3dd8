"""Keep what is fit to learn from: rules over splices and other attempts, and a rule over the whole episode.

A splice that breaks a rule gets a failing verdict of the verifier `filter` and a drop with the rule's name; exports
take only splices that pass. Records are never removed.
"""

from collections.abc import Mapping
from typing import Literal, NamedTuple

from errata.records.types import Additions, Attempt, Check, Drop, Episode, Verdict
from errata.registry import StepName, stage
from errata.stages.base import Context, chosen, filtered
from errata.verifiers.leak import leaked

VERSION = 1


@stage(version=VERSION, name="filter")
async def filter_(
    episode: Episode,
    ctx: Context,
    *,
    of: StepName = "splice",
    leaks: bool = True,
    agree: tuple[str, ...] = (),
    abstain: bool = False,
    outcome: Literal["pass", "any"] = "pass",
    also: tuple[str, ...] = (),
    judge: StepName = "",
    betrays: tuple[str, ...] = (),
    least: dict[str, float] = {},
    against: StepName = "",
    band: tuple[float, float] = (0.0, 1.0),
    need: tuple[Literal["splice", "pair"], ...] = ("splice", "pair"),
    samples: StepName = "sample",
) -> Additions:
    """Reject splices that fail, leak or are located at odds; end episodes outside `band` or with nothing to teach.

    An empty `of` judges no attempt, and the episode alone. `band` is of the share of the `samples` that pass.
    With `abstain`, a locator of `agree` that could not say anything need not agree. `outcome` any asks nothing of the
    problem's own verifier; `also` names others that must pass. `judge` is a step whose critiques must find no error.
    `betrays` are words, in any case, by which a text shows that its writer knew the answer.
    `least` names estimates and what they must reach, counted from their mean over the attempts by `against` if named.
    """
    rules = _Rules(leaks, agree, abstain, outcome, also, judge, betrays, least, against)
    verdicts: list[Verdict] = []
    drops: list[Drop] = []
    kept = 0
    for attempt in chosen(episode, of=of, outcome="any") if of else ():
        checks = _checks(episode, attempt, rules)
        failed = [c for c in checks if c.outcome != "pass"]
        verdicts.append(
            Verdict(
                target=attempt.id, stage=ctx.stage, verifier="filter", version=VERSION,
                outcome="fail" if failed else "pass", checks=checks, evidence="; ".join(c.name for c in failed),
            )
        )  # fmt: skip
        if failed:
            drops.append(filtered(episode, ctx, attempt.id, failed[0].name, failed[0].detail))
        kept += not failed
    reason = _ending(episode, samples, band, need, kept)
    if reason:
        drops.append(filtered(episode, ctx, episode.id, *reason))
    return Additions(verdicts=tuple(verdicts), drops=tuple(drops))


class _Rules(NamedTuple):
    """What an attempt must hold to; see the parameters of the stage."""

    leaks: bool
    agree: tuple[str, ...]
    abstain: bool
    outcome: Literal["pass", "any"]
    also: tuple[str, ...]
    judge: str
    betrays: tuple[str, ...]
    least: Mapping[str, float]
    against: str


def _checks(episode: Episode, attempt: Attempt, rules: _Rules) -> tuple[Check, ...]:
    checks = []
    if rules.outcome == "pass":
        said = episode.outcome(attempt.id)
        checks.append(_check("correction_passes", said == "pass", f"the verdict is {said}"))
    for verifier in rules.also:
        said = episode.outcome(attempt.id, verifier)
        checks.append(_check(f"{verifier}_passes", said == "pass", f"the verdict is {said}"))
    if rules.judge:
        verdicts = [c.verdict for c in episode.critiques if (c.attempt, c.stage) == (attempt.id, rules.judge)]
        fine = bool(verdicts) and set(verdicts) == {"no_error"}
        checks.append(_check("judged_right", fine, ", ".join(verdicts) or "nobody judged it"))
    if rules.betrays:
        plain = " ".join(attempt.text.lower().split())
        words = next((w for w in rules.betrays if w.lower() in plain), "")
        checks.append(_check("betrays_nothing", not words, f"it says {words!r}" if words else ""))
    checks += [_reaches(episode, attempt, name, least, rules.against) for name, least in rules.least.items()]
    if rules.leaks and attempt.seen:
        quoted = "\n".join(s.text for s in attempt.steps if s.role in ("reflection", "feedback", "critique"))
        found = leaked(episode.problem, quoted)
        checks.append(Check(name="no_leak", outcome="fail" if found else "pass", detail=found or ""))
    if rules.agree:
        checks.append(_agreement(episode, attempt, rules))
    return tuple(checks)


def _reaches(episode: Episode, attempt: Attempt, name: str, least: float, against: str) -> Check:
    """Whether an estimate of the attempt is high enough; one that was not measured is not."""
    value = episode.estimate(attempt.id, name)
    others = [episode.estimate(a.id, name) for a in chosen(episode, of=against, outcome="any")] if against else []
    known = [v for v in others if v is not None]
    if value is None or (against and not known):
        return _check(f"{name}_reached", False, "not measured")
    base = sum(known) / len(known) if known else 0.0
    return _check(f"{name}_reached", value >= base + least, f"{value:.3f}, at least {base + least:.3f} is asked")


def _check(name: str, holds: bool, otherwise: str) -> Check:
    return Check(name=name, outcome="pass" if holds else "fail", detail=otherwise)


def _agreement(episode: Episode, attempt: Attempt, rules: _Rules) -> Check:
    """Whether all sources name the step that was spliced; to find no error, or to say nothing, is no place."""
    agree = set(rules.agree)
    mine = [c for c in episode.critiques if c.attempt == attempt.parent and c.source in agree]
    if rules.abstain:
        agree -= {c.source for c in mine if c.verdict == "unknown"}
        mine = [c for c in mine if c.source in agree]
    places = {c.first_error if c.verdict == "error" else None for c in mine}
    whole = {c.source for c in mine} == agree and len(places) == 1 and None not in places
    same = whole and (attempt.fork_step is None or attempt.fork_step in places)
    told = sorted({f"{c.source}: {c.first_error if c.verdict == 'error' else c.verdict}" for c in mine})
    return Check(name="locators_agree", outcome="pass" if same else "fail", detail=", ".join(told) or "none located it")


def _ending(
    episode: Episode, samples: str, band: tuple[float, float], need: tuple[str, ...], kept: int
) -> tuple[str, str] | None:
    """(code, detail) if the whole episode goes no further."""
    outcomes = [episode.outcome(a.id) for a in chosen(episode, of=samples, outcome="any")]
    known = [o for o in outcomes if o != "unknown"]
    if known:
        rate = known.count("pass") / len(known)
        if not band[0] <= rate <= band[1]:
            return "outside_band", f"{rate:.2f} of the samples pass"
    useful = {"splice": kept > 0, "pair": {"pass", "fail"} <= set(known)}
    if need and not any(useful[n] for n in need):
        if known and "fail" not in known:
            return "all_right", f"all {len(known)} samples pass"
        return "nothing_to_teach", f"no {' and no '.join(need)}"
    return None
