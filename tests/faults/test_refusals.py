"""F1 to F6: servers that refuse, are overloaded, want another key, or are not there."""

import time
from pathlib import Path

import pytest

from errata.errors import EngineDown
from tests.faults.support import Simulated, faulty, ran, recipe_at, run, undisturbed


def test_f1_retry_after_is_obeyed_by_all_and_costs_nothing(tmp_path: Path) -> None:
    told = ran(tmp_path, "429_retry_after=0.2", retry_after=0.4, engine={"retries": 0}).unharmed()
    assert told.retries == {"http_429": told.account["faults"]["429_retry_after"]}
    assert told.facts["seconds"] >= 0.4


def test_f2_five_refusals_in_a_row_without_a_header_are_borne(tmp_path: Path) -> None:
    told = ran(tmp_path, "429=1", fault_attempts=5, engine={"retries": 0}).unharmed()
    assert told.retries == {"http_429": 5 * undisturbed().requests} == {"http_429": told.account["faults"]["429"]}


def test_f3_server_errors_are_asked_again(tmp_path: Path) -> None:
    told = ran(tmp_path, "500=0.1", "502=0.1", "503=0.1", "504=0.1", "529=0.1").unharmed()
    assert told.retries == {f"http_{kind}": n for kind, n in told.account["faults"].items()}
    assert len(told.retries) >= 4


def test_f3_beyond_the_budget_they_cost_the_request(tmp_path: Path) -> None:
    told = ran(tmp_path, "500=0.5", fault_attempts=99, engine={"retries": 1}).sound().accounted()
    assert told.lost.keys() == {"engine_5xx"} and told.lost.total() == told.journal.errors
    assert told.account["faults"]["500"] == told.retries["http_500"] + told.lost["engine_5xx"]


def test_f4_what_is_too_long_is_not_asked_again(tmp_path: Path) -> None:
    told = ran(tmp_path, "too_long=0.2").sound().accounted()
    assert told.retries == {} and told.lost == {"too_long": told.account["faults"]["too_long"]}


@pytest.mark.parametrize(("fault", "says"), [("401=0.05", "refused the key"), ("wrong_model=0.05", "another-model")])
def test_f5_f17_what_no_request_survives_stops_the_run_which_goes_on_when_it_is_mended(
    tmp_path: Path, fault: str, says: str
) -> None:
    with faulty(tmp_path, fault, engine={"concurrency": 4}) as once:
        stops = 0
        while (told := once()).error is not None:
            stops += 1
            assert isinstance(told.error, EngineDown) and says in str(told.error) and "resumed" in str(told.error)
            assert not list(tmp_path.glob("out/small/1-*")) and told.journal.errors == 0, "nothing was given up"
            # Those under way when the first was refused, and none after.
            assert sum(told.account["faults"].values()) <= 4 * stops
        told.sound()
    assert stops >= 1 and not told.lost and told.hash == undisturbed().hash
    assert told.journal.replies == undisturbed().requests and told.journal.repeated == 0


def test_f6_a_server_that_is_away_for_a_while_is_waited_for(tmp_path: Path) -> None:
    with Simulated(step_ms=1.0) as simulated:
        recipe = recipe_at(tmp_path / "recipe", simulated, concurrency=8, backoff=0.1)
        simulated.post_once_asked("/die?seconds=0.3")
        told = run(recipe, tmp_path / "out", simulated).sound()
    assert told.account["deaths"] == 1 and told.retries["connect"] >= 1
    assert told.hash == undisturbed().hash and not told.lost
    assert told.journal.replies == undisturbed().requests and told.journal.repeated == 0


@pytest.mark.parametrize("away", ["closed", "unknown"])
def test_f6_a_server_that_stays_away_stops_the_run(tmp_path: Path, away: str) -> None:
    with Simulated() as simulated:
        recipe = recipe_at(tmp_path / "recipe", simulated, retries=2)
        there = recipe.data["engines"]["student"]["with"]["base_url"]
        # A name under .invalid has no address, RFC 2606; port 9 is where nobody listens.
        url = "http://127.0.0.1:9/v1" if away == "closed" else "http://errata.invalid/v1"
        for role in ("student", "teacher"):
            recipe.data["engines"][role]["with"]["base_url"] = url
        recipe.write()
        began = time.monotonic()
        told = run(recipe, tmp_path / "out", simulated)
        assert isinstance(told.error, EngineDown) and "the server is down" in str(told.error)
        assert time.monotonic() - began < 20 and told.account["requests"] == 0
        assert not list(tmp_path.glob("out/journal/*")), "nothing is given up, for the server may come back"
        for role in ("student", "teacher"):
            recipe.data["engines"][role]["with"]["base_url"] = there
        recipe.write()
        told = run(recipe, tmp_path / "out", simulated).sound().accounted()
    assert told.hash == undisturbed().hash
