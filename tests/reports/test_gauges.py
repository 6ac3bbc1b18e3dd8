"""The metrics that Prometheus reads, and the bars' words."""

import urllib.request
from pathlib import Path

import pytest

from errata.errors import RecipeError
from errata.reports.bars import clock
from errata.reports.gauges import COUNTERS, GAUGES, RATES, Gauges
from errata.runners.account import Status
from errata.runners.progress import Progress, Rates
from tests.runners.support import Recipe, errata


def scraped(port: int) -> dict[str, str]:
    """Sample names, with their labels, and values."""
    text = urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics").read().decode()
    return dict(line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))


def test_every_figure_of_the_status_is_served() -> None:
    with Gauges(0) as gauges:
        assert scraped(gauges.port) == {}
        progress = Progress(requests=7, running=3, cost=1.25)
        gauges.update(Status("small", "1-abc", progress, Rates(2.0, 10.5, 0.75, 60.0), 1, 4))
        found = scraped(gauges.port)
    assert found.pop('errata_run_info{pipeline="small",version="1-abc"}') == "1.0"
    assert set(found) == {f"errata_{n}_total" for n in COUNTERS} | {f"errata_{n}" for n in (*GAUGES, *RATES)}
    assert (found["errata_requests_total"], found["errata_running"], found["errata_cost"]) == ("7.0", "3.0", "1.25")
    assert (found["errata_utilisation"], found["errata_eta"]) == ("0.75", "60.0")


def test_what_is_not_known_is_left_out() -> None:
    with Gauges(0) as gauges:
        gauges.update(Status("small", "1-abc", Progress(), Rates(0.0, 0.0, None, None), 0, None))
        assert not {"errata_utilisation", "errata_eta"} & scraped(gauges.port).keys()


def test_a_port_that_is_taken_is_told() -> None:
    with Gauges(0) as gauges, pytest.raises(RecipeError, match=f"--metrics-port {gauges.port}"):
        Gauges(gauges.port)


def test_a_run_serves_its_metrics(recipe: Recipe, out: Path) -> None:
    done = errata("run", recipe.path, "--out", out, "--metrics-port", 0)
    assert done.returncode == 0 and "metrics at http://127.0.0.1:" in done.stderr


def test_spans_of_time() -> None:
    assert [clock(s) for s in (0, 59.6, 245, 3723)] == ["0:00", "1:00", "4:05", "1:02:03"]
