"""The command as a user runs it: URLs first, an accounting last, and a clean end on a signal."""

import json
import signal
import subprocess
import sys
import urllib.request

import pytest

from tests.simulate.support import body


@pytest.mark.parametrize("name", [signal.SIGTERM, signal.SIGINT])
def test_urls_are_printed_and_a_signal_ends_it_cleanly(name: signal.Signals) -> None:
    command = [sys.executable, "-m", "errata.cli", "simulate", "--replicas", "2", "--step-ms", "0", "--fault", "bom=1"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        urls = [process.stdout.readline().strip() for _ in range(2)]
        assert len(set(urls)) == 2 and all(url.startswith("http://127.0.0.1:") for url in urls)
        for number, url in enumerate(urls):
            request = urllib.request.Request(f"{url}/chat/completions", data=body(number))
            with urllib.request.urlopen(request) as response:
                assert json.loads(response.read().decode("utf-8-sig"))["choices"]
        process.send_signal(name)
        out, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (0, "")
    rows = dict(line.split(None, 1) for line in out.splitlines())
    assert rows["requests"] == rows["answered"] == "2" and rows["fault"].split() == ["bom", "2"]


def test_faults_are_listed_without_serving() -> None:
    command = [sys.executable, "-m", "errata.cli", "simulate", "--list-faults"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.startswith("429 ") and "http://" not in done.stdout


@pytest.mark.parametrize("wrong", [["--fault", "storm=1"], ["--p99", "9000"], ["--slots", "0"], ["--replicas", "0"]])
def test_a_wrong_option_is_one_line(wrong: list[str]) -> None:
    command = [sys.executable, "-m", "errata.cli", "simulate", *wrong]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1 and done.stdout == "" and done.stderr.count("\n") == 1
