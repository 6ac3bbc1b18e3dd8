"""The share of right-to-right rows: never above what is asked, and never below what can be had."""

import random
from collections import Counter
from dataclasses import replace
from typing import Any

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


# ---- any key


def labelled(values: list[str | None], name: str = "kind") -> list[Narrow]:
    made = rows(["none"] * len(values))
    return [replace(r, tags={} if v is None else {name: v}) for r, v in zip(made, values, strict=True)]


def left(given_rows: list[Narrow], dropped: dict[str, str], name: str = "kind") -> Counter[str | None]:
    return Counter(r.tags.get(name) for r in given_rows if r.id not in dropped)


LABELS = st.lists(st.sampled_from(["a", "b", "c", "d", None]), max_size=50)


@settings(max_examples=200)
@given(LABELS, st.dictionaries(st.sampled_from("abcd"), st.floats(0, 1), min_size=1), st.randoms())
def test_no_value_has_more_than_its_share_and_each_as_much_as_can_be(
    values: list[str | None], shares: dict[str, float], shuffle: random.Random
) -> None:
    given_rows = labelled(values)
    dropped = balance(given_rows, key="tag.kind", shares=shares)
    before, after = Counter(values), left(given_rows, dropped)
    total = after.total()
    for value, share in shares.items():
        assert after[value] <= share * (total + len(shares)) + 1e-6, "to within the rounding of each value"
        if after[value] < before[value]:
            assert after[value] + 1 > share * total - 1e-6, "one more would be too many"
    assert all(after[v] == n for v, n in before.items() if v not in shares), "what has no share stays"
    shuffle.shuffle(given_rows)
    assert balance(given_rows, key="tag.kind", shares=shares) == dropped
    for value in shares:
        kept = {r.id for r in given_rows if r.tags.get("kind") == value and r.id not in dropped}
        gone = {r.id for r in given_rows if r.tags.get("kind") == value} - kept
        assert not kept or not gone or max(kept) < min(gone), "the lowest ids stay"


@settings(max_examples=100)
@given(LABELS, st.sampled_from([0.1, 0.5, 1.0]))
def test_equal_shares_are_of_the_rarest_and_a_part_of_them_goes_a_part_of_the_way(
    values: list[str | None], equal: float
) -> None:
    given_rows = labelled(values)
    after = left(given_rows, balance(given_rows, key="tag.kind", equal=equal))
    known = Counter(v for v in values if v is not None)
    assert after[None] == values.count(None), "rows without the key stay"
    if equal == 1 and known:
        assert {after[v] for v in known} == {min(known.values())} or values.count(None)
    for v, n in known.items():
        bound = (1 - equal) * n / known.total() + equal / len(known)
        assert after[v] <= bound * (after.total() + len(known)) + 1e-6


def test_a_tenth_of_uniform_in_nine_tenths_of_what_is_there() -> None:
    given_rows = labelled(["10"] * 90 + ["5"] * 10)
    after = left(given_rows, balance(given_rows, key="tag.kind", equal=0.1))
    # 0.9 * 0.9 + 0.1 * 0.5 = 0.86 of the rows that stay, 0.14 the others.
    assert after == {"10": 61, "5": 10} and 61 / 71 <= 0.86 < 62 / 72


def test_a_metric_is_balanced_by_its_bins() -> None:
    made = rows(["none"] * 7)
    values = [0.0, 0.05, 0.1, 0.95, 2.0, float("nan"), None]
    made = [replace(r, metrics={} if v is None else {"place": v}) for r, v in zip(made, values, strict=True)]
    dropped = balance(made, key="metric.place", cap=1)
    assert {r.metrics.get("place") for r in made if r.id in dropped} <= {0.0, 0.05, 0.95, 2.0} and len(dropped) == 2
    assert len(balance(made, key="metric.place", bins=(0.5,), cap=1)) == 3


def test_a_cap_is_per_value_and_told_apart() -> None:
    made = [replace(r, episode=f"e{i % 3}") for i, r in enumerate(rows(["none"] * 8))]
    dropped = balance(made, key="episode", cap=2)
    assert set(dropped.values()) == {"over_cap"} and Counter(r.episode for r in made if r.id not in dropped) == {
        "e0": 2, "e1": 2, "e2": 2,
    }  # fmt: skip
    both = balance(made, key="episode", cap=2, shares={"e0": 0.2})
    assert set(both.values()) == {"over_cap", "over_share"} and set(dropped) < set(both)


@pytest.mark.parametrize("key", ["verdict", "rule", "split", "transition"])
def test_fields_of_some_rows_are_keys_too(key: str) -> None:
    made = [replace(r, split="error", transition="error", fields={key: "error"}) for r in rows(["none"] * 4)]
    assert len(balance(made, key=key, shares={"error": 0.0})) == 4
    assert balance(made, key="style", shares={"error": 0.0}) == {}


@pytest.mark.parametrize(
    "wrong",
    [
        {"shares": {"a": 1.5}}, {"equal": -1.0}, {"shares": {"a": 0.5}, "equal": 1.0}, {"key": "tags.kind"},
        {"key": ""}, {"key": "tag."}, {"bins": (0.5, 0.1)}, {"bins": (0.1, 0.1)},
        {"right_to_right": 0.3, "key": "tag.kind"}, {"right_to_right": 0.3, "equal": 1.0},
    ],
)  # fmt: skip
def test_what_cannot_be_meant_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(RecipeError):
        balance(rows(["none"]), **wrong)


@pytest.mark.parametrize("counts", [(10, 4, 7), (9, 1, 5, 3), (2, 2), (100, 30, 29, 28)])
def test_values_that_were_scarce_give_way_too_when_the_corpus_grows_smaller(counts: tuple[int, ...]) -> None:
    given_rows = labelled([str(i) for i, n in enumerate(counts) for _ in range(n)])
    after = left(given_rows, balance(given_rows, key="tag.kind", equal=1.0))
    assert set(after.values()) == {min(counts)} and len(after) == len(counts)
