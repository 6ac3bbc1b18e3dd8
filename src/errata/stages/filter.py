"""Keep what is fit to learn from: rules over splices, and a rule over the whole episode.

A splice that breaks a rule gets a failing verdict of the verifier `filter` and a drop with the rule's name; exports
take only splices that pass. Records are never removed.
"""

from typing import Literal

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
    band: tuple[float, float] = (0.0, 1.0),
    need: tuple[Literal["splice", "pair"], ...] = ("splice", "pair"),
    samples: StepName = "sample",
) -> Additions:
    """Reject splices that fail, leak or are located at odds; end episodes outside `band` or with nothing to teach."""
    verdicts: list[Verdict] = []
    drops: list[Drop] = []
    kept = 0
    for attempt in chosen(episode, of=of, outcome="any"):
        checks = _checks(episode, attempt, leaks, agree)
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


def _checks(episode: Episode, attempt: Attempt, leaks: bool, agree: tuple[str, ...]) -> tuple[Check, ...]:
    outcome = episode.outcome(attempt.id)
    checks = [
        Check(
            name="correction_passes",
            outcome="pass" if outcome == "pass" else "fail",
            detail=f"the verdict is {outcome}",
        )
    ]
    if leaks and attempt.seen:
        said = "\n".join(s.text for s in attempt.steps if s.role in ("reflection", "feedback", "critique"))
        found = leaked(episode.problem, said)
        checks.append(Check(name="no_leak", outcome="fail" if found else "pass", detail=found or ""))
    if agree:
        checks.append(_agreement(episode, attempt, agree))
    return tuple(checks)


def _agreement(episode: Episode, attempt: Attempt, agree: tuple[str, ...]) -> Check:
    """Whether all of these sources name the step that was spliced; to find no error, or to say nothing, is no place."""
    mine = [c for c in episode.critiques if c.attempt == attempt.parent and c.source in agree]
    places = {c.first_error if c.verdict == "error" else None for c in mine}
    whole = {c.source for c in mine} == set(agree) and len(places) == 1 and None not in places
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
