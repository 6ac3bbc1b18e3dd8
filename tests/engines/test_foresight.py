"""What goes first: the earlier stage, then problems with long replies, believed as far as problems differ."""

import math
import random
import subprocess
import sys
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from errata.engines.foresight import WEIGHT, Foresight
from errata.engines.journal import exchange_key
from errata.records.types import Attempt, Call, Critique, Episode, Problem
from tests.engines.test_journal import IDENTITIES, IDENTITY, REQUESTS, request

BENCHMARK = Path(__file__).resolve().parents[2] / "benchmarks" / "foresight.py"
CALL = Call(
    role="student", engine="e", model="m", revision="", key="", seed=0, temperature=1.0, top_p=1.0, max_tokens=9,
    template="", prompt_tokens=1, completion_tokens=1, finish="stop",
)  # fmt: skip


def episode(*tokens: int) -> Episode:
    """Samples of so many tokens, and one attempt that was read from a file."""
    made = [
        Attempt(id=str(i), stage="sample", index=i, kind="sampled", steps=(), call=replace(CALL, completion_tokens=n))
        for i, n in enumerate(tokens)
    ]
    read = Attempt(id="read", stage="source", index=0, kind="expert", steps=())
    return Episode(problem=Problem(id="p", messages=(), verifier="exact", answer=""), attempts=(*made, read))


def chain() -> Foresight:
    return Foresight(["sample", "critique", "revise"], {"sample": (), "critique": ("sample",), "revise": ("critique",)})


def taught(share: float, *, episodes: int = 500, ending: bool = True) -> Foresight:
    """After samples of many problems that have a share of their lengths' variance in common."""
    rng, foresight = random.Random(1), chain()
    for _ in range(episodes):
        common = math.sqrt(share) * rng.gauss(0, 1)
        tokens = [round(100 * math.exp(common + math.sqrt(1 - share) * rng.gauss(0, 1))) for _ in range(4)]
        for n in tokens:
            foresight.learn("sample", n)
        foresight.urgency("critique", episode(*tokens))
    foresight.ending = ending
    return foresight


def test_the_stage_with_the_longest_way_to_go_is_the_most_urgent() -> None:
    steps = {
        "sample": (),
        "verify": ("sample",),
        "gold": ("sample",),
        "critique": ("verify",),
        "splice": ("gold", "critique"),
    }
    foresight = Foresight(list(steps), steps)
    found = {name: foresight.urgency(name, episode()) for name in steps}
    assert found == {"sample": 3, "verify": 2, "critique": 1, "gold": 1, "splice": 0}


def test_of_two_problems_the_one_with_longer_replies_goes_first_and_no_stage_is_overtaken() -> None:
    foresight = taught(0.5)
    long, usual, short = (foresight.urgency("critique", episode(*[n] * 4)) for n in (1_000, 100, 10))
    assert short < usual < long and abs(usual - 1) < 0.05
    assert 0.5 < (long - 1) / (WEIGHT * math.log(10)) < 1, "four replies are believed for the most part"
    single = foresight.urgency("critique", episode(1_000))
    assert usual < single < long, "one is believed less than four"
    assert foresight.urgency("sample", episode()) == 2


def test_nothing_is_believed_where_problems_do_not_differ_or_are_not_known_or_more_will_come() -> None:
    told = [episode(*[n] * 4) for n in (1_000, 10)]
    for foresight in (taught(0.0), taught(0.8, episodes=5), taught(0.8, ending=False)):
        long, short = (foresight.urgency("critique", e) for e in told)
        assert abs(long - 1) < 0.15 and abs(short - 1) < 0.15
    assert taught(0.8, ending=False).urgency("critique", told[0]) == 1.0


def test_how_far_problems_differ_is_found_out() -> None:
    for share in (0.0, 0.3, 0.5, 0.8):
        assert abs(taught(share, episodes=2_000).shared - share) < 0.06


def test_all_kinds_of_records_with_a_call_count() -> None:
    foresight = taught(0.5)
    for n in (90, 100, 110):
        foresight.learn("critique", n)
    said = Critique(
        id="c", attempt="0", stage="critique", index=0, source="teacher", verdict="error",
        call=replace(CALL, completion_tokens=3_000),
    )  # fmt: skip
    plain = episode(100, 100, 100, 100)
    assert foresight.urgency("revise", replace(plain, critiques=(said,))) > foresight.urgency("revise", plain) + 0.1


@given(st.lists(st.lists(st.integers(0, 2**40), max_size=5), max_size=60))
def test_it_bears_any_lengths(lengths: list[list[int]]) -> None:
    foresight = chain()
    foresight.ending = True
    for tokens in lengths:
        for n in tokens:
            foresight.learn("sample", n)
        urgency = foresight.urgency("critique", episode(*tokens))
        assert 0 <= foresight.shared <= 0.95 and abs(urgency - 1) <= WEIGHT * 28


def test_memory_does_not_grow_with_the_run() -> None:
    few, many = (
        {k: len(v) for k, v in vars(taught(0.5, episodes=n)).items() if hasattr(v, "__len__")} for n in (9, 900)
    )
    assert few == many == {"_to_come": 3, "_usual": 1}


@given(REQUESTS, IDENTITIES, st.floats(allow_nan=False))
def test_no_key_depends_on_urgency(asked: object, identity: object, urgency: float) -> None:
    assert exchange_key(IDENTITY, replace(request(), urgency=urgency)) == exchange_key(IDENTITY, request())
    assert exchange_key(identity, replace(asked, urgency=urgency)) == exchange_key(identity, asked)  # type: ignore[arg-type]


def test_it_pays_in_virtual_time() -> None:
    """A queue of 500 problems before 64 slots, whose lengths depend on the problem for the most part."""
    options = ("--problems", "500", "--slots", "64", "--per-problem", "0.8", "--seeds", "3")
    said = subprocess.run([sys.executable, str(BENCHMARK), *options], capture_output=True, text=True, check=True).stdout
    head, _, row, *_ = ([cell.strip() for cell in line.split("|")] for line in said.splitlines())
    found = dict(zip(head, row, strict=True))
    assert float(found["foresight"]) < float(found["stages"]) - 0.02 < float(found["arrival"]) - 0.04
