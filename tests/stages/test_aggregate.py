"""Many critiques become one: by a meta-critic who weighs each remark, or by votes on the place."""

import json
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from errata import chains
from errata.engines.oracle import Oracle
from errata.errors import EngineError, RecipeError
from errata.prompts import FILES
from errata.records.types import Additions, Critique, Episode, Finding, Verdict
from errata.stages.aggregate import aggregate
from tests.stages.support import Says, World, attempt, chain_of, codes, critique, cut, episode, problem, run, slipped

P = problem(5)
WRONG = attempt(P, slipped(P, "operand"))
FOUND = chains.first_error(chain_of(P), [s.text for s in WRONG.steps])
OF = ("a", "b", "c", "d")


def said(stage: str, place: int | None, *units: Finding, **fields: Any) -> Critique:
    return critique(WRONG, place, f"{stage} says", stage=stage, findings=units, source="critic", **fields)


def unit(step: int, kind: str = "operand") -> Finding:
    return Finding(step=step, kind=kind, severity="serious", text=f"step {step} is off")


def start(*critiques: Critique) -> Episode:
    return episode(P, WRONG, outcomes=["fail"], critiques=critiques)


def told(units: list[tuple[int, int, bool, str]], first_error: int = 1, text: str = "The sum.") -> str:
    entries = [{"critic": c, "unit": u, "valid": v, "kind": k} for c, u, v, k in units]
    return json.dumps({"units": entries, "first_error": first_error, "text": text})


def meta(says: str, *critiques: Critique, **options: Any) -> Additions:
    return run(
        aggregate, start(*critiques), World({"meta": Says(lambda _: says)}), of=OF, see=("gold_steps",), **options
    )


# ---- a meta-critic


def test_every_unit_of_every_critic_is_kept_with_its_verdict_and_kind() -> None:
    first = said("a", 1, unit(1), unit(2, "style"), seen=("reference",))
    second = said("b", 2, unit(2), unit(0))
    made = meta(told([(0, 0, True, "copy"), (0, 1, False, "style"), (1, 0, False, "operand")]), first, second)
    (c,) = made.critiques
    assert (c.source, c.verdict, c.first_error, c.text) == ("meta", "error", 1, "The sum.")
    assert [(f.critic, f.step, f.valid, f.kind) for f in c.findings] == [
        (first.id, 1, "pass", "copy"), (first.id, 2, "fail", "style"), (second.id, 2, "fail", "operand"),
        (second.id, 0, "fail", "operand"),
    ], "what it does not mention is invalid"  # fmt: skip
    assert c.of == (first.id, second.id) and c.attempt == WRONG.id and not made.drops
    assert c.seen == ("gold_steps", "reference"), "what the critics and the meta-critic saw"
    assert c.call is not None and c.call.template.startswith("meta_critique@")
    assert [(e.target, e.name, e.value, e.n) for e in made.estimates] == [(c.id, "disagreement", 0.5, 2)]


def test_it_is_shown_the_units_by_number() -> None:
    says = Says(lambda _: told([]))
    run(aggregate, start(said("a", 1, unit(1)), said("b", None)), World({"meta": says}), of=OF, see=("gold_steps",))
    shown = says.asked[0].messages[0].content
    assert "Critic 0:\n\n- unit 0, step 1, operand, serious: step 1 is off" in shown
    assert "Critic 1: nothing is wrong." in shown and P.solution[0] in shown


def test_no_error_is_an_answer() -> None:
    (c,) = meta(told([(0, 0, False, "style")], -1, "All is well."), said("a", 1, unit(1))).critiques
    assert (c.verdict, c.first_error, [f.valid for f in c.findings]) == ("no_error", None, ["fail"])


@pytest.mark.parametrize(
    "says",
    ["no JSON", "{}", told([], 99), told([], -2), told([])[:-1], '{"units": [], "first_error": "1", "text": ""}',
     '{"units": [{"critic": 0}], "first_error": 1, "text": ""}'],
)  # fmt: skip
def test_what_cannot_be_read_is_quarantined_and_unknown(says: str) -> None:
    made = meta(says, said("a", 1, unit(1)))
    assert [(c.verdict, c.first_error, c.findings) for c in made.critiques] == [("unknown", None, ())]
    assert [(d.code, d.kind, d.target) for d in made.drops] == [("parse", "quarantined", made.critiques[0].id)]
    assert not made.estimates


def test_a_cut_reply_is_unknown_and_a_failed_request_a_drop() -> None:
    one = said("a", 1, unit(1))
    made = run(aggregate, start(one), World({"meta": Says(lambda _: cut(told([])))}), of=OF, see=("gold_steps",))
    assert [c.verdict for c in made.critiques] == ["unknown"] and codes(made.drops) == ["truncated"]

    def fails(_: object) -> str:
        raise EngineError("timeout", "no answer")

    lost = run(aggregate, start(one), World({"meta": Says(fails)}), of=OF, see=("gold_steps",))
    assert not lost.critiques and [(d.code, d.target) for d in lost.drops] == [("timeout", made.critiques[0].id)]


def test_the_oracle_sums_up_what_a_valid_unit_says_and_no_more() -> None:
    assert FOUND is not None
    world = World({"meta": Oracle()})
    other = next(i for i in range(len(WRONG.steps)) if i != FOUND.step)
    heard = start(said("a", other, unit(other)), said("b", FOUND.step, unit(FOUND.step)))
    (c,) = run(aggregate, heard, world, of=OF, see=("gold_steps",)).critiques
    assert (c.verdict, c.first_error, [f.valid for f in c.findings]) == ("error", FOUND.step, ["fail", "pass"])
    (none,) = run(aggregate, start(said("a", other, unit(other))), world, of=OF, see=("gold_steps",)).critiques
    assert none.verdict == "no_error" and [f.valid for f in none.findings] == ["fail"]


def test_a_prompt_that_asks_for_no_units_is_refused_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"the prompt chains_critique does not ask for units: its schema must"):
        meta("", said("a", 1), prompt="chains_critique")
    text = (FILES / "meta_critique.yaml").read_text().replace("[units, first_error, text]", "[units, first_error]")
    (tmp_path / "own.yaml").write_text(text)
    world = World({"meta": Says(lambda _: "")}, folder=tmp_path)
    with pytest.raises(RecipeError, match="does not ask for text"):
        run(aggregate, start(said("a", 1)), world, of=OF, prompt="own.yaml")


# ---- votes


def voted(*critiques: Critique) -> Additions:
    return run(aggregate, start(*critiques), of=OF, method="vote")


@pytest.mark.parametrize(
    ("places", "place", "disagreement"),
    [
        ([1, 2, 2], 2, 1 / 3),
        ([2, 1], 1, 0.5),
        ([None, 2], 2, 0.5),
        ([None, None, 1], None, 1 / 3),
        ([3, None, 3, None], 3, 0.5),
        ([2, 0], 0, 0.5),
        ([None], None, 0.0),
    ],
)
def test_the_place_that_most_name_wins_then_the_earliest_then_an_error(
    places: list[int | None], place: int | None, disagreement: float
) -> None:
    critiques = [said(stage, p, unit(k)) for k, (stage, p) in enumerate(zip(OF, places, strict=False))]
    made = voted(*critiques)
    (c,) = made.critiques
    assert (c.verdict, c.first_error) == ("no_error" if place is None else "error", place)
    first = next(x for x, p in zip(critiques, places, strict=True) if p == place)
    assert (c.text, c.findings, c.of) == (first.text, first.findings, tuple(x.id for x in critiques))
    assert c.source == "meta" and c.call is None
    assert [(e.target, e.value, e.n) for e in made.estimates] == [(c.id, pytest.approx(disagreement), len(places))]


@pytest.mark.parametrize("method", ["meta", "vote"])
def test_rejected_and_unread_critiques_and_other_steps_are_left_out(method: str) -> None:
    kept, rejected, unread = said("a", 1, unit(1)), said("b", 0, unit(0), seen=("x",)), said("c", 0, unit(0))
    unread = replace(unread, verdict="unknown", first_error=None)
    given = start(kept, rejected, unread, said("other", 0, unit(0))).add(
        Additions(verdicts=(Verdict(target=rejected.id, stage="scrub", verifier="scrub", version=1, outcome="fail"),))
    )
    world = World({"meta": Says(lambda _: told([(0, 0, True, "operand")]))})
    (c,) = run(aggregate, given, world, of=OF, method=method, see=("gold_steps",)).critiques
    assert c.of == (kept.id,) and c.first_error == 1 and "x" not in c.seen


def test_what_any_voter_saw_was_seen_and_each_attempt_is_summed_up_alone() -> None:
    other = attempt(P, "nothing", 1)
    given = episode(
        P, WRONG, other, outcomes=["fail", "fail"],
        critiques=[
            said("a", 1, seen=("reference",)), said("b", 2, seen=("gold_steps",)), critique(other, 0, stage="a"),
        ],
    )  # fmt: skip
    made = {c.attempt: c for c in run(aggregate, given, of=OF, method="vote").critiques}
    assert made[WRONG.id].seen == ("gold_steps", "reference") and made[other.id].seen == ()
    assert len({c.id for c in made.values()}) == 2 and len(made[other.id].of) == 1
    assert run(aggregate, start(), of=OF, method="vote") == Additions()
