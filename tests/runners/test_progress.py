"""Rates follow from looks at the progress, and the account of a version's runs survives the runs."""

import json
from pathlib import Path

import pytest

from errata.runners.account import Account, Status, hourly
from errata.runners.progress import Meter, Progress
from errata.runners.world import World
from tests.runners.support import Recipe, prepared


def test_progress_of_workers_adds_up() -> None:
    assert Progress(parts=1, cost=0.5) + Progress(parts=2, cost=1.0, rows=3) == Progress(parts=3, cost=1.5, rows=3)


def test_speed_is_that_of_the_last_half_minute() -> None:
    meter = Meter(began=0.0, episodes=None, calls=1.0)
    for second in range(1, 101):
        rates = meter.read(float(second), Progress(completion_tokens=10 * second if second <= 50 else 500))
    assert rates.tokens_per_second == 0.0 and rates.seconds == 100.0 and rates.eta is None
    assert meter.read(101.0, Progress(completion_tokens=800)).tokens_per_second == pytest.approx(10.0, rel=0.1)


def test_utilisation_counts_slots_over_time_since_the_first_request() -> None:
    meter = Meter(began=0.0, episodes=None, calls=1.0)
    assert meter.read(10.0, Progress(room=4)).utilisation is None
    meter.read(11.0, Progress(room=4, requests=4, running=4))
    assert meter.read(14.0, Progress(room=4, requests=8, running=2)).utilisation == pytest.approx((4 + 6) / 16)


def test_the_time_left_follows_the_plan_and_then_what_was_seen() -> None:
    meter = Meter(began=0.0, episodes=1000, calls=4.0)
    assert meter.read(1.0, Progress()).eta is None
    assert meter.read(10.0, Progress(requests=1000)).eta == pytest.approx(30.0)
    # Each episode turns out to ask twice as much.
    assert meter.read(20.0, Progress(requests=4000, episodes=400, calls=3200)).eta == pytest.approx(18.0, rel=0.1)
    assert meter.read(40.0, Progress(requests=8000, episodes=1000, calls=8000)).eta == 0.0


def test_replies_of_the_journal_take_no_time() -> None:
    meter = Meter(began=0.0, episodes=100, calls=4.0)
    assert meter.read(10.0, Progress(requests=100, reused=200)).eta == pytest.approx(10.0)


def test_an_hour_of_an_engine_that_two_roles_share_is_paid_once(recipe: Recipe) -> None:
    shared = {"use": "oracle", "with": {"skill": 0.5}, "price": {"hour": 2.0}, "replicas": 3}
    recipe.data["engines"] = {"student": shared, "teacher": shared}
    assert hourly(prepared(recipe.write()).recipe) == 6.0


def account(recipe: Recipe, path: Path, told: list[Status]) -> Account:
    made = prepared(recipe.path)
    return Account(made.recipe, made.version, path, done=0, watch=told.append, world=World())


def test_run_json_tells_of_the_runs_before(recipe: Recipe, tmp_path: Path) -> None:
    path, told = tmp_path / "run.json", list[Status]()
    first = account(recipe, path, told)
    first.note(Progress(requests=7))
    first.write("going on")
    second = account(recipe, path, told)
    second.note(Progress(requests=5))
    second.write("EngineDown: no server")
    third = account(recipe, path, told).close(runner="local")
    assert [(r["ended"], r["progress"]["requests"]) for r in third["earlier"]] == [
        ("killed", 7),
        ("EngineDown: no server", 5),
    ]
    assert third["ended"] == "finished" and third["runner"] == "local"
    assert [s.progress.requests for s in told] == [7, 5] and told[0].parts == 1


@pytest.mark.parametrize("torn", ["", "{", '{"runs": [1]}', "[]"])
def test_a_torn_note_costs_no_run(recipe: Recipe, tmp_path: Path, torn: str) -> None:
    path = tmp_path / "run.json"
    path.write_text(torn)
    assert account(recipe, path, []).close()["earlier"] == []
    (tmp_path / "file").touch()
    account(recipe, tmp_path / "file" / "run.json", []).write("going on")


def test_the_price_of_tokens_is_added_up(recipe: Recipe, out: Path) -> None:
    from tests.runners.support import start

    recipe.data["engines"]["student"]["price"] = {"prompt": 1e6, "completion": 2e6}
    made = start(recipe.write(), out).path
    told = json.loads((made / "_manifest/run.json").read_text())
    assert told["progress"]["cost"] > told["progress"]["completion_tokens"] > 0
    funnel = json.loads((made / "_manifest/manifest.json").read_text())["funnel"]
    wanted = sum(entry["made"].get("requests", 0) for entry in funnel)
    assert told["progress"]["calls"] == wanted == told["progress"]["requests"] + told["progress"]["reused"]
