"""Hindsight, row by row: only what paid is imitated, and the experience before it is that of earlier episodes."""

import pytest

from errata.records.types import Episode
from tests.recipes.test_feedback import Ran, by, ran, replayed, wholly_trained


@pytest.fixture(scope="module")
def hindsight(tmp_path_factory: pytest.TempPathFactory) -> Ran:
    return ran("hindsight", tmp_path_factory, "source.with.count=16")


def experience(episode: Episode) -> str:
    (note,) = [n for n in episode.notes if n.kind == "experience"]
    return note.text


def test_good_episodes_alone_are_imitated_on_the_task_itself_each_wording_once(hindsight: Ran) -> None:
    rows = hindsight.sft("sft")
    assert len(rows) >= 20 and {a for e, r in rows for a in {e.attempt(r.lineage[0]).stage}} == {"act", "again"}
    for episode, row in rows:
        before = len(episode.problem.messages)
        assert row.messages[:before] == episode.problem.messages and wholly_trained(row, before)
        assert replayed(row.task, row.messages[before:]).reward == 1
    assert len({(r.episode, r.messages) for _, r in rows}) == len(rows)
    good = {(e.id, a.text.strip()) for e in hindsight.episodes.values() for a in e.attempts if e.accepts(a)}
    assert {(e.id, e.attempt(r.lineage[0]).text.strip()) for e, r in rows} == good


def test_the_experience_sums_up_the_first_episodes_and_no_later_one(hindsight: Ran) -> None:
    for episode in hindsight.episodes.values():
        first = by(episode, "act")
        won = sum(episode.outcome(a.id) == "pass" for a in first)
        assert experience(episode).startswith(f"{won} of {len(first)} episodes won.")
        lost = [v for v in episode.verdicts if v.target in {a.id for a in first} and v.outcome == "fail"]
        for name in {c.name for v in lost for c in v.checks if c.outcome == "fail"}:
            n = sum(c.name == name and c.outcome == "fail" for v in lost for c in v.checks)
            assert f"Not met in {n} of {len(lost)} lost: {name}." in experience(episode)


def test_later_episodes_begin_with_the_experience_which_is_context(hindsight: Ran) -> None:
    rows = hindsight.sft("with_experience")
    assert len(rows) >= 8
    for episode, row in rows:
        attempt = episode.attempt(row.lineage[0])
        assert attempt.stage == "again" and episode.accepts(attempt)
        (asked,) = row.messages[:1]
        assert experience(episode) in asked.content and asked.content.rstrip().endswith(episode.problem.text.rstrip())
        assert wholly_trained(row, 1) and replayed(row.task, row.messages[1:]).reward == 1


def test_a_pair_sets_what_paid_later_before_what_did_not_pay_first(hindsight: Ran) -> None:
    rows = hindsight.dpo()
    assert len(rows) >= 4
    for episode, row in rows:
        better, worse = (episode.attempt(x) for x in row.lineage[:2])
        assert (better.stage, worse.stage) == ("again", "act")
        assert (episode.outcome(better.id), episode.outcome(worse.id)) == ("pass", "fail")
        turns = (*row.prompt[len(episode.problem.messages) :], *row.chosen)
        assert replayed(episode.problem.task, turns).reward == 1
        lost = (*row.prompt[len(episode.problem.messages) :], *row.rejected)
        assert replayed(episode.problem.task, lost).reward < 1
