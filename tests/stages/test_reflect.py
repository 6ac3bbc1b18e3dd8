"""A reflection is about a proven wrong step, knows what it was shown, and may find that the step is right."""

from typing import Any

import pytest
from msgspec.structs import replace

from errata.engines.base import Request
from errata.engines.oracle import Oracle
from errata.records.types import Additions, Attempt, Episode
from errata.stages.reflect import reflect
from tests.stages.support import (
    Says,
    World,
    attempt,
    chain_of,
    chains,
    codes,
    critique,
    cut,
    episode,
    problem,
    run,
    slipped,
)

P = problem(8, operations=5)
GOLD = chains.solve(chain_of(P))
BAD = slipped(P, "arithmetic")
AT = next(i for i, (a, b) in enumerate(zip(BAD, GOLD, strict=True)) if a != b)
RIGHT = attempt(P, GOLD, stage="expert", kind="expert", seen=("gold_steps",))


def wrong(index: int = 0) -> Attempt:
    lines = "".join(f"{line}\n" for line in BAD[: AT + 1])
    return attempt(P, lines, index, "fork", parent=RIGHT.id, kind="forked", fork_step=AT)


def start(*forks: Attempt, at: int | None = AT) -> Episode:
    said = [critique(f, at, "", "locate", source="gold", seen=("gold_steps",)) for f in forks]
    return episode(P, RIGHT, *forks, outcomes=["pass"] + ["unknown"] * len(forks), critiques=said)


def made(says: Any = "amber is not 3", begun: Episode | None = None, **options: Any) -> tuple[Additions, list[Request]]:
    teacher = Says(lambda _: says)
    found = run(reflect, begun or start(wrong()), World({"teacher": teacher}), **{"prompt": "reflect", **options})
    return found, teacher.asked


def test_it_becomes_a_critique_of_the_wrong_step_that_tells_what_was_seen() -> None:
    found, asked = made(" amber is not 3\n")
    c = found.critiques[0]
    assert (c.verdict, c.first_error, c.text, c.source) == ("error", AT, "amber is not 3", "teacher")
    assert c.attempt == wrong().id and c.seen == ("gold_steps", "right_step")
    text = asked[0].messages[-1].content
    assert f"[{AT + 1}] {BAD[AT]}" in text and f"- {GOLD[AT]}" in text and f"[{AT + 2}]" not in text


def test_what_see_does_not_name_is_not_shown() -> None:
    found, asked = made(see=())
    assert (
        f"- {GOLD[AT]}" not in asked[0].messages[-1].content and "right solution" not in asked[0].messages[-1].content
    )
    assert found.critiques[0].seen == ("gold_steps",), "of the proof that led here"


@pytest.mark.parametrize(
    ("begun", "options"),
    [
        (start(wrong(), at=None), {}),
        (start(wrong(), at=0 if AT else 1), {}),
        (start(wrong(), at=AT + 1), {}),
        (start(wrong()), {"proofs": ("gold", "judge")}),
        (start(wrong()), {"proofs": ()}),
        (start(replace(wrong(), complete=False)), {}),
        (start(wrong()), {"forks": "prove"}),
    ],
)
def test_what_is_not_proven_wrong_is_not_reflected_on(begun: Episode, options: dict[str, Any]) -> None:
    found, asked = made(begun=begun, **options)
    assert not found.critiques and not asked


def test_the_same_mistake_is_reflected_on_once() -> None:
    found, asked = made(begun=start(wrong(0), wrong(1)), n=2)
    assert [c.index for c in found.critiques] == [0, 1] and len(asked) == 2
    assert {c.attempt for c in found.critiques} == {wrong(0).id}


@pytest.mark.parametrize(
    ("says", "verdict", "dropped"),
    [
        ("The step is right.", "no_error", []),
        ("I wrote 3. The step is right? No, amber is 4", "error", []),
        ("  ", "unknown", ["parse"]),
        (cut("amber is"), "unknown", ["truncated"]),
    ],
)
def test_readings_of_a_reply(says: Any, verdict: str, dropped: list[str]) -> None:
    found, _ = made(says)
    c = found.critiques[0]
    assert (c.verdict, c.first_error) == (verdict, AT if verdict == "error" else None)
    assert codes(found.drops) == dropped


def test_beside_shows_the_right_sibling_that_goes_the_same_way_longest() -> None:
    far = attempt(P, GOLD[::-1], 1)
    near = attempt(P, GOLD, 2)
    mine = attempt(P, BAD, 3)
    said = critique(mine, AT, "", "locate", source="comparison")
    begun = episode(P, far, near, mine, outcomes=["pass", "pass", "fail"], critiques=[said])
    found, asked = made(begun=begun, of="sample", beside="sample", proofs=("comparison",))
    assert [c.first_error for c in found.critiques] == [AT]
    text = asked[0].messages[-1].content
    assert "\n".join(f"- {line}" for line in GOLD) in text and BAD[-1] not in text.split("[")[-1]


@pytest.mark.parametrize("prompt", ["reflect", "chains_reflect"])
def test_the_oracle_gives_the_reason_or_clears_the_step(prompt: str) -> None:
    reason = chains.first_error(chain_of(P), BAD)
    assert reason is not None
    found = run(reflect, start(wrong()), World({"teacher": Oracle()}), prompt=prompt)
    assert [c.text for c in found.critiques] == [reason.why] and "right_step" in found.critiques[0].seen
    fine = attempt(
        P, "".join(f"{x}\n" for x in GOLD[: AT + 1]), 0, "fork", parent=RIGHT.id, kind="forked", fork_step=AT
    )
    found = run(reflect, start(fine), World({"teacher": Oracle()}), prompt=prompt)
    assert [(c.verdict, c.first_error) for c in found.critiques] == [("no_error", None)]
    found = run(reflect, start(wrong()), World({"teacher": Oracle(skill=0.0)}), prompt=prompt)
    assert found.critiques[0].text != reason.why
