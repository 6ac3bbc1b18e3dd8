"""Good ends against bad ones: both forms of the constraint, at their edges, and every reason for no pair."""

import pytest

from errata.errors import RecipeError
from errata.records.types import Episode
from errata.stages.pair_paths import above, pair_paths
from tests.stages.letters import grove, spell
from tests.stages.support import World, codes, grown, run, user

Q = spell("abcd")
# Rewards 1, .75, .5, .25 and 0.
PATHS = ("abcd", ("a", "b", "c", "stop"), ("a", "b", "stop"), ("a", "stop"), "ax")


def rewards(e: Episode) -> set[tuple[float, float]]:
    score = {v.target: v.score or 0.0 for v in e.verdicts if v.verifier == "world"}
    return {(score[p.chosen], score[p.rejected]) for p in e.pairs}


def test_a_ceiling_bounds_bad_ends_from_above_and_good_ones_from_below() -> None:
    start = grove(Q, *PATHS)
    e = grown(pair_paths, start, beta_mode="ceiling", alpha=0.5, beta=0.25)
    assert rewards(e) == {(1.0, 0.0), (0.75, 0.0)}, "both bounds are strict"
    e = grown(pair_paths, start, beta_mode="ceiling", alpha=0.4, beta=0.3)
    assert rewards(e) == {(g, b) for g in (1.0, 0.75, 0.5) for b in (0.25, 0.0)}
    with pytest.raises(RecipeError, match="below alpha"):
        run(pair_paths, start, beta_mode="ceiling", alpha=0.5, beta=0.5)


def test_a_gap_is_between_the_two() -> None:
    start = grove(Q, *PATHS)
    e = grown(pair_paths, start, alpha=0.5, beta=0.5)
    assert rewards(e) == {(1.0, 0.25), (1.0, 0.0), (0.75, 0.0)}
    assert {p.margin for p in e.pairs} == {1.0, 0.75}
    assert rewards(grown(pair_paths, start, alpha=0.8, beta=0.0)) == {(1.0, r) for r in (0.75, 0.5, 0.25, 0.0)}


def test_nothing_exceeds_the_highest_reward_so_that_alpha_1_asks_for_it() -> None:
    assert rewards(grown(pair_paths, grove(Q, *PATHS), alpha=1.0, beta=0.8)) == {(1.0, 0.0)}
    assert above(1.0, 1.0) and not above(0.99, 1.0) and not above(0.7, 0.7) and above(0.71, 0.7)


def test_a_pair_parts_where_the_turns_do() -> None:
    e = grown(pair_paths, grove(Q, ["a", "t\nAction: b", "c", "d"], ["a", "t\nAction: x"]), alpha=0.5)
    (pair,) = e.pairs
    assert pair.step == 2 and pair.rule == "paths", "the thought is the same, the turn is not"


def test_every_tree_without_a_pair_says_why() -> None:
    assert codes(run(pair_paths, grove(Q, "ax", "bx")).drops) == ["no_reward"]
    assert codes(run(pair_paths, grove(Q, "abcd")).drops) == ["no_bad_end"]
    assert codes(run(pair_paths, grove(Q, ["a", "stop"], "ax")).drops) == ["no_good_end"]
    assert run(pair_paths, Episode(problem=user("x"))).drops == ()
    made = run(pair_paths, grove(Q, *PATHS), alpha=0.1, beta=0.0, most=2)
    assert len(made.pairs) == 2 and codes(made.drops) == ["enough"] * 8


def test_pairs_are_shuffled_by_the_seed_alone() -> None:
    start = grove(Q, *PATHS)
    orders = {s: [p.id for p in run(pair_paths, start, World(seed=s), alpha=0.1, beta=0.0).pairs] for s in (1, 2)}
    again = [p.id for p in run(pair_paths, start, World(seed=1), alpha=0.1, beta=0.0).pairs]
    assert orders[1] == again != orders[2] and sorted(orders[1]) == sorted(orders[2])


def test_what_is_not_good_is_turned_away_from_exports() -> None:
    e = grown(pair_paths, grove(Q, *PATHS), alpha=0.7)
    score = {v.target: v.score or 0.0 for v in e.verdicts if v.verifier == "world"}
    assert {a.id for a in e.attempts if not e.rejects(a.id)} == {id for id, s in score.items() if s > 0.7}
