"""The auditor of rows finds one planted violation of each kind, and none in what a run makes."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from errata.records.rows import (
    CriticRow,
    DpoRow,
    JudgeRow,
    KtoRow,
    OfflineRow,
    PrmRow,
    RlRow,
    Row,
    SftRow,
)
from errata.records.types import Episode, Message
from errata.runners import job
from errata.runners.options import Options
from errata.store.check import check_dataset
from errata.store.reader import Dataset, open_dataset
from errata.store.row_audit import Allowed, row_faults
from tests.runners.support import Recipe


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    folder = tmp_path_factory.mktemp("audit")
    recipe = Recipe(folder / "recipe")
    return open_dataset(job.run(Options(recipe=recipe.path, out=folder / "out"), lambda *_: None)[1].path)


@pytest.fixture(scope="module")
def sft(made: Dataset) -> SftRow:
    return next(r for r in made.rows("sft") if any(s.role == "reflection" for s in r.spans))


@pytest.fixture(scope="module")
def dpo(made: Dataset) -> DpoRow:
    return next(iter(made.rows("dpo")))


def faults(made: Dataset, row: Row, config: str = "sft", **allowed: Any) -> list[str]:
    given = Allowed.of(made.manifest.recipe)
    given = Allowed(**{"privileged": given.privileged, "masks": given.masks, **allowed})
    return list(row_faults(row, config, made.episode(row.episode), given))


def test_what_a_run_makes_has_no_fault(made: Dataset) -> None:
    assert check_dataset(made.path) == []
    assert [f for c in ("sft", "dpo") for r in made.rows(c) for f in faults(made, r, c)] == []


def wrong_span(row: SftRow) -> int:
    """Where the masked wrong step of a splice is."""
    return next(i for i, s in enumerate(row.spans) if not s.train)


def all_trained(row: SftRow) -> SftRow:
    return replace(row, spans=tuple(replace(s, train=True) for s in row.spans))


def leaking(row: SftRow, episode: Episode) -> SftRow:
    """The reflection states the answer."""
    at = next(i for i, s in enumerate(row.spans) if s.role == "reflection")
    span, told = row.spans[at], f"Wait : the answer is {episode.problem.answer}\n"
    content = row.messages[span.message].content
    messages = list(row.messages)
    messages[span.message] = replace(messages[span.message], content=content[: span.start] + told)
    return replace(row, messages=tuple(messages), spans=(*row.spans[:at], replace(span, end=span.start + len(told))))


@pytest.mark.parametrize(
    ("plant", "said"),
    [
        (lambda r, e: all_trained(r), "which its attempt keeps from the loss"),
        (lambda r, e: all_trained(r), "it trains the wrong step"),
        (lambda r, e: replace(r, spans=tuple(replace(s, train=False) for s in r.spans)), "nothing of it is trained"),
        (
            lambda r, e: replace(r, spans=(*r.spans[:-1], replace(r.spans[-1], role="observation"))),
            "it trains the observation at ",
        ),
        (lambda r, e: replace(r, spans=(replace(r.spans[0], weight=float("nan")), *r.spans[1:])), "has the weight nan"),
        (leaking, "it gives privileged text away"),
        (
            lambda r, e: replace(
                r, messages=(*r.messages, Message(role="user", content=f"The correct answer is {e.problem.answer}"))
            ),
            "its prompt gives privileged text away",
        ),
        (lambda r, e: replace(r, seen=()), "which `seen` does not say"),
        (lambda r, e: replace(r, lineage=("f" * 32,)), "its lineage names ffff"),
        (lambda r, e: replace(r, split="test"), "its split is 'test', its problem's 'train'"),
    ],
)
def test_a_planted_violation_of_an_sft_row_is_found(
    made: Dataset, sft: SftRow, plant: Callable[[SftRow, Episode], SftRow], said: str
) -> None:
    assert any(said in f for f in faults(made, plant(sft, made.episode(sft.episode))))


def test_what_a_recipe_says_by_name_is_no_fault(made: Dataset, sft: SftRow) -> None:
    planted = leaking(sft, made.episode(sft.episode))
    assert faults(made, planted, privileged=frozenset({"sft"})) == []
    masks = [f for f in faults(made, all_trained(sft), masks={"splice": "none"}) if "the wrong step" in f]
    assert masks == [], "the attempt's own masks still count"


@pytest.mark.parametrize(
    ("plant", "said"),
    [
        (lambda r: replace(r, rejected=r.chosen), "both replies are the same"),
        (lambda r: replace(r, chosen_outcome="unknown"), "it says that the chosen reply is unknown"),
        (
            lambda r: replace(r, lineage=(r.lineage[1], r.lineage[0]), chosen_outcome="fail", rejected_outcome="pass"),
            "it prefers a wrong reply to a right one",
        ),
    ],
)
def test_a_planted_violation_of_a_preference_is_found(
    made: Dataset, dpo: DpoRow, plant: Callable[[DpoRow], DpoRow], said: str
) -> None:
    assert any(said in f for f in faults(made, plant(dpo), "dpo"))


def others(made: Dataset, dpo: DpoRow) -> Iterator[tuple[Row, str]]:
    """A faulty row of each other kind, made from the records of a preference."""
    problem = made.episode(dpo.episode).problem
    known: dict[str, Any] = {"id": "0" * 32, "episode": dpo.episode, "split": dpo.split, "prompt": problem.messages}
    right, none = (dpo.lineage[0],), (Message(role="assistant", content=" "),)
    yield KtoRow(**known, completion=dpo.chosen, label=False, lineage=right), "its label is False, its verdict is pass"
    steps: dict[str, Any] = {"completions": ("a\n", "b"), "lineage": right}
    yield PrmRow(**known, **steps, labels=(True,), values=(None, None)), "2 steps, 1 labels and 2 values"
    yield PrmRow(**known, **steps, labels=(True, True), values=(None, 2.0), first_error=1), "its first error is step 1"
    yield PrmRow(**known, **steps, labels=(True, False), values=(None, 2.0), first_error=1), "a step has the value 2.0"
    yield CriticRow(**known, completion=none, verdict="error"), "its completion is empty"
    yield JudgeRow(**known, completion=none, form="pointwise", label="yes"), "its completion is empty"
    yield RlRow(**known, answer="77", verifier="procedural", rewards=()), "its answer is not its problem's"
    asked = {**known, "prompt": (Message(role="user", content=f"The correct answer is {problem.answer}"),)}
    rl = RlRow(**asked, answer=problem.answer or "", verifier="procedural", rewards=())
    yield rl, "its prompt gives privileged text away"
    rolled = {k: v for k, v in known.items() if k != "prompt"}
    spans: dict[str, Any] = {"messages": (*problem.messages, *dpo.chosen), "spans": ()}
    yield OfflineRow(**rolled, **spans, reward=float("inf"), group_rate=1.5), "its reward is inf"
    yield OfflineRow(**rolled, **spans, reward=1.0, group_rate=1.5), "its group rate is 1.5"


def test_a_planted_violation_of_every_other_kind_is_found(made: Dataset, dpo: DpoRow) -> None:
    for row, said in others(made, dpo):
        found = faults(made, row, "other")
        assert any(said in f for f in found), (type(row).__name__, said, found)


EXPORT = """
from collections.abc import Iterator
from msgspec.structs import replace
from errata.exports.base import ExportContext
from errata.exports.sft import sft
from errata.records.rows import SftRow
from errata.records.types import Drop, Episode
from errata.registry import export


@export(version=1)
def careless(episode: Episode, ctx: ExportContext, *, stray: bool = False) -> Iterator[SftRow | Drop]:
    for row in sft(episode, ctx):
        if isinstance(row, SftRow):
            row = replace(row, spans=tuple(replace(s, train=True) for s in row.spans))
            yield replace(row, episode="f" * 32) if stray else row
        else:
            yield row
"""


@pytest.mark.parametrize(
    ("stray", "said"), [(False, "it trains the wrong step"), (True, "rows are of no episode of the dataset")]
)
def test_check_finds_what_a_careless_export_wrote(tmp_path: Path, stray: bool, said: str) -> None:
    recipe = Recipe(tmp_path / "recipe")
    recipe.path.with_name("careless.py").write_text(EXPORT)
    recipe.data["exports"].append({"name": "mine", "use": "careless.py:careless", "with": {"stray": stray}})
    out = job.run(Options(recipe=recipe.write(), out=tmp_path / "out"), lambda *_: None)[1]
    found = check_dataset(out.path)
    assert found and all(f.startswith("mine: ") for f in found) and any(said in f for f in found)
