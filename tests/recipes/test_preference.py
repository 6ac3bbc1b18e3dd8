"""Recipes of preference and of reward, row by row against their methods' definitions."""

import json
from collections import Counter
from typing import Any

import pytest

from errata.exports.rewards import reward_table
from errata.records.rows import DpoRow, OfflineRow, RlRow, SftRow
from errata.records.types import Attempt, Drop, Episode
from errata.store.reader import Dataset
from tests.test_pipelines import run

AGAIN = "There may be an error\nSolve it again"


def episodes(made: Dataset) -> dict[str, Episode]:
    return {e.id: e for e in made.rows("episodes") if isinstance(e, Episode)}


def drops(made: Dataset, stage: str) -> list[Drop]:
    return [d for d in made.rows("drops") if isinstance(d, Drop) and d.stage == stage]


def metrics(made: Dataset) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((made.path / "_manifest/metrics.json").read_text())
    return found


def two_turns(episode: Episode) -> list[tuple[Attempt, Attempt]]:
    """Every first attempt with its revision."""
    return [(episode.attempt(a.parent), a) for a in episode.attempts if a.stage == "revise" and a.parent]


# ---- score_rl


@pytest.fixture(scope="module")
def score(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return run("score_rl", tmp_path_factory.mktemp("out"), "source.with.count=12")


def test_score_gives_every_problem_as_a_prompt_of_two_turns_for_each_stage(score: Dataset) -> None:
    problems = episodes(score)
    for config in ("stage_1", "stage_2"):
        rows = [r for r in score.rows(config) if isinstance(r, RlRow)]
        assert {r.episode for r in rows} == set(problems) and len(rows) == 12, "no prompt is left out"
        assert {r.feedback for r in rows} == {AGAIN}, (
            "the same for right and wrong first attempts, and it tells nothing"
        )
        for row in rows:
            problem = problems[row.episode].problem
            assert (row.turns, row.group_size, row.verifier) == (2, 8, "procedural")
            assert row.prompt == problem.messages and row.answer == problem.answer
            assert row.lineage == () and row.seen == ()


def test_score_pays_the_second_turn_then_both_and_the_change(score: Dataset) -> None:
    cells = {}
    for config in ("stage_1", "stage_2"):
        (terms,) = {r.rewards for r in score.rows(config) if isinstance(r, RlRow)}
        table = reward_table(f"score_{config}")
        assert terms == table.terms
        cells[config] = [table.cell(a, b) for a in ("pass", "fail") for b in ("pass", "fail")]
    assert cells == {"stage_1": [1, 0, 1, 0], "stage_2": [2, -9, 11, 0]}


def test_score_holds_the_first_turn_in_stage_one_alone(score: Dataset) -> None:
    for config, held in (("stage_1", {"first", "all"}), ("stage_2", {"all"})):
        for row in score.rows(config):
            assert isinstance(row, RlRow)
            assert {t.segment for t in row.rewards if t.kind == "kl"} == held
            assert [t.value for t in row.tags if t.name == "kl"] == (["first"] if "first" in held else [])


def test_score_tells_what_the_policy_does_before_training(score: Dataset) -> None:
    found, made = metrics(score)["revisions"]["revise"], episodes(score)
    count = Counter(
        (e.outcome(first.id), e.outcome(second.id)) for e in made.values() for first, second in two_turns(e)
    )
    assert found["wrong_to_right"] == count["fail", "pass"] and found.get("right_to_wrong", 0) == count["pass", "fail"]
    for row in score.rows("stage_1"):
        assert isinstance(row, RlRow)
        told = {m.name: m.value for m in row.metrics}
        e = made[row.episode]
        known = [e.outcome(a.id) for a in e.attempts if a.stage == "sample" and e.outcome(a.id) != "unknown"]
        assert told["rate_sample"] == pytest.approx(known.count("pass") / len(known))


# ---- scl


@pytest.fixture(scope="module")
def scl(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    oracle = ("engines.student.use=oracle", "engines.student.with.skill=0.5")
    return run("scl", tmp_path_factory.mktemp("out"), "source.with.count=60", *oracle)


def test_scl_pairs_the_turns_of_which_exactly_one_is_right(scl: Dataset) -> None:
    expected = {}
    for e in episodes(scl).values():
        for first, second in two_turns(e):
            # The second turn was asked after the first, by the fixed prompt and without a critique.
            assert second.critique is None and second.call and second.call.template.startswith("chains_try_again@")
            outcomes = (e.outcome(first.id), e.outcome(second.id))
            if outcomes == ("fail", "pass"):
                expected[second.id, first.id] = "wrong_to_right"
            if outcomes == ("pass", "fail"):
                expected[first.id, second.id] = "right_to_wrong"
    rows = [r for r in scl.rows("dpo") if isinstance(r, DpoRow)]
    assert {(r.lineage[0], r.lineage[1]): r.transition for r in rows} == expected
    assert min(Counter(expected.values()).values()) > 3 and len(set(expected.values())) == 2, "both ways supply pairs"
    assert len(rows) == len(expected)


def test_scl_pairs_stand_on_the_original_prompt_alone(scl: Dataset) -> None:
    found = episodes(scl)
    for row in scl.rows("dpo"):
        assert isinstance(row, DpoRow)
        e = found[row.episode]
        chosen, rejected = (e.attempt(x) for x in row.lineage[:2])
        assert row.prompt == e.problem.messages and AGAIN not in "".join(m.content for m in row.prompt)
        assert [m.content for m in (*row.chosen, *row.rejected)] == [chosen.text, rejected.text]
        assert (row.chosen_outcome, row.rejected_outcome, row.rule) == ("pass", "fail", "revision")


# ---- nft


@pytest.fixture(scope="module")
def nft(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return run("nft", tmp_path_factory.mktemp("out"), "source.with.count=16")


def test_nft_takes_every_sample_of_a_mixed_question_and_no_other(nft: Dataset) -> None:
    rows = {r.lineage[0]: r for r in nft.rows("offline_rl") if isinstance(r, OfflineRow)}
    codes = Counter(d.code for d in drops(nft, "offline_rl"))
    expected: Counter[str] = Counter()
    for e in episodes(nft).values():
        outcomes = {a.id: e.outcome(a.id) for a in e.attempts}
        assert len(outcomes) == 8
        known = {id: o for id, o in outcomes.items() if o != "unknown"}
        expected["no_verdict"] += 8 - len(known)
        rate = list(known.values()).count("pass") / len(known)
        mine = {id: rows[id] for id in outcomes if id in rows}
        if rate in (0, 1):
            assert not mine
            expected["all_right" if rate else "all_wrong"] += len(known)
            continue
        assert set(mine) == set(known), "right and wrong ones alike"
        assert {r.group_rate for r in mine.values()} == {rate} and len({r.group for r in mine.values()}) == 1
        for id, row in mine.items():
            assert row.reward == (known[id] == "pass")
            assert {m.name: m.value for m in row.metrics}["group_size"] == len(known)
    assert codes == expected and len(codes) >= 2 and len(rows) >= 16


def test_nft_rows_are_the_policys_own_words_with_their_log_probabilities(nft: Dataset) -> None:
    found = episodes(nft)
    for row in nft.rows("offline_rl"):
        assert isinstance(row, OfflineRow)
        made = found[row.episode].attempt(row.lineage[0])
        assert row.messages[:-1] == found[row.episode].problem.messages and row.messages[-1].content == made.text
        assert made.call and made.call.temperature == 1.0 and not row.guided and not row.constructed
        assert all(s.train for s in row.spans) and sum(s.end - s.start for s in row.spans) == len(made.text)
        assert len(row.logprobs) == made.call.completion_tokens and all(p <= 0 for p in row.logprobs)


# ---- b_star


@pytest.fixture(scope="module")
def b_star(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    changed = ("source.with.count=16", "corpus.select_config.with.probe=12", "corpus.select_config.with.enough=2")
    return run("b_star", tmp_path_factory.mktemp("out"), *changed, "corpus.select_config.with.samples=[2, 4]")


def responses(e: Episode, temperature: str, samples: int) -> list[tuple[str, float, bool]]:
    """(id, score, right) of the distinct responses that have a verdict, as the method reads them off the records."""
    found, texts = [], set()
    for a in e.attempts:
        if a.call is None or f"{a.call.temperature:g}" != temperature or a.index >= samples or a.text in texts:
            continue
        if e.outcome(a.id) == "unknown":
            continue
        texts.add(a.text)
        (steps,) = [c.outcome for v in e.verdicts if v.target == a.id for c in v.checks if c.name == "steps"]
        found.append((a.id, (e.outcome(a.id) == "pass") + (steps == "pass") / 5, steps == "pass"))
    return sorted(found, key=lambda r: -r[1])


def test_b_star_picks_the_configuration_with_the_best_balance_score(b_star: Dataset) -> None:
    found, figures = episodes(b_star), metrics(b_star)["corpus"]["select_config"]
    probe = sorted(found)[:12]
    scores = {}
    for temperature in ("0.5", "0.8", "1.1"):
        for samples in (2, 4):
            made = [responses(found[id], temperature, samples) for id in probe]
            for threshold in (-1.0, 0.0, 0.2, 1.0):  # between them nothing changes
                selected = [[r for r in mine if r[1] > threshold][:8] for mine in made]
                each = [min(n / 2, 1) * n / len(s) if (n := sum(right for *_, right in s)) else 0.0 for s in selected]
                scores[temperature, samples, threshold] = sum(each) / len(each)
    best = figures["best"]
    assert figures["probe"] == 12 and len(figures["candidates"]) == 6
    assert best["balance"] == pytest.approx(max(scores.values())) and best["balance"] > 0
    assert scores[best["temperature"], best["samples"], best["threshold"]] == pytest.approx(best["balance"])


def test_b_star_trains_the_selected_responses_of_the_chosen_configuration_alone(b_star: Dataset) -> None:
    found, best = episodes(b_star), metrics(b_star)["corpus"]["select_config"]["best"]
    rows = {r.lineage[0]: r for r in b_star.rows("sft") if isinstance(r, SftRow)}
    expected = {
        id
        for e in found.values()
        for id, score, _ in responses(e, best["temperature"], best["samples"])[:8]
        if score > best["threshold"]
    }
    assert set(rows) == expected and len(rows) >= 8, "of all problems, and not of the probe alone"
    for id, row in rows.items():
        made = found[row.episode].attempt(id)
        assert row.messages == (*found[row.episode].problem.messages, row.messages[-1])
        assert row.messages[-1].content == made.text and all(s.train for s in row.spans)
        assert [(t.name, t.value) for t in row.tags] == [("temperature", best["temperature"])]
    codes = Counter(d.code for d in drops(b_star, "corpus.select_config"))
    assert sum(codes.values()) + len(rows) == 16 * 24
    assert set(codes) <= {"other_config", "duplicate", "below_threshold", "enough", "no_reward"} and len(codes) >= 3
