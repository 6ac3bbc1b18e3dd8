"""Recorded runs of real agents, row by row against the file that they come from."""

import json
from collections import Counter
from itertools import product
from typing import Any

import pytest

from errata.records.rows import DpoRow, SftRow
from errata.records.types import Drop, Episode, Message
from errata.store.reader import Dataset
from tests.sources.support import RECORDED
from tests.test_pipelines import run

RUNS, SYSTEM = RECORDED / "tau_airline_gpt4o.jsonl", RECORDED / "tau_system_prompt.txt"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    if not RUNS.is_file() or not SYSTEM.is_file():
        pytest.skip("the recorded runs ../shared/recorded/tau_* are not here")
    files = (f"source.with.path={RUNS.resolve()}", f"source.with.system={SYSTEM.resolve()}")
    return run("recorded_agents", tmp_path_factory.mktemp("out"), *files)


@pytest.fixture(scope="module")
def recorded(made: Dataset) -> list[dict[str, Any]]:
    return [json.loads(line) for line in RUNS.read_text().splitlines()]


def text(message: dict[str, Any]) -> str:
    """A recorded message as one text, written down here a second time."""
    calls = [c["function"] for c in message.get("tool_calls") or ()]
    lines = [f'{{"name": "{c["name"]}", "arguments": {c["arguments"]}}}' for c in calls]
    return "\n".join(([message["content"]] if message["content"] else []) + lines)


def turns(recorded_run: dict[str, Any]) -> list[tuple[str, str]]:
    """Role and text of all that is said after the system's words; nobody replies to what stands last."""
    said = [("assistant" if m["role"] == "assistant" else "user", text(m)) for m in recorded_run["traj"][1:]]
    return said[:-1] if said[-1][0] == "user" else said


def pairs(messages: tuple[Message, ...]) -> list[tuple[str, str]]:
    return [(m.role, m.content) for m in messages]


def by_task(recorded: list[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    found: dict[str, list[dict[str, Any]]] = {}
    for one in recorded:
        found.setdefault(str(one["task_id"]), []).append(one)
    return found


def episodes(made: Dataset) -> dict[str, Episode]:
    return {e.id: e for e in made.rows("episodes") if isinstance(e, Episode)}


def test_every_run_is_an_attempt_at_its_task_with_its_reward(made: Dataset, recorded: list[dict[str, Any]]) -> None:
    tasks = list(by_task(recorded).values())
    found = sorted(episodes(made).values(), key=lambda e: int(e.problem.origin.split()[2].rstrip(",")))
    assert len(found) == len(tasks) == 25
    for episode, runs in zip(found, tasks, strict=True):
        assert pairs(episode.problem.messages) == [("system", SYSTEM.read_text())]
        assert len(episode.attempts) == len(runs)
        for attempt, one in zip(episode.attempts, runs, strict=True):
            texts: dict[int, str] = {}
            for s in attempt.steps:
                texts[s.turn] = texts.get(s.turn, "") + s.text
                assert s.train == (s.turn % 2 == 0) == (s.role != "observation")
            assert [texts[t] for t in sorted(texts)] == [text(m) for m in one["traj"][1:]]
            (verdict,) = [v for v in episode.verdicts if v.target == attempt.id]
            assert (verdict.verifier, verdict.score) == ("label", one["reward"])
            assert verdict.outcome == ("pass" if one["reward"] >= 1 else "fail")


def test_good_runs_are_paired_with_the_bad_ones_of_their_task(made: Dataset, recorded: list[dict[str, Any]]) -> None:
    expected = Counter(
        (json.dumps(turns(good)), json.dumps(turns(bad)))
        for runs in by_task(recorded).values()
        for good, bad in product(runs, runs)
        if good["reward"] > bad["reward"]
    )
    rows = [r for r in made.rows("dpo") if isinstance(r, DpoRow)]
    assert sum(expected.values()) == len(rows) == 5
    found = Counter((json.dumps(pairs(r.chosen)), json.dumps(pairs(r.rejected))) for r in rows)
    # No two of these runs begin with the same words of the user, so each is compared as a whole.
    assert found == expected
    for row in rows:
        assert pairs(row.prompt) == [("system", SYSTEM.read_text())]
        assert (row.rule, row.chosen_outcome, row.rejected_outcome) == ("reward", "pass", "fail")
        assert {(t.name, t.value) for t in row.tags} == {("splice_mode", "none"), ("parted_by", "environment")}
        assert {m.name: m.value for m in row.metrics}["margin"] == 1.0


def test_good_runs_are_imitated_and_only_the_agents_words_are_trained(
    made: Dataset, recorded: list[dict[str, Any]]
) -> None:
    rows = [r for r in made.rows("sft") if isinstance(r, SftRow)]
    good = [turns(one) for one in recorded if one["reward"] == 1.0]
    assert Counter(json.dumps(pairs(r.messages[1:])) for r in rows) == Counter(map(json.dumps, good))
    for row in rows:
        covered = {i: "" for i, m in enumerate(row.messages) if m.role == "assistant"}
        for s in row.spans:
            assert s.train and s.role in ("action", "reasoning")
            covered[s.message] += row.messages[s.message].content[s.start : s.end]
        assert covered == {i: row.messages[i].content for i in covered}, "every word of the agent's, and no other"
        assert [(t.name, t.value) for t in row.tags] == [("splice_mode", "none")]
    drops = [d for d in made.rows("drops") if isinstance(d, Drop)]
    assert Counter(d.code for d in drops) == {"not_accepted": len(recorded) - len(rows)}


def test_nothing_of_the_hidden_instruction_comes_in(made: Dataset, recorded: list[dict[str, Any]]) -> None:
    whole = "\n".join(m.content for r in made.rows("sft") if isinstance(r, SftRow) for m in r.messages)
    assert not any(one["info"]["task"]["instruction"] in whole for one in recorded)
    assert all("instruction" not in e.problem.meta and not e.problem.solution for e in episodes(made).values())
