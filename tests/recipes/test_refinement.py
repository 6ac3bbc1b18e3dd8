"""Recipes of better answers: masked thoughts before a trained answer, and pairs of three stages."""

import re
from collections import Counter
from typing import NamedTuple

import pytest

from errata import chains
from errata.records.rows import DpoRow, SftRow
from errata.records.types import Attempt, Drop, Episode
from errata.store.reader import Dataset
from tests.test_pipelines import run

AGAIN = "There may be an error\nSolve it again"


class World(NamedTuple):
    """One run of a recipe, and its episodes."""

    made: Dataset
    episodes: dict[str, Episode]

    def pairs(self, config: str) -> list[tuple[Episode, DpoRow]]:
        return [(self.episodes[r.episode], r) for r in self.made.rows(config) if isinstance(r, DpoRow)]


def ran(name: str, tmp: pytest.TempPathFactory, count: int) -> World:
    made = run(name, tmp.mktemp(name), f"source.with.count={count}")
    return World(made, {e.id: e for e in made.rows("episodes") if isinstance(e, Episode)})


def answer(text: str) -> str | None:
    found = re.findall(r"(?m)^The answer is (\d+) *$", text)
    return found[-1] if found else None


# ---- ptr


@pytest.fixture(scope="module")
def refined(tmp_path_factory: pytest.TempPathFactory) -> World:
    return ran("ptr", tmp_path_factory, 28)


def rows(refined: World) -> list[tuple[Episode, SftRow]]:
    return [(refined.episodes[r.episode], r) for r in refined.made.rows("sft") if isinstance(r, SftRow)]


def made_by(episode: Episode, stage: str) -> list[Attempt]:
    return sorted((a for a in episode.attempts if a.stage == stage), key=lambda a: a.index)


def consistency(episode: Episode, attempt: Attempt) -> float:
    """The share of the strong model's answers that say the same, computed anew."""
    votes = [answer(a.text) for a in made_by(episode, "combine")]
    return votes.count(answer(attempt.text)) / len(votes)


def test_a_row_is_problem_masked_thoughts_a_fixed_request_and_the_trained_answer(refined: World) -> None:
    assert len(rows(refined)) >= 10
    for episode, row in rows(refined):
        assert [m.role for m in row.messages] == ["user", "assistant", "user", "assistant"]
        assert row.messages[:1] == episode.problem.messages and row.messages[2].content == AGAIN
        weak = made_by(episode, "sample")
        assert row.messages[1].content == "\n\n".join(a.text.rstrip() for a in weak) and len(weak) == 3
        assert {a.call.role for a in weak if a.call} == {"student"}
        final = episode.attempt(row.lineage[2])
        assert row.messages[3].content == final.text and final.stage == "combine"
        assert {(s.message, s.train) for s in row.spans} == {(1, False), (3, True)}
        assert {s.role for s in row.spans if s.message == 1} == {"thought"}


def test_quality_never_falls_and_what_falls_is_told(refined: World) -> None:
    kept = {episode.id for episode, _ in rows(refined)}
    drops = {d.episode: d for d in refined.made.rows("drops") if isinstance(d, Drop) and d.stage == "join"}
    fell = 0
    for episode in refined.episodes.values():
        finals = made_by(episode, "combine")
        best = max(consistency(episode, a) for a in finals)
        qualities = [consistency(episode, a) for a in made_by(episode, "sample")] + [best]
        mute = any(answer(a.text) is None for a in made_by(episode, "sample"))
        assert (episode.id in kept) == (qualities == sorted(qualities) and not mute)
        if episode.id not in kept:
            fell += not mute
            assert drops[episode.id].code == ("quality_unknown" if mute else "quality_falls")
    assert fell >= 2 and len(kept) + len(drops) == len(refined.episodes) == 28


def test_the_answer_is_the_most_consistent_one_and_no_verdict_decides(refined: World) -> None:
    for episode, row in rows(refined):
        best = max(consistency(episode, a) for a in made_by(episode, "combine"))
        assert consistency(episode, episode.attempt(row.lineage[2])) == best
    outcomes = Counter(episode.outcome(row.lineage[0]) for episode, row in rows(refined))
    before = Counter(episode.outcome(episode.attempt(row.lineage[0]).parent or "") for episode, row in rows(refined))
    assert outcomes["pass"] and before["fail"], "from wrong to right"
    assert before["pass"], "and from right to right: no label is asked"
    assert not [d for d in refined.made.rows("drops") if isinstance(d, Drop) and d.code == "not_accepted"]


def test_the_strong_model_is_shown_the_thoughts_and_its_prompt_holds_no_reference(refined: World) -> None:
    for episode in refined.episodes.values():
        for final in made_by(episode, "combine"):
            assert final.parent == made_by(episode, "sample")[-1].id
            assert final.call is not None and final.call.role == "teacher"
            assert final.call.template.startswith("chains_combine@")
    for _, row in rows(refined):
        assert row.seen == ("gold_steps",), "the oracle's own knowledge is told"


# ---- sphere


@pytest.fixture(scope="module")
def sphere(tmp_path_factory: pytest.TempPathFactory) -> World:
    return ran("sphere", tmp_path_factory, 22)


STAGES = ("self_generation", "self_correction", "diversity")


@pytest.mark.parametrize("stage", STAGES)
def test_every_pair_sets_a_right_path_before_a_wrong_one_and_names_its_stage(sphere: World, stage: str) -> None:
    pairs = sphere.pairs(stage)
    assert len(pairs) >= 6
    for episode, row in pairs:
        assert {t.name: t.value for t in row.tags}["stage"] == stage
        assert (row.chosen_outcome, row.rejected_outcome) == ("pass", "fail")
        chain = chains.parse(episode.problem.text)
        assert chain is not None
        good, bad = (m[0].content.split("\n") for m in (row.chosen, row.rejected))
        assert chains.first_error(chain, good) is None, "a right path has no wrong step"
        assert chains.first_error(chain, bad) is not None
        assert row.seen == ()


def score(episode: Episode, path: Attempt) -> float:
    """Half the outcome, half the mean value of the first one and two steps, computed anew."""
    paths = made_by(episode, "search")
    values = []
    for size in (1, 2):
        if len(path.steps) > size:
            prefix = [s.text for s in path.steps[:size]]
            same = [p for p in paths if len(p.steps) > size and [s.text for s in p.steps[:size]] == prefix]
            values.append(sum(episode.outcome(p.id) == "pass" for p in same) / len(same))
    passed = episode.outcome(path.id) == "pass"
    return ((sum(values) / len(values) if values else passed) + passed) / 2


def test_self_generation_sets_the_best_path_of_the_tree_before_the_worst(sphere: World) -> None:
    for episode, row in sphere.pairs("self_generation"):
        assert row.prompt == episode.problem.messages and row.transition == "none"
        scores = {a.id: score(episode, a) for a in made_by(episode, "search") if episode.outcome(a.id) != "unknown"}
        assert scores[row.lineage[0]] == max(scores.values()) and scores[row.lineage[1]] == min(scores.values())
        margin = {m.name: m.value for m in row.metrics}["margin"]
        assert margin == pytest.approx(max(scores.values()) - min(scores.values())) and margin >= 0.5 - 1e-9
    paired = {episode.id for episode, _ in sphere.pairs("self_generation")}
    for episode in sphere.episodes.values():
        scores_of = [score(episode, a) for a in made_by(episode, "search") if episode.outcome(a.id) != "unknown"]
        assert (episode.id in paired) == (max(scores_of) - min(scores_of) >= 0.5 - 1e-9)


def test_the_tree_goes_on_from_prefixes_that_some_path_survives(sphere: World) -> None:
    grown = 0
    for episode in sphere.episodes.values():
        paths = {a.id: a for a in made_by(episode, "search")}
        assert 3 <= len(paths) <= 15
        for path in paths.values():
            assert path.kind == "search"
            if path.parent is None:
                continue
            at = path.fork_step
            assert at in (1, 2)
            assert [s.text for s in path.steps[:at]] == [s.text for s in paths[path.parent].steps[:at]]
            value = episode.estimate(path.id, "mc_value", at)
            assert value is not None and value > 0, "a step that no path survives is pruned"
            grown += 1
    assert grown > 20


def test_self_correction_shows_the_wrong_path_and_prefers_its_correction(sphere: World) -> None:
    for episode, row in sphere.pairs("self_correction"):
        first, second = episode.attempt(row.lineage[1]), episode.attempt(row.lineage[0])
        assert (first.stage, second.stage, second.parent) == ("search", "reflect", first.id)
        assert [m.content for m in row.prompt] == [episode.problem.text, first.text, AGAIN]
        assert (row.chosen[0].content, row.rejected[0].content) == (second.text, first.text)
        assert row.transition == "wrong_to_right" and row.rule == "revision"


def test_diversity_takes_distinct_right_paths_and_a_weaker_models_errors_too(sphere: World) -> None:
    pairs = sphere.pairs("diversity")
    by_problem: dict[str, list[DpoRow]] = {}
    for episode, row in pairs:
        assert row.prompt == episode.problem.messages and row.rule == "diverse"
        by_problem.setdefault(episode.id, []).append(row)
    for made in by_problem.values():
        for side in ("chosen", "rejected"):
            texts = [" ".join(getattr(r, side)[0].content.split()) for r in made]
            assert len(set(texts)) == len(texts) <= 3, "no path is in two pairs"
    makers = Counter(episode.attempt(row.lineage[1]).stage for episode, row in pairs)
    assert set(makers) == {"search", "weak"}
    assert any(len(made) > 1 for made in by_problem.values()), "several right paths of one problem"
