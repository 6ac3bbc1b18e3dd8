"""Recipes of several critics and of critique-guided groups: their rows, one by one, against each method."""

from collections import Counter, defaultdict
from collections.abc import Callable
from itertools import combinations
from pathlib import Path
from statistics import fmean

import pytest

from errata import chains, prompts
from errata.records.rows import CriticRow, DpoRow, OfflineRow
from errata.records.types import Critique, Episode
from errata.verifiers.leak import leaks
from tests.recipes import support
from tests.recipes.support import parameters
from tests.test_pipelines import run as pipeline

ROOT = Path(__file__).resolve().parents[2]
CRITICS = ("critic_a", "critic_b", "critic_c")
REVISERS = ("effect_a", "effect_b")


class Made(support.Made):
    """A dataset of critiques."""

    def critiques(self, *stages: str) -> list[tuple[Episode, Critique]]:
        return [(e, c) for e in self.episodes.values() for c in e.critiques if c.stage in stages]


@pytest.fixture(scope="module")
def make(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Made]:
    """Run a recipe once, small, and check its files by the program that reads nothing else."""

    def run(name: str, *changes: str) -> Made:
        return Made(pipeline(name, tmp_path_factory.mktemp(name), *changes))

    return run


def first_error(episode: Episode, attempt: str) -> chains.Finding | None:
    chain = chains.parse(episode.problem.text)
    assert chain is not None
    return chains.first_error(chain, [s.text for s in episode.attempt(attempt).steps])


def gives_away(episode: Episode, attempt: str, text: str) -> bool:
    return bool(leaks(episode.problem, text, [s.text for s in episode.attempt(attempt).steps], phrases=True))


# ---- MultiCritique


@pytest.fixture(scope="module")
def multi(make: Callable[..., Made]) -> Made:
    return make("multicritique", "source.with.count=12")


def test_multi_each_attempt_is_criticised_in_units_by_all_critics_who_see_criteria_and_a_solution(multi: Made) -> None:
    for step in CRITICS:
        given = parameters("multicritique", step)
        assert (given["role"], given["see"], given["notes"], given["outcome"]) == (
            step, ("gold_steps",), ("criteria",), "any",
        )  # fmt: skip
    for episode in multi.episodes.values():
        (criteria,) = episode.notes
        assert criteria.kind == "criteria" and criteria.text.count("\n") == 2 and criteria.call is not None
        assert not leaks(episode.problem, criteria.text, (), phrases=True), "written for the task, not for a solution"
        for attempt in (a for a in episode.attempts if a.stage == "sample"):
            told = [c for c in episode.critiques if c.attempt == attempt.id and c.stage in CRITICS]
            assert [c.stage for c in told] == list(CRITICS)
            for c in told:
                assert c.call is not None and c.call.template.startswith("critique_units@")
                assert c.source == "critic" and "gold_steps" in c.seen and not c.text.startswith("{")
                assert (
                    c.verdict == "no_error"
                    or {f.step for f in c.findings} >= {c.first_error}
                    or c.first_error == (len(attempt.steps))
                )
    units = [f for _, c in multi.critiques(*CRITICS) for f in c.findings]
    assert all(f.severity in ("minor", "serious", "fatal") and f.kind and f.text for f in units)


def test_multi_a_meta_critic_weighs_every_unit_and_sums_the_valid_ones_up(multi: Made) -> None:
    summed = multi.critiques("aggregate")
    assert len(summed) == 2 * 12
    valid: Counter[str] = Counter()
    for episode, c in summed:
        critics = [x for x in episode.critiques if x.attempt == c.attempt and x.stage in CRITICS]
        assert (c.source, c.of) == ("meta", tuple(x.id for x in critics)) and "gold_steps" in c.seen
        heard = [(x.id, f.step, f.quote, f.text) for x in critics for f in x.findings]
        assert [(f.critic, f.step, f.quote, f.text) for f in c.findings] == heard, "no unit more, none less"
        good = [f for f in c.findings if f.valid == "pass"]
        valid.update(f.valid for f in c.findings)
        truth = first_error(episode, c.attempt)
        assert all(truth is not None and f.text == chains.critique(truth) and f.kind == truth.kind for f in good)
        if good:
            assert c.verdict == "error" and c.text in {f.text for f in good}, "it says what valid units say"
        else:
            assert (c.verdict, c.first_error) == ("no_error", None)
        other = [x for x in critics if (x.verdict, x.first_error) != (c.verdict, c.first_error)]
        assert episode.estimate(c.id, "disagreement") == pytest.approx(len(other) / 3)
    assert set(valid) == {"pass", "fail"}


def test_multi_the_sft_target_is_the_meta_critics_and_nothing_privileged_is_shown(multi: Made) -> None:
    rows = [r for r in multi.dataset.rows("critic") if isinstance(r, CriticRow)]
    assert {r.verdict for r in rows} == {"error", "no_error"}
    for row in rows:
        episode = multi.episodes[row.episode]
        c, attempt = episode.critique(row.lineage[0]), episode.attempt(row.lineage[1])
        assert (c.stage, c.source) == ("aggregate", "meta") and episode.outcome(c.id, "scrub") == "pass"
        assert row.prompt == prompts.load("chains_critique").render(episode.problem, attempt)
        assert [m.content for m in row.prompt] == [episode.problem.text, attempt.text, "Find the first wrong step"]
        assert [(m.role, m.content) for m in row.completion] == [("assistant", c.text)]
        assert not gives_away(episode, attempt.id, c.text)
        assert (row.verdict == "error") == (row.outcome == "fail"), "a critique against the verifier is no target"
        assert "gold_steps" in row.seen
    assert len(rows) + sum(multi.codes("critic").values()) == len(multi.critiques("aggregate"))


def rate(episode: Episode, critique: str) -> float:
    """The share of both revisers' revisions with this critique that pass, counted anew."""
    found = [episode.outcome(a.id) for a in episode.attempts if a.stage in REVISERS and a.critique == critique]
    return found.count("pass") / (found.count("pass") + found.count("fail"))


def test_multi_effects_are_measured_by_two_revisers(multi: Made) -> None:
    arms: dict[str, Counter[tuple[str, float]]] = defaultdict(Counter)
    for episode in multi.episodes.values():
        for a in episode.attempts:
            if a.stage in REVISERS:
                assert a.call is not None and a.call.template.startswith("chains_revise@")
                assert episode.outcome(str(a.parent)) == "fail" and a.critique is not None
                arms[a.critique][(a.call.role, a.call.temperature)] += 1
    assert arms and all(c == {("student", 1.0): 4, ("second_reviser", 0.6): 4} for c in arms.values())


def test_multi_the_chosen_critique_mends_more_often_than_the_rejected(multi: Made) -> None:
    rows = [r for r in multi.dataset.rows("dpo") if isinstance(r, DpoRow)]
    assert len(rows) >= 3
    for row in rows:
        episode = multi.episodes[row.episode]
        chosen, rejected = (episode.critique(x) for x in row.lineage[:2])
        assert chosen.attempt == rejected.attempt and {chosen.stage, rejected.stage} <= set(CRITICS)
        gap = rate(episode, chosen.id) - rate(episode, rejected.id)
        assert gap >= 0.25 and {m.name: m.value for m in row.metrics}["margin"] == pytest.approx(gap)
        assert (row.chosen[0].content, row.rejected[0].content) == (chosen.text, rejected.text)
        assert chosen.text != rejected.text and row.rule == "effect"
        attempt = episode.attempt(chosen.attempt)
        assert row.prompt == prompts.load("chains_critique").render(episode.problem, attempt)
        assert not any(gives_away(episode, attempt.id, c.text) for c in (chosen, rejected))
    measured = {a.critique for e in multi.episodes.values() for a in e.attempts if a.stage in REVISERS}
    due = 0
    for episode in multi.episodes.values():
        known = [c for c in episode.critiques if c.stage in CRITICS and c.id in measured]
        due += sum(
            a.attempt == b.attempt and a.text != b.text and abs(rate(episode, a.id) - rate(episode, b.id)) >= 0.25
            for a, b in combinations(known, 2)
        )
    assert len(rows) + multi.codes("pair")["enough"] == due, "every pair that the rule allows, two a problem"
    assert max(Counter(r.episode for r in rows).values()) <= 2


# ---- Critique-GRPO


@pytest.fixture(scope="module")
def grpo(make: Callable[..., Made]) -> Made:
    return make("critique_grpo", "source.with.count=16")


@pytest.fixture(scope="module")
def groups(grpo: Made) -> dict[str, list[OfflineRow]]:
    found: dict[str, list[OfflineRow]] = defaultdict(list)
    for row in grpo.dataset.rows("offline_rl"):
        assert isinstance(row, OfflineRow)
        found[row.group].append(row)
    return found


def test_grpo_a_group_is_seven_rollouts_and_one_refinement(grpo: Made, groups: dict[str, list[OfflineRow]]) -> None:
    assert len(groups) == 16 and all(len({r.episode for r in rows}) == 1 for rows in groups.values())
    lost = Counter(d.episode for d in grpo.drops if d.stage == "offline_rl" and d.code == "no_verdict")
    for rows in groups.values():
        episode = grpo.episodes[rows[0].episode]
        assert Counter(a.stage for a in episode.attempts) == {"sample": 7, "revise": 7}
        made = Counter(episode.attempt(r.lineage[0]).stage for r in rows)
        assert made["revise"] <= 1 and made["sample"] <= 7 and len(rows) + lost[episode.id] == 8
    assert sum(len(rows) == 8 for rows in groups.values()) >= 12
    assert grpo.codes("select") == {"not_selected": 6 * 16} and grpo.codes("offline_rl")["not_accepted"] == 6 * 16


def test_grpo_the_advantage_is_the_reward_less_the_groups_mean(groups: dict[str, list[OfflineRow]]) -> None:
    mixed = 0
    for rows in groups.values():
        rewards = [r.reward for r in rows]
        assert set(rewards) <= {0.0, 1.0}
        assert [r.advantage for r in rows] == pytest.approx([x - fmean(rewards) for x in rewards])
        assert {r.group_rate for r in rows} == {fmean(rewards)}
        mixed += len(set(rewards)) == 2
    assert mixed >= 3, "some groups teach something"


def test_grpo_refinements_alone_are_guided_and_stand_without_the_critique(
    grpo: Made, groups: dict[str, list[OfflineRow]]
) -> None:
    for row in (r for rows in groups.values() for r in rows):
        episode = grpo.episodes[row.episode]
        made = episode.attempt(row.lineage[0])
        assert row.guided == (made.stage == "revise") and not row.constructed
        assert row.reward == (episode.outcome(made.id) == "pass")
        assert row.messages[:-1] == episode.problem.messages, "the problem's own prompt, for both"
        assert (row.messages[-1].role, row.messages[-1].content) == ("assistant", made.text)
        last = len(row.messages) - 1
        assert all(s.train and s.message == last for s in row.spans)
        assert "".join(made.text[s.start : s.end] for s in row.spans) == made.text
        if not row.guided:
            assert row.logprobs and row.seen == () and len(row.lineage) == 1
            continue
        critique, first = episode.critique(str(made.critique)), episode.attempt(str(made.parent))
        assert made.call is not None and made.call.template.startswith("chains_revise@")
        assert row.lineage == (made.id, first.id, critique.id) and first.stage == "sample"
        assert critique.attempt == first.id and not any(critique.text in m.content for m in row.messages)
        assert row.logprobs == (), "they are of another prompt than the row's"
        assert "gold_steps" in row.seen, "the critic knew the solution"


def test_grpo_a_right_refinement_is_kept_where_there_is_any(grpo: Made) -> None:
    outcomes: Counter[tuple[bool, str]] = Counter()
    for episode in grpo.episodes.values():
        refined = [a for a in episode.attempts if a.stage == "revise"]
        assert len({a.critique for a in refined}) == len({a.parent for a in refined}) == 7, "each its own critique"
        (kept,) = (a for a in refined if not episode.rejects(a.id))
        any_right = any(episode.outcome(a.id) == "pass" for a in refined)
        assert any_right == (episode.outcome(kept.id) == "pass")
        outcomes[(any_right, str(kept.parent))] += 1
    assert sum(n for (right, _), n in outcomes.items() if right) >= 8
