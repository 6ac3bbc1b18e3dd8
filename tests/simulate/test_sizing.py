"""`errata plan --simulate`: times of small runs that can be worked out by hand."""

from pathlib import Path

import pytest

from errata.cli import main
from errata.simulate.lengths import Lengths
from errata.simulate.model import Hardware
from errata.simulate.sizing import MOST, Load, size, text

LONG = Lengths(mean=10_000, p99=20_000)
"""Longer than every limit here, so that each reply has its limit's length."""
TWO_SLOTS = Hardware(slots=2, step_seconds=1.0, prefill_rate=0)
LOADS = [Load("a", "x", 2, 0, 10), Load("b", "x", 1, 0, 10)]


def sized(loads: list[Load], problems: int, *, in_flight: int = 100, replicas: int = 1) -> tuple[float, float, int]:
    (found,) = size(loads, problems, hardware=TWO_SLOTS, replicas=replicas, lengths=LONG, in_flight=in_flight)
    return found.seconds, found.ideal, found.requests


def test_first_requests_come_before_what_follows_from_them() -> None:
    # Three pairs of samples take 30 seconds on two slots, then the three second stages 10 and 10.
    assert sized(LOADS, 3) == (50, 45, 9)


def test_one_problem_at_a_time_leaves_slots_empty() -> None:
    assert sized(LOADS, 3, in_flight=1) == (60, 45, 9)


def test_replicas_are_slots() -> None:
    assert sized(LOADS, 3, replicas=2) == (30, 22.5, 9)


def test_engines_work_side_by_side() -> None:
    loads = [Load("a", "x", 2, 0, 10), Load("b", "y", 2, 0, 5)]
    x, y = size(loads, 2, hardware=TWO_SLOTS, replicas=1, lengths=LONG, in_flight=9)
    assert (x.engine, x.seconds, x.requests) == ("x", 20, 4)
    assert (y.engine, y.seconds, y.ideal) == ("y", 25, 10)


def test_a_share_of_a_request_is_some_problems_whole_one() -> None:
    _, _, requests = sized([Load("a", "x", 1.25, 0, 1)], 2_000)
    assert 2_420 <= requests <= 2_580


def test_a_longer_run_adds_full_batches() -> None:
    loads = [Load("a", "x", 1, 0, 10)]
    seconds, ideal, requests = sized(loads, MOST)
    assert sized(loads, 3 * MOST) == pytest.approx((seconds + 2 * ideal, 3 * ideal, 3 * requests))


def test_the_command_tells_time_and_fullness(capsys: pytest.CaptureFixture[str]) -> None:
    recipe = Path(__file__).parents[2] / "benchmarks/framework_cost.yaml"
    assert main(["plan", str(recipe), "--limit", "40", "--simulate", "--slots", "8", "--step-ms", "2"]) == 0
    said = capsys.readouterr().out
    assert "1 x 8 slots at 2 ms a token" in said
    # Both roles name the same engine and so share its slots.
    assert "student: 0 min" in said and "320 requests" in said and "teacher: 0" not in said


def test_hours_are_told_of_long_runs() -> None:
    found = size(LOADS, 4_000, hardware=TWO_SLOTS, replicas=1, lengths=LONG, in_flight=100)
    assert "16 h 40 min for 12,000 requests" in text(found, replicas=1, slots=2, step_ms=1000)
