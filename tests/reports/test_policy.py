"""On-policy-ness from estimates that are known by hand: spans, gaps, and sums that do not depend on an order."""

from collections import Counter
from typing import Any

import pytest
from msgspec.structs import replace

from errata.records.types import Additions, Attempt, Call, Episode, Estimate, Injection
from errata.reports.metrics import summarise
from errata.reports.policy import measure_policy, on_policy
from tests.stages.support import attempt, critique, episode, problem

P = problem(3)
CALL = Call(
    role="student", engine="e", model="m", revision="r", key="0" * 32, seed=0, temperature=1, top_p=1, max_tokens=9,
    template="", prompt_tokens=1, completion_tokens=2, finish="stop",
)  # fmt: skip


def scored(a: Attempt, *steps: float, role: str = "student") -> list[Estimate]:
    """Estimates of steps of two tokens each, and of the whole."""
    whole = sum(steps) / len(steps)
    places: list[tuple[int | None, float, int]] = [
        (None, whole, 2 * len(steps)),
        *((i, v, 2) for i, v in enumerate(steps)),
    ]
    return [
        Estimate(target=a.id, stage="score", name="logprob", value=v, n=n, step=i, engine=role) for i, v, n in places
    ]


def made(e: Episode, *estimates: list[Estimate]) -> Episode:
    return e.add(Additions(estimates=tuple(x for some in estimates for x in some)))


def figures(*episodes: Episode) -> dict[str, Any]:
    total: Counter[str] = Counter()
    for e in episodes:
        total.update(measure_policy(e))
    return on_policy(total)


OWN_RIGHT = attempt(P, "a\nb", 0, call=CALL)
OWN_WRONG = attempt(P, "a\nc", 1, call=CALL)


def test_own_samples_are_what_all_else_is_measured_against() -> None:
    hinted = attempt(P, "a\nd", 2, call=CALL, seen=("reference",))
    foreign = attempt(P, "a\ne", 3, call=replace(CALL, role="teacher"))
    e = episode(P, OWN_RIGHT, OWN_WRONG, hinted, foreign, outcomes=["pass", "fail", "pass", "unknown"],
                critiques=[critique(OWN_WRONG, 1, source="gold")])  # fmt: skip
    e = made(
        e, scored(OWN_RIGHT, -0.1, -0.3), scored(OWN_WRONG, -0.2, -1.0), scored(hinted, -3, -3), scored(foreign, -5, -5)
    )
    found = figures(e)["student"]
    assert found["own_samples"] == {"tokens": 8, "mean": -0.4}
    sample = found["stages"]["sample"]
    assert sample["all"] == {"tokens": 16, "mean": pytest.approx(-17.6 / 8), "gap": pytest.approx(-1.8)}
    assert sample["wrong"] == {"tokens": 2, "mean": -1.0, "gap": -0.6}
    assert sample["targets"]["tokens"] == 12, "steps of attempts that fail are no targets"


def test_wrong_steps_are_the_injected_the_spliced_and_the_located() -> None:
    injected = attempt(P, "a\nx\nb", 0, "inject", kind="injected", parent=OWN_RIGHT.id,
                       injection=Injection(kind="sign", step=1, original="b"))  # fmt: skip
    inline = attempt(P, "a\nx\nWait\nb", 0, "splice", kind="spliced", parent=OWN_WRONG.id, fork_step=1)
    steps = [*(replace(s, train=False) for s in OWN_WRONG.steps), *(replace(s, turn=2) for s in OWN_RIGHT.steps)]
    turns = attempt(P, "", 0, "turns", kind="spliced", parent=OWN_WRONG.id, steps=tuple(steps))
    e = episode(P, OWN_WRONG, injected, inline, turns, outcomes=["fail", "fail", "pass", "pass"],
                critiques=[critique(OWN_WRONG, 1)])  # fmt: skip
    e = made(e, scored(injected, -1, -7, -1), scored(inline, -1, -2, -3, -4), scored(turns, -1, -2, -4, -8))
    found = figures(e)["student"]
    assert found["own_samples"] is None
    stages = found["stages"]
    assert stages["inject"]["wrong"] == {"tokens": 2, "mean": -7.0, "gap": None} and "targets" not in stages["inject"]
    assert stages["splice"]["wrong"]["mean"] == -2.0
    assert stages["splice"]["targets"] == {"tokens": 6, "mean": round(-8 / 3, 6), "gap": None}
    assert stages["turns"]["wrong"]["mean"] == -2.0 and stages["turns"]["targets"]["mean"] == -6.0


def test_sums_do_not_depend_on_their_order_and_roles_stay_apart() -> None:
    both = made(episode(P, OWN_RIGHT), scored(OWN_RIGHT, -0.1, -1 / 3))
    more = [made(episode(P, OWN_WRONG), scored(OWN_WRONG, -0.1 * k, -1 / 7)) for k in range(1, 20)]
    judged = made(episode(P, OWN_RIGHT), scored(OWN_RIGHT, -9, -9, role="judge"))
    assert figures(judged, both, *more) == figures(*reversed([judged, both, *more]))
    assert figures(judged, both)["judge"]["stages"]["sample"]["all"] == {"tokens": 4, "mean": -9.0, "gap": None}
    assert figures(judged, both)["student"] == figures(both)["student"]


def test_without_estimates_the_section_is_empty() -> None:
    assert measure_policy(episode(P, OWN_RIGHT)) == Counter()
    assert summarise({}, {})["on_policy"] == {}
