"""The share of right-to-right rows: never above what is asked, and never below what can be had."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from errata.corpus.balance import balance
from errata.corpus.base import Narrow
from errata.errors import RecipeError

KINDS = ("right_to_right", "wrong_to_right", "none", "right_to_wrong")


def rows(kinds: list[str], config: str = "sft") -> list[Narrow]:
    ids = [f"{random.Random(i).getrandbits(64):016x}{i}" for i in range(len(kinds))]
    return [
        Narrow(config=config, id=id, episode="e", split="train", transition=kind)
        for id, kind in zip(ids, kinds, strict=True)
    ]


@settings(max_examples=200)
@given(st.lists(st.sampled_from(KINDS), max_size=60), st.floats(0, 0.999), st.randoms())
def test_the_share_is_kept_and_as_large_as_can_be(kinds: list[str], share: float, shuffle: random.Random) -> None:
    given_rows = rows(kinds)
    dropped = balance(given_rows, right_to_right=share)
    kept = [r for r in given_rows if r.id not in dropped]
    right = [r for r in kept if r.transition == "right_to_right"]
    assert len(kept) == 0 or len(right) / len(kept) <= share + 1e-9
    assert {r.transition for r in given_rows if r.id in dropped} <= {"right_to_right"}, "nothing else is dropped"
    if dropped:
        assert (len(right) + 1) / (len(kept) + 1) > share - 1e-9, "one more would be too many"
    assert set(dropped.values()) <= {"over_share"}
    mixed = list(given_rows)
    shuffle.shuffle(mixed)
    assert balance(mixed, right_to_right=share) == dropped, "the order of rows changes nothing"
    assert not right or max(r.id for r in right) < min(dropped, default="~"), "the lowest ids stay"


@pytest.mark.parametrize(
    ("share", "others", "left"), [(0.0, 7, 0), (0.1, 9, 1), (0.3, 7, 3), (0.12, 22, 3), (0.15, 119, 21), (0.9, 7, 60)]
)
def test_shares_that_floats_cannot_hold_are_exact(share: float, others: int, left: int) -> None:
    given_rows = rows(["wrong_to_right"] * others + ["right_to_right"] * 60)
    assert 60 - len(balance(given_rows, right_to_right=share)) == left


def test_a_corpus_of_right_to_right_rows_alone_has_no_share_to_keep() -> None:
    assert len(balance(rows(["right_to_right"] * 5), right_to_right=0.5)) == 5
    assert balance([], right_to_right=0.5) == {}


def test_other_configs_are_left_alone() -> None:
    sft, dpo = rows(["right_to_right"] * 3), rows(["right_to_right"] * 4, "dpo")
    assert set(balance([*sft, *dpo])) == {r.id for r in sft}
    assert set(balance([*sft, *dpo], config="dpo")) == {r.id for r in dpo}


@pytest.mark.parametrize("share", [-0.1, 1.0, 1.5])
def test_a_share_that_is_none_is_refused(share: float) -> None:
    with pytest.raises(RecipeError, match="share"):
        balance(rows(["none"]), right_to_right=share)
