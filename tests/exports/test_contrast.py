"""Contrast sets: an anchor and positives that pass, negatives that fail, no text twice on one side."""

from typing import Any

import pytest
from msgspec.structs import replace

from errata import prompts
from errata.exports.base import ExportContext
from errata.exports.contrast import contrast
from errata.records.rows import ContrastRow
from errata.records.types import Additions, Attempt, Drop, Episode, Outcome, Step
from tests.stages.support import attempt, episode, problem, verdict

P = problem(11)
NAMES: dict[str, Outcome] = {"r": "pass", "w": "fail", "u": "unknown"}


def told(samples: str, teachers: str, text: str = "{stage} {i}") -> Episode:
    """Samples and teacher's rationales by outcome, with distinct texts."""
    made: list[Attempt] = []
    for stage, outcomes in (("sample", samples), ("revise", teachers)):
        made += [attempt(P, text.format(stage=stage, i=i), i, stage) for i in range(len(outcomes))]
    return episode(P, *made, outcomes=[NAMES[o] for o in samples + teachers])


def row_of(start: Episode, **options: Any) -> ContrastRow | Drop:
    (found,) = contrast(start, ExportContext("contrast", prompts.load), **options)
    return found


def test_anchor_positives_and_negatives() -> None:
    row = row_of(told("wruw", "rwr"), metrics={"triplet_margin": 1.0})
    assert isinstance(row, ContrastRow)
    assert (row.prompt, row.anchor) == (P.messages, "sample 1"), "the student's own right one"
    assert row.positives == ("revise 0", "revise 2") and row.negatives == ("sample 0", "sample 3")
    assert len(row.lineage) == 5 and [(m.name, m.value) for m in row.metrics] == [("triplet_margin", 1.0)]


def test_without_an_own_right_one_a_teachers_is_the_anchor_and_no_positive() -> None:
    row = row_of(told("w", "rr"))
    assert isinstance(row, ContrastRow) and (row.anchor, row.positives) == ("revise 0", ("revise 1",))


def test_the_paper_counts_are_the_most() -> None:
    row = row_of(told("w" * 7 + "r", "r" * 13))
    assert isinstance(row, ContrastRow) and (len(row.positives), len(row.negatives)) == (10, 4)
    row = row_of(told("w" * 7 + "r", "r" * 13), positives=2, negatives=1)
    assert isinstance(row, ContrastRow) and (len(row.positives), len(row.negatives)) == (2, 1)


@pytest.mark.parametrize(
    ("samples", "teachers", "code"),
    [("w", "w", "no_anchor"), ("w", "r", "no_positive"), ("r", "r", "no_negative"), ("ru", "r", "no_negative")],
)
def test_what_cannot_be_contrasted_is_dropped(samples: str, teachers: str, code: str) -> None:
    found = row_of(told(samples, teachers))
    assert isinstance(found, Drop) and (found.code, found.kind) == (code, "filtered")


def test_equal_texts_count_once_and_an_unfinished_one_never() -> None:
    found = row_of(told("wr", "rr", "the same"))
    assert isinstance(found, Drop) and found.code == "no_positive", "an anchor is no positive of itself"
    start = told("wwr", "rr")
    same = tuple(replace(a, steps=(Step(text="again\n"),)) if a.stage == "sample" and a.index < 2 else a
                 for a in start.attempts)  # fmt: skip
    row = row_of(replace(start, attempts=same))
    assert isinstance(row, ContrastRow) and row.negatives == ("again\n",)
    cut = tuple(replace(a, complete=False) if a.stage == "sample" and a.index < 2 else a for a in start.attempts)
    found = row_of(replace(start, attempts=cut))
    assert isinstance(found, Drop) and found.code == "no_negative"


def test_a_rejected_rationale_is_no_positive_and_a_leak_no_row() -> None:
    start = told("wr", "r")
    teacher = next(a for a in start.attempts if a.stage == "revise")
    rejected = start.add(Additions(verdicts=(verdict(teacher, "fail", "filter", "filter"),)))
    assert isinstance(row_of(rejected), Drop)
    leaky = replace(
        teacher,
        seen=("reference",),
        steps=(Step(text=f"The answer is {P.answer}\n", role="reflection"), Step(text="x")),
    )
    told_all = replace(start, attempts=tuple(leaky if a.id == teacher.id else a for a in start.attempts))
    found = row_of(told_all)
    assert isinstance(found, Drop) and found.code == "privileged_text"
    row = row_of(told_all, privileged=True)
    assert isinstance(row, ContrastRow) and row.seen == ("reference",)
