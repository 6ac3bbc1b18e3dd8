"""Pairs by reward: a run above alpha over one that is at least the margin below, from where they part."""

from typing import Any

import pytest

from errata.exports.base import ExportContext
from errata.exports.dpo import dpo
from errata.prompts import load
from errata.records.rows import DpoRow
from errata.records.types import Additions, Attempt, Episode, Pair, Step, Verdict
from errata.stages.pair import pair
from tests.stages import support

TASK = support.user("book a flight")


def run(index: int, *texts: str, first: int = 0) -> Attempt:
    """A trajectory of these turns; `first` is the turn that it begins with."""
    steps = tuple(
        Step(text=text, role="observation" if turn % 2 else "action", turn=turn, train=turn % 2 == 0)
        for turn, text in enumerate(texts, first)
    )
    return support.attempt(TASK, "", index, "source", kind="rollout", steps=steps)


def episode(*runs: Attempt, scores: tuple[float | None, ...]) -> Episode:
    verdicts = tuple(
        Verdict(
            target=a.id, stage="source", verifier=TASK.verifier, version=1, score=score,
            outcome="unknown" if score is None else "pass" if score == 1 else "fail",
        )
        for a, score in zip(runs, scores, strict=True)
    )  # fmt: skip
    return Episode(problem=TASK).add(Additions(attempts=runs, verdicts=verdicts))


def pairs(start: Episode, **options: Any) -> tuple[Pair, ...]:
    return support.run(pair, start, rule="reward", of=("source",), most=0, **options).pairs


@pytest.mark.parametrize(
    ("high", "low", "alpha", "margin", "found"),
    [
        (1.0, 0.0, 0.5, 0.5, True),
        (0.5, 0.0, 0.5, 0.5, False),  # not above alpha
        (0.6, 0.0, 0.5, 0.5, True),
        (0.9, 0.6, 0.5, 0.5, False),  # too near
        (0.9, 0.6, 0.5, 0.3, True),
        (1.0, 1.0, 0.5, 0.0, False),  # equals are no pair
        (1.0, None, 0.5, 0.5, False),  # unknown is never wrong
    ],
)
def test_the_good_one_is_above_alpha_and_the_gap_at_least_the_margin(
    high: float, low: float | None, alpha: float, margin: float, found: bool
) -> None:
    start = episode(run(0, "a"), run(1, "b"), scores=(high, low))
    made = pairs(start, alpha=alpha, margin=margin)
    assert len(made) == found
    for p in made:
        assert (p.chosen, p.rejected, p.rule) == (start.attempts[0].id, start.attempts[1].id, "reward")
        assert p.margin == pytest.approx(high - (low or 0))


def test_every_good_run_meets_every_bad_one_widest_apart_first() -> None:
    start = episode(run(0, "a"), run(1, "b"), run(2, "c"), scores=(0.8, 0.1, 0.0))
    assert [p.margin for p in pairs(start)] == pytest.approx([0.8, 0.7])


def rows(start: Episode) -> list[DpoRow]:
    grown = start.add(support.run(pair, start, rule="reward", of=("source",), most=0, tags={"splice_mode": "none"}))
    return [r for r in dpo(grown, ExportContext(stage="dpo", prompt=load)) if isinstance(r, DpoRow)]


def said(row: DpoRow) -> tuple[list[str], list[str], list[str]]:
    return tuple([m.content for m in x] for x in (row.prompt, row.chosen, row.rejected))  # type: ignore[return-value]


def test_runs_that_begin_alike_are_compared_from_the_turn_where_they_part() -> None:
    good, bad = run(0, "look", "a door", "open", "ok", "go", "won"), run(1, "look", "a door", "break", "ouch")
    (row,) = rows(episode(good, bad, scores=(1.0, 0.0)))
    assert said(row) == (["book a flight", "look", "a door"], ["open", "ok", "go"], ["break"])
    assert {(t.name, t.value) for t in row.tags} == {("parted_by", "agent"), ("splice_mode", "none")}


def test_runs_that_the_user_begins_are_compared_from_there_or_whole() -> None:
    good, bad = run(0, "hi", "look", "a door", "open", first=1), run(1, "hi", "look", "a door", "wait", first=1)
    (row,) = rows(episode(good, bad, scores=(1.0, 0.0)))
    assert said(row) == (["book a flight", "hi", "look", "a door"], ["open"], ["wait"])
    (row,) = rows(episode(good, run(1, "hello", "wait", first=1), scores=(1.0, 0.0)))
    assert said(row) == (["book a flight"], ["hi", "look", "a door", "open"], ["hello", "wait"])
    assert row.chosen[0].role == row.rejected[0].role == "user"
    assert ("parted_by", "environment") in {(t.name, t.value) for t in row.tags}
