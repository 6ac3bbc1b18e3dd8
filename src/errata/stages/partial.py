"""Injected attempts cut right after their wrong step, and the right ones that they were made from after the right step.

What a critic of single steps is asked about: it sees how far the solution has come and not where it leads. Whether the
last step is right was proven by the stage that injected the error, and is the verdict of the cut attempt.
"""

from errata.records.types import Additions, Attempt, Episode, Outcome, Tag, Verdict
from errata.registry import StepName, stage
from errata.stages.base import Context, chosen, new_id


@stage(version=1)
async def partial(episode: Episode, ctx: Context, *, of: StepName = "inject") -> Additions:
    """Make two partial attempts of each injected one: tagged `side: injected`, which fails, and `side: original`."""
    made: list[Attempt] = []
    verdicts: list[Verdict] = []
    version = ctx.verifier_version(episode.problem)
    for injected in chosen(episode, of=of, outcome="fail"):
        if injected.injection is None or injected.parent is None:
            continue
        k, kind = injected.injection.step, injected.injection.kind
        sides: tuple[tuple[str, Attempt, Outcome, str], ...] = (
            ("injected", injected, "fail", "success_injected"),
            ("original", episode.attempt(injected.parent), "pass", "success_original"),
        )
        for side, whole, outcome, estimate in sides:
            rate = episode.estimate(injected.id, estimate)
            told = "" if rate is None else f"; {rate:.2f} of its completions pass"
            cut = Attempt(
                id=new_id(episode, ctx, f"{injected.id}:{side}", 0), stage=ctx.stage, index=0, kind="truncated",
                steps=whole.steps[: k + 1], parent=whole.id, seen=tuple(sorted({*whole.seen, "reference"})),
                tags=(Tag(name="error", value=kind), Tag(name="side", value=side)),
            )  # fmt: skip
            made.append(cut)
            evidence = f"proven by what follows from its last step{told}"
            verdicts.append(
                Verdict(
                    target=cut.id, stage=ctx.stage, verifier=episode.problem.verifier, version=version,
                    outcome=outcome, evidence=evidence,
                )
            )  # fmt: skip
    return Additions(attempts=tuple(made), verdicts=tuple(verdicts))
