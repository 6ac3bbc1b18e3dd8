"""Partial attempts, and who wins over them."""

from typing import Any

from msgspec.structs import replace

from errata.records.types import Additions, Critique, Episode, Injection, Note, Step, Tag
from errata.stages.duel import duel
from errata.stages.partial import partial
from tests.stages.support import attempt, codes, critique, episode, grown, run, user


def game(*, sneaky: bool = True) -> Episode:
    p = user("What?")
    right = attempt(p, ("a", "b", "c"))
    steps = (right.steps[0], Step(text="wrong\n", source="injector"), Step(text="d", role="answer"))
    made = replace(
        attempt(p, "x", 0, stage="inject"), kind="injected", parent=right.id, steps=steps, fork_step=1,
        injection=Injection(kind="sign", step=1, original="b\n"),
    )  # fmt: skip
    note = Note(id="n", about=made.id, stage="inject", index=0, kind="sneaky", text="{}")
    start = episode(p, right, made, outcomes=["pass", "fail"])
    verdicts = tuple(replace(v, verifier=p.verifier) for v in start.verdicts)
    start = replace(start, verdicts=verdicts)
    return grown(partial, start.add(Additions(notes=(note,) if sneaky else ())))


def side(e: Episode, name: str) -> Any:
    return next(a for a in e.attempts if Tag(name="side", value=name) in a.tags)


def told(e: Episode, injected: int | None, original: int | None, **fields: Any) -> Episode:
    said = [critique(side(e, "injected"), injected, **fields), critique(side(e, "original"), original)]
    return e.add(Additions(critiques=tuple(said)))


def rewards(e: Episode) -> dict[str, float]:
    made = run(duel, e)
    names = {c.id: c.attempt for c in e.critiques} | {a.id: "sneaky" for a in made.attempts}
    sides = {side(e, s).id: s for s in ("injected", "original")}
    return {sides.get(names[x.target], names[x.target]): x.value for x in made.estimates}


def test_both_sides_end_with_the_step_in_question_and_carry_its_verdict() -> None:
    e = game()
    assert [s.text for s in side(e, "injected").steps] == ["a\n", "wrong\n"]
    assert [s.text for s in side(e, "original").steps] == ["a\n", "b\n"]
    assert e.outcome(side(e, "injected").id) == "fail" and e.outcome(side(e, "original").id) == "pass"
    assert {t.value for t in side(e, "original").tags if t.name == "error"} == {"sign"}


def test_the_critic_wins_by_the_step_itself_and_the_generator_by_the_opposite() -> None:
    assert rewards(told(game(), 1, None)) == {"injected": 1, "original": 1, "sneaky": -1}
    assert rewards(told(game(), 0, 1)) == {"injected": -1, "original": -1, "sneaky": 1}, "an earlier step is no hit"
    assert rewards(told(game(), None, None)) == {"injected": -1, "original": 1, "sneaky": 1}
    assert rewards(told(game(sneaky=False), 1, None)) == {"injected": 1, "original": 1}


def test_silence_is_no_answer() -> None:
    e = told(game(), 1, None)
    mute: tuple[Critique, ...] = tuple(replace(c, verdict="unknown", first_error=None) for c in e.critiques)
    made = run(duel, replace(e, critiques=mute))
    assert not made.estimates and sorted(codes(made.drops)) == ["no_answer", "no_answer", "no_critic"]
