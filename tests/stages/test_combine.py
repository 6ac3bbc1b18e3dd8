"""One answer from several attempts, and how far each agrees with the answers."""

import pytest

from errata.engines.base import Request
from errata.errors import EngineError
from errata.records.types import Additions
from errata.stages.combine import combine
from tests.stages.support import Says, World, attempt, codes, cut, episode, problem, run

P = problem(4)
WEAK = [attempt(P, f"The answer is {k}", k, seen=("reference",) if k else ()) for k in (1, 2)]
MUTE = attempt(P, "I do not know", 3)


def combined(answers: list[object], *attempts: object, **options: object) -> tuple[Additions, Says]:
    left = iter(answers)

    def say(_: Request) -> object:
        said = next(left)
        if isinstance(said, Exception):
            raise said
        return said

    strong = Says(say)  # type: ignore[arg-type]
    start = episode(P, *(attempts or WEAK))  # type: ignore[arg-type]
    return run(combine, start, World({"teacher": strong}), prompt="chains_combine", n=len(answers), **options), strong


def test_every_answer_is_shown_all_attempts_in_their_order() -> None:
    found, strong = combined(["The answer is 2"] * 2)
    assert {r.messages[1].content for r in strong.asked} == {"The answer is 1\nThe answer is 2"}
    assert len({r.seed for r in strong.asked}) == 2
    for a in found.attempts:
        assert (a.kind, a.parent, a.seen) == ("revised", WEAK[1].id, ("reference",))
        assert {s.source for s in a.steps} == {"teacher"}


def test_consistency_is_the_share_of_answers_that_say_the_same() -> None:
    found, _ = combined(["The answer is 2", "The answer is 2", "The answer is 5"], *WEAK, MUTE)
    value = {e.target: e.value for e in found.estimates}
    assert {e.n for e in found.estimates} == {3} and {e.name for e in found.estimates} == {"consistency"}
    assert value[WEAK[0].id] == 0.0 and value[WEAK[1].id] == pytest.approx(2 / 3)
    assert MUTE.id not in value, "no answer has no consistency"
    assert sorted(round(value[a.id], 2) for a in found.attempts) == [0.33, 0.67, 0.67]


def test_answers_that_were_cut_or_lost_have_no_voice() -> None:
    found, _ = combined(["The answer is 2", cut("The answer is 1"), EngineError("http_500", "down")])
    assert {e.n for e in found.estimates} == {1} and codes(found.drops) == ["http_500"]
    assert {e.target: e.value for e in found.estimates}[WEAK[1].id] == 1.0


def test_nothing_to_combine_is_told() -> None:
    start = episode(P, attempt(P, "x", complete=False))
    found = run(combine, start, World({"teacher": Says(lambda _: "y")}), prompt="chains_combine")
    assert codes(found.drops) == ["nothing_to_combine"] and not found.attempts
