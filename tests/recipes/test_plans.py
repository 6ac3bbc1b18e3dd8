"""Plans and what a validator says of them: recorded logs become corrections, and ISR-LLM makes its own."""

import json
import re
from typing import Any, NamedTuple

import pytest

from errata.records.rows import DpoRow, SftRow
from errata.records.types import Attempt, Drop, Episode
from errata.store.reader import Dataset
from tests.recipes import strips
from tests.test_pipelines import RECORDED, agreement, recorded, run

FILES = ("gpt4omini", "o1mini", "o1preview")


class Log(NamedTuple):
    """A recorded file, and what the recipe made of it."""

    name: str
    rows: list[dict[str, Any]]
    made: Dataset
    episodes: dict[str, Episode]

    @property
    def metrics(self) -> dict[str, Any]:
        return json.loads((self.made.path / "_manifest/metrics.json").read_text())  # type: ignore[no-any-return]

    @property
    def sft(self) -> list[SftRow]:
        return [r for r in self.made.rows("sft") if isinstance(r, SftRow)]

    def source(self, episode: str) -> dict[str, Any]:
        """The recorded row of an episode."""
        return self.rows[int(self.episodes[episode].problem.origin.rpartition(" ")[2]) - 1]


@pytest.fixture(scope="module", params=FILES)
def log(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Log:
    file = f"planning_blocks_{request.param}.jsonl"
    change = recorded(file)
    made = run("recorded_plans", tmp_path_factory.mktemp(request.param), change)
    rows = [json.loads(line) for line in (RECORDED / file).read_text().splitlines()]
    return Log(request.param, rows, made, {e.id: e for e in made.rows("episodes") if isinstance(e, Episode)})


def judged(row: dict[str, Any], text: str) -> strips.Found:
    """What the second validator says of a plan for a recorded problem."""
    asked = next(m["content"] for m in row["messages"] if m["role"] == "user")
    told = asked.rpartition("(:init")[2]
    init, goal = (re.findall(r"\(((?!and)[^()]+)\)", part) for part in told.split("(:goal"))
    return strips.validate(init, goal, strips.plan(text) if "(" in text else [])


def said(text: str) -> tuple[int | None, set[tuple[str, ...]]]:
    """(the failing action, from 1, or None; the facts that the recorded message says are unmet)."""
    step = re.search(r"at step (\d+) has", text)
    unmet = text.partition(" are:\n" if " are:\n" in text else " is:\n")[2] or text.partition("conditions:\n")[2]
    unmet = unmet or text.partition("condition:\n")[2]
    return (int(step[1]) if step else None), {
        tuple(a.split()) for a in re.findall(r"\(([^()A-Z]+)\)", unmet.partition("Provide")[0])
    }


def test_our_verdict_agrees_with_the_label_of_every_row(log: Log) -> None:
    right = sum(row["act_correct"] for row in log.rows)
    assert agreement(log.made, "world") == {
        "both_pass": right, "both_fail": 56 - right, "only_verifier_passes": 0, "only_label_passes": 0, "unknown": 0,
    }  # fmt: skip
    assert (log.name, right) in {("gpt4omini", 0), ("o1mini", 3), ("o1preview", 54)}


def test_every_plan_that_can_be_read_is_judged_as_the_log_and_a_second_validator_do(log: Log) -> None:
    plans, unread, same = 0, [], 0
    for e in log.episodes.values():
        row = log.source(e.id)
        turns = [m["content"] for m in row["messages"]]
        for a in (a for a in e.attempts if a.stage == "source"):
            plans += 1
            after = turns[turns.index(a.text) + 1 :] if a.text in turns else None
            assert after is not None, "the plan is the log's own, character for character"
            if e.outcome(a.id) == "unknown":
                unread.append(a.text)
                continue
            found = judged(row, a.text)
            assert e.outcome(a.id) == ("pass" if found.valid else "fail")
            for c in e.critiques:
                if (c.attempt, c.source) == (a.id, "critic"):
                    assert (found.step, set(found.unmet)) == said(c.text), "the log's message is true"
                    same += 1
    assert len(unread) == (3 if log.name == "o1mini" else 0)
    assert all("(" not in text for text in unread)
    assert plans == sum(m["role"] == "assistant" for row in log.rows for m in row["messages"])
    (table,) = log.metrics["location_agreement"]
    assert (table["same"], table["different"], table["unknown"]) == (same, 0, 0)
    (told,) = log.metrics["critiques"]
    assert told["verdict_right"] == told["verdict_known"] == same and told["unknown"] == 0


def test_a_row_is_the_log_itself_and_only_its_valid_plan_is_trained(log: Log) -> None:
    wanted = {
        row["instance_id"] for row in log.rows
        if row["act_correct"] and sum(m["role"] == "assistant" for m in row["messages"]) > 1
    }  # fmt: skip
    assert {log.source(r.episode)["instance_id"] for r in log.sft} == wanted and len(log.sft) == len(wanted)
    for r in log.sft:
        row = log.source(r.episode)
        assert [(m.role, m.content) for m in r.messages] == [(m["role"], m["content"]) for m in row["messages"]]
        *wrong, right = [m.content for m in r.messages if m.role == "assistant"]
        assert judged(row, right).valid and not any(judged(row, text).valid for text in wrong)
        last = len(r.messages) - 1
        assert all(s.train == (s.message == last) for s in r.spans)
        assert "".join(right[s.start : s.end] for s in r.spans if s.message == last) == right
        assert (r.transition, r.style) == ("wrong_to_right", "turns")


def test_what_gave_no_row_says_why(log: Log) -> None:
    drops = {d.episode: d for d in log.made.rows("drops") if isinstance(d, Drop) and d.stage == "join"}
    assert drops.keys() | {r.episode for r in log.sft} == log.episodes.keys()
    for id, d in drops.items():
        outcomes = [log.episodes[id].outcome(a.id) for a in log.episodes[id].attempts if a.stage == "source"]
        if "unknown" in outcomes:
            assert d.code == "unread" and log.episodes[id].problem.origin in d.detail and "no plan was read" in d.detail
        elif len(outcomes) == 1:
            assert d.code == "too_few" and log.source(id)["act_correct"]
        else:
            assert d.code == "not_accepted" and not log.source(id)["act_correct"]


def test_a_pair_prefers_the_valid_plan_to_the_wrong_one_before_it(log: Log) -> None:
    pairs = [r for r in log.made.rows("dpo") if isinstance(r, DpoRow)]
    assert {r.episode for r in pairs} == {r.episode for r in log.sft}
    for r in pairs:
        row = log.source(r.episode)
        turns = [m["content"] for m in row["messages"] if m["role"] == "assistant"]
        assert (r.rejected[0].content, r.chosen[0].content) == tuple(turns[-2:])
        assert judged(row, turns[-1]).valid and not judged(row, turns[-2]).valid


# ---- ISR-LLM


def isr(out: pytest.TempPathFactory, *changes: str) -> Dataset:
    return run("isr_llm", out.mktemp("isr"), "source.with.count=24", *changes)


@pytest.fixture(scope="module")
def refined(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return isr(tmp_path_factory)


def line(e: Episode) -> list[Attempt]:
    """The plans of an episode, each after what it revises."""
    after = {a.parent: a for a in e.attempts if a.stage == "loop"}
    found = [a for a in e.attempts if a.stage == "sample"]
    assert len(found) == 1
    while found[-1].id in after:
        found.append(after[found[-1].id])
    return found


def exact(e: Episode, text: str) -> strips.Found:
    assert e.problem.task is not None
    spec = json.loads(e.problem.task.spec)
    return strips.validate(spec["init"], spec["goal"], strips.plan(text))


def test_plans_are_revised_until_one_is_valid_with_more_heat_each_time(refined: Dataset) -> None:
    lengths = []
    for e in (e for e in refined.rows("episodes") if isinstance(e, Episode)):
        plans = line(e)
        lengths.append(len(plans))
        for k, a in enumerate(plans):
            assert a.call is not None and a.call.temperature == pytest.approx(0.1 * k)
            assert e.outcome(a.id) == ("pass" if exact(e, a.text).valid else "fail")
            assert (e.outcome(a.id) == "pass") == (a is plans[-1]) or (len(plans) == 6 and a is plans[-1])
            told = [c for c in e.critiques if c.id == a.critique]
            assert len(told) == (k > 0)
            for c in told:
                found = exact(e, plans[k - 1].text)
                assert (c.attempt, c.source, c.verdict) == (plans[k - 1].id, "verifier", "error")
                assert c.first_error == (len(plans[k - 1].steps) if found.step is None else found.step - 1)
                assert all(f"({' '.join(fact)})" in c.text for fact in found.unmet), "every reason is named"
    assert max(lengths) <= 6 and {1, 2, 3} <= set(lengths)


def test_a_chain_shows_wrong_plans_and_feedback_and_trains_the_valid_plan(refined: Dataset) -> None:
    episodes = {e.id: e for e in refined.rows("episodes") if isinstance(e, Episode)}
    rows = [r for r in refined.rows("sft") if isinstance(r, SftRow)]
    wanted = {e.id for e in episodes.values() if len(line(e)) > 1 and exact(e, line(e)[-1].text).valid}
    assert {r.episode for r in rows} == wanted and len(rows) == len(wanted) >= 10
    for r in rows:
        e = episodes[r.episode]
        plans = line(e)
        assert r.messages[: len(e.problem.messages)] == e.problem.messages
        turns = r.messages[len(e.problem.messages) :]
        assert [m.content for m in turns[::2]] == [a.text for a in plans]
        for m, a in zip(turns[1::2], plans[1:], strict=True):
            assert m.role == "user" and e.critique(a.critique or "").text in m.content
        last = len(r.messages) - 1
        assert all(s.train == (s.message == last) for s in r.spans)
        assert sum(s.end - s.start for s in r.spans if s.train) == len(plans[-1].text)
        assert r.transition == "wrong_to_right"
        call = plans[-1].call
        shown = sum(len(m.content.split()) for m in r.messages[:-1])
        assert call is not None and call.prompt_tokens == shown, "the planner saw what the row shows"


def test_pairs_set_the_valid_plan_over_the_wrong_one_before_it(refined: Dataset) -> None:
    episodes = {e.id: e for e in refined.rows("episodes") if isinstance(e, Episode)}
    pairs = [r for r in refined.rows("dpo") if isinstance(r, DpoRow)]
    assert len(pairs) >= 10
    for r in pairs:
        plans = line(episodes[r.episode])
        assert (r.rejected[0].content, r.chosen[0].content) == (plans[-2].text, plans[-1].text)
        assert r.prompt == episodes[r.episode].problem.messages


def test_with_a_validator_that_is_a_model_final_plans_are_exact_all_the_same(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    loop = ("evidence=false", "critic=judge", "critique=judge_plan", "stop=[judge]")
    made = isr(tmp_path_factory, *(f"stages.loop.with.{change}" for change in loop))
    episodes = {e.id: e for e in made.rows("episodes") if isinstance(e, Episode)}
    rows = [r for r in made.rows("sft") if isinstance(r, SftRow)]
    assert len(rows) >= 8
    for r in rows:
        *wrong, right = line(episodes[r.episode])
        assert exact(episodes[r.episode], right.text).valid and r.messages[-1].content == right.text
        assert not any(exact(episodes[r.episode], a.text).valid for a in wrong)
    stopped = [t.value for e in episodes.values() for a in e.attempts for t in a.tags if t.name == "stopped"]
    assert "judge" in stopped and "pass" not in stopped
    believed = [e for e in episodes.values() if not exact(e, line(e)[-1].text).valid]
    assert believed, "the judge errs: some plans that it found valid are not, and none of them is a row"
