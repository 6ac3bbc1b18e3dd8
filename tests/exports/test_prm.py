"""Steps with labels: by a locator's word, by continuations, and what is refused."""

from collections.abc import Iterator
from typing import Any

from msgspec.structs import replace

from errata.exports.base import ExportContext
from errata.exports.prm import prm
from errata.prompts import load
from errata.records.rows import PrmRow
from errata.records.types import Additions, Attempt, Drop, Episode, Estimate, Outcome
from tests.stages.support import attempt, critique, episode, user, verdict

LINES = ("3 * 4 = 12.", "12 + 1 = 14.", "So 2 * 14 = 28.", "The answer is 28")


def start(outcome: Outcome = "fail", *said: Any) -> tuple[Episode, Attempt]:
    p = user("What?")
    a = attempt(p, LINES)
    made = episode(p, a, critiques=[critique(a, at, stage=source, source=source) for source, at in said])
    return made.add(Additions(verdicts=(verdict(a, outcome, verifier=p.verifier),))), a


def rows(e: Episode, **options: Any) -> list[PrmRow | Drop]:
    found: Iterator[PrmRow | Drop] = prm(e, ExportContext("prm", load), **options)
    return list(found)


def only(e: Episode, **options: Any) -> PrmRow:
    (found,) = rows(e, **options)
    assert isinstance(found, PrmRow)
    return found


def code(e: Episode, **options: Any) -> str:
    (found,) = rows(e, **options)
    assert isinstance(found, Drop)
    return found.code


def test_a_locator_labels_the_steps_before_at_and_after_the_error() -> None:
    e, a = start("fail", ("gold", 1))
    row = only(e)
    assert row.labels == (True, False, False, False) and row.first_error == 1 and row.verdict == "fail"
    assert row.completions == tuple(s.text for s in a.steps) and row.prompt == e.problem.messages
    assert only(e, after="unknown").labels == (True, False, None, None)
    assert only(start("fail", ("gold", 4))[0]).labels == (True,) * 4, "the end is missing: no step is wrong"
    assert only(start("pass", ("gold", None))[0]).labels == (True,) * 4
    assert only(start("fail", ("judge", 0), ("gold", 1))[0]).first_error == 1, "by the order of sources"


def test_what_nobody_located_or_all_call_right_though_it_fails_is_refused() -> None:
    assert code(start()[0]) == "not_located"
    assert code(start("fail", ("gold", None))[0]) == "error_not_found"
    assert code(start("fail", ("gold", 1))[0], sources=("judge",)) == "not_located"


def values(e: Episode, a: Attempt, **at: float) -> Episode:
    made = [
        Estimate(target=a.id, stage="locate", name="mc_value", value=v, n=8, step=int(k[1:])) for k, v in at.items()
    ]
    return e.add(Additions(estimates=tuple(made)))


def test_values_label_by_threshold_and_a_right_step_speaks_for_those_before_it() -> None:
    e, a = start()
    e = values(e, a, s0=1.0, s1=0.0, s2=0.25, s3=0.0)
    row = only(e, labels="values")
    assert row.values == (0.0, 0.25, 0.0, 0.0), "the value of step i is that of the prefix which ends with it"
    assert row.labels == (True, True, False, False) and row.first_error == 2
    assert only(e, labels="values", propagate_left=False).labels == (False, True, False, False)
    assert only(e, labels="values", threshold=0.5).labels == (False,) * 4
    few = values(start()[0], a, s1=0.5)
    assert only(few, labels="values").labels == (True, None, None, False)
    assert only(values(start()[0], a, s1=0.0), labels="values").labels == (False,) * 4
    unknown = only(values(start()[0], a, s1=0.0), labels="values", after="unknown")
    assert unknown.labels == (False, None, None, False)
    assert code(start("unknown")[0], labels="values") == "no_labels"


def test_a_right_step_that_nothing_uses_is_not_known() -> None:
    e, _ = start("fail", ("gold", 2))
    assert only(e, used_later=True).labels == (True, True, False, False)
    p = user("What?")
    lucky = attempt(p, ("5 * 5 = 25.", "3 * 4 = 12.", "The answer is 12"))
    whole = episode(p, lucky, critiques=[critique(lucky, None, source="gold")])
    whole = replace(whole, verdicts=(verdict(lucky, "pass", verifier=p.verifier),))
    assert only(whole, used_later=True).labels == (None, True, True)


def test_prefixes_are_rows_with_one_label_each() -> None:
    found = [r for r in rows(start("fail", ("gold", 1))[0], prefixes=True, after="unknown") if isinstance(r, PrmRow)]
    assert [r.labels for r in found] == [(True,), (None, False)] and len({r.id for r in found}) == 2
    assert [{t.name: t.value for t in r.tags} for r in found] == [
        {"prefix": "1", "label": "right"}, {"prefix": "2", "label": "wrong"},
    ]  # fmt: skip
    assert {r.verdict for r in found} == {"unknown"} and {r.first_error for r in found} == {None}
