"""Wrong steps, each proven, woven into a right solution that stands there unchanged without them."""

from collections import Counter
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from errata.errors import RecipeError
from errata.exports.base import ExportContext
from errata.exports.sft import sft
from errata.prompts import load
from errata.records.rows import SftRow
from errata.records.types import Additions, Attempt, Episode, Injection, Step
from errata.stages.base import proven
from errata.stages.retry import retry
from tests.stages.support import (
    World,
    attempt,
    chain_of,
    chains,
    codes,
    critique,
    episode,
    problem,
    run,
    slipped,
    user,
    verdict,
)

P = problem(8, operations=5)
GOLD = chains.solve(chain_of(P))
BASE = attempt(P, GOLD, stage="expert", kind="expert", seen=("gold_steps",))


def fork(at: int, line: str, index: int = 0, **fields: Any) -> Attempt:
    lines = "".join(f"{x}\n" for x in [*GOLD[:at], line])
    text = lines.rstrip("\n") if at == len(GOLD) - 1 else lines
    return attempt(P, text, index, "fork", **{"parent": BASE.id, "kind": "forked", "fork_step": at, **fields})


def start(*forks: Attempt, sources: tuple[str, ...] = ("gold",), at: int | None = None) -> Episode:
    said = [
        critique(f, f.fork_step if at is None else at, f"why {f.index}", s, source=s) for f in forks for s in sources
    ]
    return episode(P, BASE, *forks, outcomes=["pass"] + ["unknown"] * len(forks), critiques=said)


OWN: Any = {"wrong": ("fork",), "errors": (1, 1)}
WORDS = ["maple is 1", "coral is 2", "holly is 3", "fern is 4", "sage is 5", "The answer is 99"]
FORKS = [fork(k, line, k) for k, line in enumerate(WORDS)]


def woven(begun: Episode, seed: int = 1, **options: Any) -> Additions:
    return run(retry, begun, World(seed=seed), **options)


def is_woven(step: Step) -> bool:
    return step.role in ("marker", "reflection") or step.text.strip() in WORDS


def rest(a: Attempt) -> str:
    """The trajectory without what was woven into it."""
    return "".join(s.text for s in a.steps if not is_woven(s))


SECOND_VIEW = critique(FORKS[1], 0, "", "second", source="judge")
DISPUTED = start(FORKS[1], sources=("gold", "judge")).add(Additions(critiques=(SECOND_VIEW,)))


# ---- one trajectory


@pytest.mark.parametrize("k", range(6))
def test_wrong_step_marker_and_right_step_stand_next_to_each_other(k: int) -> None:
    a = woven(start(FORKS[k]), **OWN).attempts[0]
    assert [s.text.strip() for s in a.steps] == [*GOLD[:k], WORDS[k], "[BACK]", *GOLD[k:]]
    assert [s.train for s in a.steps] == [i != k for i in range(len(GOLD) + 2)], "the wrong step alone is masked"
    assert (a.steps[k].source, a.steps[k + 1].role, a.steps[k + 1].source) == ("student", "marker", "template")
    assert a.steps[k + 2].role == ("answer" if k == 5 else "correction")
    assert a.text.split("\n") == [s.text.strip() for s in a.steps], "each on a line of its own"
    assert (a.kind, a.style, a.parent, a.other, a.fork_step) == ("spliced", "retry", FORKS[k].id, BASE.id, k)
    assert a.seen == ("gold_steps",) and {(t.name, t.value) for t in a.tags} == {
        ("errors", "1"), ("error_source", "own"), ("wrong_step_of", FORKS[k].id),
    }  # fmt: skip
    assert chains.answer(a.final_text) == P.answer


def test_without_the_mask_all_is_trained() -> None:
    a = woven(start(FORKS[1]), **OWN, mask="none").attempts[0]
    assert all(s.train for s in a.steps)


def test_a_reflection_takes_the_place_of_the_marker_and_is_of_this_very_step() -> None:
    said = critique(FORKS[2], 2, " why indeed\n", "reflect", seen=("right_step",))
    begun = start(*FORKS).add(Additions(critiques=(said,)))
    found = woven(begun, **OWN, n=9, reflection="reflect", lead="Wait, ")
    assert len(found.attempts) == 1 and set(codes(found.drops)) == {"not_proven_wrong"}
    a = found.attempts[0]
    assert a.steps[3] == Step(text="Wait, why indeed\n", role="reflection", source="teacher")
    assert (a.fork_step, a.style, a.critique) == (2, "reflection", said.id) and "right_step" in a.seen
    wrong_place = replace(said, first_error=1, attempt=FORKS[2].id)
    assert not woven(start(FORKS[2]).add(Additions(critiques=(wrong_place,))), **OWN, reflection="reflect").attempts


# ---- proofs


@pytest.mark.parametrize(
    ("begun", "options"),
    [
        (start(FORKS[1], at=2), {}),
        (start(FORKS[1], sources=()), {}),
        (start(FORKS[1]), {"proofs": ("gold", "judge")}),
        (DISPUTED, {"proofs": ("gold", "judge")}),
        (start(FORKS[1]), {"proofs": ()}),
        (start(FORKS[1]), {"forks": "prove"}),
        (start(replace(FORKS[1], complete=False)), {}),
        (start(fork(1, GOLD[1])), {}),
        (start(replace(FORKS[1], steps=(FORKS[0].steps[0], *FORKS[1].steps[1:]))), {}),
        (start(FORKS[1]), {"sources": ("rule",)}),
    ],
)  # fmt: skip
def test_nothing_is_woven_in_that_is_not_proven_wrong_at_this_step(begun: Episode, options: dict[str, Any]) -> None:
    found = woven(begun, **OWN, **options)
    assert not found.attempts and codes(found.drops)[-1] == "no_wrong_step"


def test_a_doubtful_step_is_told() -> None:
    found = woven(start(FORKS[1]), **OWN, proofs=("gold", "judge"))
    assert codes(found.drops) == ["not_proven_wrong", "no_wrong_step"] and found.drops[0].target == FORKS[1].id


@pytest.mark.parametrize(
    ("outcomes", "is_proof"), [("ff", True), ("fu", True), ("uu", False), ("fp", False), ("", False)]
)
def test_continuations_prove_a_step_if_some_are_known_and_none_passes(outcomes: str, is_proof: bool) -> None:
    ends = [
        attempt(P, f"x{i}", i, "prove", parent=FORKS[1].id, kind="forked", fork_step=2) for i in range(len(outcomes))
    ]
    names: Any = {"f": "fail", "u": "unknown", "p": "pass"}
    begun = start(FORKS[1], sources=()).add(
        Additions(
            attempts=tuple(ends), verdicts=tuple(verdict(e, names[o]) for e, o in zip(ends, outcomes, strict=True))
        )
    )
    found = woven(begun, **OWN, proofs=(), forks="prove")
    assert bool(found.attempts) == is_proof
    if is_proof:
        assert "reference" in found.attempts[0].seen


def test_an_injected_step_is_proven_by_the_verifier_that_fails_it() -> None:
    slip = fork(1, WORDS[1], kind="injected", injection=Injection(kind="operand", step=1, original=GOLD[1]))
    for outcome, count in (("fail", 1), ("pass", 0), ("unknown", 0)):
        begun = episode(P, BASE, slip, outcomes=["pass", outcome])  # type: ignore[list-item]
        found = woven(begun, wrong=("fork",), sources=("rule",), errors=(1, 1))
        assert len(found.attempts) == count
    begun = episode(P, BASE, slip, outcomes=["pass", "fail"])
    tags = {(t.name, t.value) for t in woven(begun, **OWN, sources=("rule",)).attempts[0].tags}
    assert {("error_source", "rule"), ("error_kind", "operand")} <= tags


def test_what_is_located_in_a_whole_attempt_is_proven_where_all_name_it() -> None:
    bad = attempt(P, slipped(P, "arithmetic"))
    said = [critique(bad, 2, "", s, source=s) for s in ("gold", "judge")]
    begun = episode(P, bad, outcomes=["fail"], critiques=said)
    found = proven(begun, bad, ("gold", "judge"))
    assert found is not None and found.step == 2
    assert proven(begun, bad, ("gold", "forks")) is None and proven(begun, bad, ()) is None


# ---- how many, and which


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from([0.0, 0.2, 0.5, 0.9]), st.sampled_from(["wrong_step", "none"]))
def test_without_the_woven_steps_the_solution_is_unchanged(seed: int, p: float, mask: str) -> None:
    found = woven(start(*FORKS), seed, wrong=("fork",), p=p, mask=mask, n=2)
    assert len(found.attempts) == 2 and not found.drops
    for a in found.attempts:
        assert rest(a).rstrip("\n") == BASE.text
        at = [i for i, s in enumerate(a.steps) if s.text.strip() in WORDS]
        assert all(a.steps[i + 1].role == "marker" for i in at)
        assert all(s.train == (mask == "none" or i not in at) for i, s in enumerate(a.steps))
        assert {t.value for t in a.tags if t.name == "errors"} == {str(len(at))}
        assert (a.fork_step is None) == (not at)


@pytest.mark.parametrize("p", [0.1, 0.2, 0.5])
def test_the_expected_number_of_errors_before_a_step_is_geometric(p: float) -> None:
    many = [fork(1, line, k) for k, line in enumerate(WORDS[:3])]
    found = woven(start(*many), wrong=("fork",), p=p, n=1500)
    counts = Counter(sum(is_woven(s) for s in a.steps) // 2 for a in found.attempts)
    mean = sum(k * c for k, c in counts.items()) / 1500
    assert abs(mean - p / (1 - p)) < 0.1, counts
    assert abs(counts[0] / 1500 - (1 - p)) < 0.05 and abs(counts[1] / 1500 - p * (1 - p)) < 0.05
    for a in found.attempts:
        said = [s.text for s in a.steps if s.text.strip() in WORDS]
        assert all(x != y for x, y in pairwise(said)), "no mistake is made twice in a row"


def test_a_single_candidate_is_used_once_at_most() -> None:
    found = woven(start(FORKS[1]), wrong=("fork",), p=0.9, n=50)
    assert {sum(is_woven(s) for s in a.steps) for a in found.attempts} == {0, 2}


def test_counted_errors_are_spread_over_trajectories_without_repeats() -> None:
    found = woven(start(*FORKS), wrong=("fork",), errors=(1, 4), n=9)
    used = [s.text for a in found.attempts for s in a.steps if s.text.strip() in WORDS]
    assert len(used) == len(set(used)) == len(WORDS)
    assert all(1 <= sum(is_woven(s) for s in a.steps) // 2 <= 4 for a in found.attempts)
    counts = {
        sum(is_woven(s) for s in a.steps) // 2
        for seed in range(40)
        for a in woven(start(*FORKS), seed, wrong=("fork",), errors=(1, 4)).attempts
    }
    assert counts == {1, 2, 3, 4}


def test_a_share_of_trajectories_is_left_clean() -> None:
    found = [woven(start(*FORKS), s, **OWN, clean=0.8).attempts[0] for s in range(150)]
    clean = [a for a in found if a.fork_step is None]
    assert 0.7 < len(clean) / 150 < 0.9 and {a.text for a in clean} == {BASE.text}


# ---- what a chain offers


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from(["later", "random"]))
def test_later_and_random_steps_cannot_be_computed_yet(seed: int, source: str) -> None:
    p = problem(seed, operations=6)
    gold = chains.solve(chain_of(p))
    a = attempt(p, gold, stage="expert")
    found = run(retry, episode(p, a, outcomes=["pass"]), World(seed=seed), sources=(source,), p=0.5, until=" =")
    steps = found.attempts[0].steps
    right = [s for i, s in enumerate(steps) if s.train and s.role != "marker"]
    assert "".join(s.text for s in right) == a.text
    known: list[str] = []
    offered = {str(r) for r in chain_of(p).rules if r.op}
    for s in steps:
        if not s.train:
            said = s.text.rstrip("\n")
            later = [line for line in gold[len(known) :] if line.startswith(said + " =")]
            assert said in offered and (bool(later) or source == "random"), "an operation, without its computation"
            whole = next(line for line in chain_of(p).right_steps if line.startswith(said + " ="))
            error = chains.first_error(chain_of(p), [*known, whole])
            assert error is not None and (error.step, error.kind) == (len(known), "order")
            assert s.source == "injector"
        elif s.role != "marker":
            known.append(s.text.rstrip("\n"))


def test_a_problem_that_no_checker_knows_has_no_later_or_random_steps() -> None:
    p = user("What?", answer="6")
    a = attempt(p, "one\ntwo\n6", stage="expert")
    begun = Episode(problem=p).add(Additions(attempts=(a,), verdicts=(verdict(a, "pass", verifier="exact"),)))
    assert run(retry, begun, sources=("later", "random"), p=0.9).attempts[0].text == a.text


# ---- what is refused


@pytest.mark.parametrize("options", [{"p": 1.0}, {"p": -0.1}, {"clean": 1.5}, {"errors": (3, 1)}, {"errors": (-1, 1)}])
def test_parameters_that_make_no_sense_are_refused_in_one_line(options: dict[str, Any]) -> None:
    with pytest.raises(RecipeError, match=r"retry: p is .*; clean is .*; errors is \["):
        woven(start(FORKS[0]), **{"wrong": ("fork",), **options})


def test_only_right_solutions_are_woven_into() -> None:
    assert not woven(episode(P, BASE, outcomes=["fail"])).attempts
    assert not woven(episode(P, BASE, outcomes=["unknown"])).attempts


def test_a_row_goes_from_wrong_to_right_if_an_error_stands_in_it() -> None:
    begun = start(*FORKS)
    begun = begun.add(woven(begun, **OWN, n=2)).add(run(retry, begun, name="clean", p=0.0))
    begun = begun.add(Additions(verdicts=tuple(verdict(a, "pass", "v") for a in begun.attempts if a.kind == "spliced")))
    rows = [r for r in sft(begun, ExportContext("sft", load), of=("retry", "clean")) if isinstance(r, SftRow)]
    assert sorted(r.transition for r in rows) == ["none", "wrong_to_right", "wrong_to_right"]
