"""Agreement of locators is a number over pairs of sources that answered."""

from msgspec.structs import replace

from errata.records.types import Additions
from errata.stages.agree import agree
from tests.stages.support import attempt, critique, episode, problem, run


def test_agreement_is_the_share_of_pairs_that_name_one_place() -> None:
    p = problem(1)
    tries = [attempt(p, "x\ny\nz", i) for i in range(4)]
    said = [
        (0, "gold", 1), (0, "forks", 1), (0, "judge", 2), (0, "arithmetic", None),
        (1, "gold", None), (1, "judge", None), (2, "gold", 1),
    ]  # fmt: skip
    critiques = [critique(tries[i], at, stage=source, source=source) for i, source, at in said]
    silent = replace(critique(tries[2], None, stage="forks", source="forks"), verdict="unknown")
    start = episode(p, *tries, critiques=[*critiques, silent])
    made = run(agree, start)
    found = {e.target: (e.value, e.n) for e in made.estimates}
    assert found == {tries[0].id: (1 / 6, 6), tries[1].id: (1.0, 1)}, "one source, or none, agrees with nobody"
    assert {e.name for e in made.estimates} == {"location_agreement"} and made == Additions(estimates=made.estimates)
    two = run(agree, start, sources=("gold", "forks"))
    assert [(e.target, e.value) for e in two.estimates] == [(tries[0].id, 1.0)]
