"""Recipes that make and use critics: their rows, one by one, against each method, and the proof that critiques help."""

import json
import re
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from errata import chains, prompts
from errata.records.rows import CriticRow, RlRow, SftRow
from errata.records.types import Attempt, Critique, Episode
from errata.store.reader import Dataset
from errata.verifiers.leak import leaks
from tests.recipes import support
from tests.recipes.support import parameters
from tests.test_pipelines import run as pipeline

ROOT = Path(__file__).resolve().parents[2]
RECORDED = ROOT / "../shared/recorded"


class Made(support.Made):
    """A dataset of critiques."""

    def __init__(self, dataset: Dataset) -> None:
        super().__init__(dataset)
        self.metrics: dict[str, Any] = json.loads((dataset.path / "_manifest/metrics.json").read_text())

    def sft(self, config: str = "sft") -> list[SftRow]:
        return [r for r in self.dataset.rows(config) if isinstance(r, SftRow)]

    def critic(self) -> list[tuple[CriticRow, Episode, Attempt, Critique]]:
        """Each row with the records that it was made from."""
        rows = [r for r in self.dataset.rows("critic") if isinstance(r, CriticRow)]
        of = [(r, self.episodes[r.episode]) for r in rows]
        return [(r, e, e.attempt(r.lineage[1]), e.critique(r.lineage[0])) for r, e in of]

    def critiques(self) -> Iterator[tuple[Episode, Critique]]:
        """What engines said."""
        return ((e, c) for e in self.episodes.values() for c in e.critiques if c.call)


@pytest.fixture(scope="module")
def make(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Made]:
    """Run a recipe once, small, and check its files by the program that reads nothing else."""

    def run(name: str, *changes: str) -> Made:
        return Made(pipeline(name, tmp_path_factory.mktemp(name), *changes))

    return run


def first_error(episode: Episode, attempt: Attempt) -> chains.Finding | None:
    chain = chains.parse(episode.problem.text)
    assert chain is not None
    return chains.first_error(chain, [s.text for s in attempt.steps])


def told(row: CriticRow, episode: Episode, attempt: Attempt) -> str:
    """The completion, after what must hold of every critic row whose critique judges every step."""
    (asked,), (said,) = row.prompt, row.completion
    assert (asked,) == prompts.load("critique_steps").render(episode.problem, attempt)
    assert "eference" not in asked.content and "Hint" not in asked.content
    assert not leaks(episode.problem, said.content, [s.text for s in attempt.steps], phrases=True)
    lines = [s.text.strip() for s in attempt.steps]
    assert re.findall(r"^Step \d+: (.*)$", said.content, re.MULTILINE) == lines, "each step is repeated, in order"
    judged = re.findall(r"^Judgement: (\w+)$", said.content, re.MULTILINE)
    assert [{"Correct": "pass", "Wrong": "fail"}[j] for j in judged] == list(row.steps)
    assert re.findall(r"^Final answer: (\w+)$", said.content, re.MULTILINE) == [
        "Wrong" if row.verdict == "error" else "Correct"
    ]
    assert said.content.count("Explanation: ") == len(lines) + 1
    ended = "none" if row.first_error is None else str(row.first_error + 1)
    assert said.content.endswith(f"First wrong step: {ended}")
    return said.content


def share(episode: Episode, attempt: str, critique: str | None, arm: str) -> float:
    """The share of an arm's revisions that pass, counted anew."""
    found = [
        episode.outcome(a.id)
        for a in episode.attempts
        if (a.parent, a.critique) == (attempt, critique) and any((t.name, t.value) == ("arm", arm) for t in a.tags)
    ]
    return found.count("pass") / (found.count("pass") + found.count("fail"))


# ---- AutoMathCritique

ANNOTATED = ("annotate_sampled", "annotate_resampled", "annotate_injected")


@pytest.fixture(scope="module")
def automath(make: Callable[..., Made]) -> Made:
    return make("automathcritique", "source.with.count=8", "stages.close_loop.with.k=5")


def test_automath_has_the_papers_values() -> None:
    loop = parameters("automathcritique", "close_loop")
    assert (loop["k"], loop["min_rate"]) == (10, 0.3)
    for step in ANNOTATED:
        given = parameters("automathcritique", step)
        assert set(given["see"]) == {"reference", "first_error"} and given["outcome"] == "fail"


def test_automath_flawed_paths_are_of_three_origins(automath: Made) -> None:
    seen = Counter()
    for episode, c in automath.critiques():
        attempt = episode.attempt(c.attempt)
        seen[attempt.kind] += 1
        found = first_error(episode, attempt)
        assert episode.outcome(attempt.id) == "fail" and found is not None
        assert {"reference", "first_error"} <= set(c.seen) and c.call is not None
        assert c.call.template.startswith("critique_steps_guided@")
        if attempt.kind == "forked":
            parent, at = episode.attempt(str(attempt.parent)), attempt.fork_step or 0
            assert episode.outcome(parent.id) == "pass" and attempt.steps[:at] == parent.steps[:at]
            assert found.step >= at, "the error stands after the prefix"
            assert attempt.call is not None and attempt.call.temperature == 1.4 > 1.0
        if attempt.kind == "injected":
            assert attempt.injection is not None and found.step == attempt.injection.step
            assert episode.outcome(str(attempt.parent)) == "pass"
            assert any(n.call and n.call.role == "teacher" for n in episode.notes), "a model was told to make it"
    assert set(seen) == {"sampled", "forked", "injected"}


def test_automath_rows_judge_every_step_and_tell_nothing_they_must_not(automath: Made) -> None:
    rows = automath.critic()
    assert len(rows) >= 6
    for row, episode, attempt, critique in rows:
        assert told(row, episode, attempt) == critique.text
        assert (row.verdict, row.outcome, critique.stage in ANNOTATED) == ("error", "fail", True)
        assert {t.value for t in row.tags if t.name == "made_by"} == {attempt.kind}
        assert {"reference", "first_error"} <= set(row.seen)


def test_automath_keeps_what_mends_and_drops_the_rest_with_a_reason(automath: Made) -> None:
    rows = {row.lineage[0]: row for row, *_ in automath.critic()}
    dropped = {d.target: d.code for d in automath.drops if d.stage == "close_loop"}
    kept = 0
    for episode, c in automath.critiques():
        if c.verdict == "no_error":
            assert c.id not in rows, "the annotator erred: its verdict is wrong"
            continue
        rate = share(episode, c.attempt, c.id, "critique")
        placebo = share(episode, c.attempt, None, "placebo")
        assert episode.estimate(c.id, "closed_loop_rate") == pytest.approx(rate)
        assert episode.estimate(c.id, "closed_loop_gain") == pytest.approx(rate - placebo)
        assert (c.id in rows) == (rate >= 0.3) and dropped.get(c.id) == (None if rate >= 0.3 else "low_rate")
        if c.id in rows:
            assert rows[c.id].gain == pytest.approx(rate - placebo)
            kept += 1
    assert kept == len(rows) > 0


def test_automath_wrong_critiques_are_wrong_and_no_rows(automath: Made) -> None:
    rows = {row.lineage[0] for row, *_ in automath.critic()}
    controls = [(e, c) for e in automath.episodes.values() for c in e.critiques if c.source == "control"]
    assert controls and not rows & {c.id for _, c in controls}
    for episode, c in controls:
        attempt = episode.attempt(c.attempt)
        found = first_error(episode, attempt)
        original = episode.critique(c.of[0])
        assert (c.verdict, c.first_error) != (original.verdict, original.first_error) and c.text != original.text
        if original.first_error == (found.step if found else None):
            assert c.first_error != original.first_error, "what contradicts a right critique is wrong"


# ---- critique in the loop


@pytest.fixture(scope="module")
def loop(make: Callable[..., Made]) -> Made:
    return make("critique_in_the_loop", "source.with.count=16")


def test_the_actor_explores_and_the_critic_is_sure_of_itself(loop: Made) -> None:
    for episode in loop.episodes.values():
        assert {a.call.temperature for a in episode.attempts if a.call} == {0.7}
        for c in episode.critiques:
            assert c.call is not None and c.call.temperature == 0.0 and c.call.max_tokens == 1536
            assert episode.outcome(c.attempt) == "fail", "right attempts are not reviewed"
            assert c.source == "critic"


def test_harder_problems_get_more_samples(loop: Made) -> None:
    more = 0
    for episode in loop.episodes.values():
        first = [episode.outcome(a.id) for a in episode.attempts if a.stage == "sample"]
        hard = [a for a in episode.attempts if a.stage == "sample_hard"]
        known = [o for o in first if o != "unknown"]
        assert len(first) == 4 and len(hard) == (8 if known.count("pass") / len(known) < 0.5 else 0)
        more += bool(hard)
    assert 0 < more < len(loop.episodes)


def test_the_next_actor_learns_what_was_right_at_first_or_mended(loop: Made) -> None:
    rows = {r.lineage[0]: r for r in loop.sft()}
    right = {
        a.id
        for e in loop.episodes.values()
        for a in e.attempts
        if a.kind in ("sampled", "revised") and e.outcome(a.id) == "pass"
    }
    assert set(rows) == right, "the union of both, and nothing else"
    for id, row in rows.items():
        episode = loop.episodes[row.episode]
        assert row.messages[:-1] == episode.problem.messages, "neither attempt nor critique is in the prompt"
        assert row.messages[-1].content == episode.attempt(id).text and all(s.train for s in row.spans)
        assert first_error(episode, episode.attempt(id)) is None
    assert {r.transition for r in rows.values()} == {"none", "wrong_to_right"}


def test_refinement_rows_are_from_attempt_and_critique_to_the_revision_alone(loop: Made) -> None:
    rows = loop.sft("refinement")
    assert len(rows) >= 5
    for row in rows:
        episode = loop.episodes[row.episode]
        revision = episode.attempt(row.lineage[0])
        first, critique = episode.attempt(str(revision.parent)), episode.critique(str(revision.critique))
        assert episode.outcome(first.id) == "fail" and critique.attempt == first.id
        assert [m.content for m in row.messages] == [
            episode.problem.text, first.text, f"{critique.text}\nCorrect the solution", revision.text,
        ]  # fmt: skip
        assert [(s.message, s.train) for s in row.spans if not s.train] == [(1, False)]
        assert all(s.message == 3 for s in row.spans if s.train)


def test_self_talk_flattens_attempt_critique_and_revision(loop: Made) -> None:
    rows = loop.sft("self_talk_rows")
    assert rows
    for row in rows:
        episode = loop.episodes[row.episode]
        spliced = episode.attempt(row.lineage[0])
        assert row.messages[:-1] == episode.problem.messages
        (critique,) = [c for c in episode.critiques if c.id == spliced.critique]
        assert f"Wait : {critique.text}\n" in row.messages[-1].content
        masked = [row.messages[-1].content[s.start : s.end] for s in row.spans if not s.train]
        assert masked == [episode.attempt(str(spliced.parent)).steps[critique.first_error or 0].text]
    spliced = sum(a.stage == "self_talk" for e in loop.episodes.values() for a in e.attempts)
    assert spliced == len(rows) and set(loop.codes("self_talk")) <= {
        "prefix_differs", "wrong_step_repeated", "not_located", "no_wrong_step", "critique_elsewhere",
    }  # fmt: skip


# ---- RefCritic


@pytest.fixture(scope="module")
def refcritic(make: Callable[..., Made]) -> Made:
    return make("refcritic", "source.with.count=14", "stages.close_loop.with.k=4")


def test_refcritic_rows_have_the_right_verdict_and_are_of_use(refcritic: Made) -> None:
    rows = refcritic.critic()
    assert len(rows) >= 4
    for row, episode, attempt, critique in rows:
        told(row, episode, attempt)
        assert row.verdict == {"fail": "error", "pass": "no_error"}[episode.outcome(attempt.id)]
        rate, placebo = share(episode, attempt.id, critique.id, "critique"), share(episode, attempt.id, None, "placebo")
        assert rate >= 0.5 and rate >= placebo and row.gain == pytest.approx(rate - placebo)
        logged = {m.name: m.value for m in row.metrics}
        assert logged["closed_loop_rate"] == pytest.approx(rate) and logged["placebo_rate"] == pytest.approx(placebo)


def test_refcritic_is_balanced_over_verdicts_and_tells_what_was_left_out(refcritic: Made) -> None:
    verdicts = Counter(row.verdict for row, *_ in refcritic.critic())
    assert verdicts["error"] == verdicts["no_error"] > 0
    assert refcritic.codes("corpus.balance") == {"over_share": sum(refcritic.codes("corpus.balance").values())}
    said = list(refcritic.critiques())
    refused = refcritic.codes("critic")
    assert len(said) == sum(verdicts.values()) + sum(refused.values()) + sum(refcritic.codes("corpus.balance").values())
    assert refused["wrong_verdict"] > 0 < refused["not_accepted"]
    assert {e.outcome(c.attempt) for e, c in said} == {"pass", "fail"}


def test_refcritics_prompts_are_of_right_and_wrong_solutions_rewarded_for_verdict_and_use(refcritic: Made) -> None:
    rows = [r for r in refcritic.dataset.rows("rl") if isinstance(r, RlRow)]
    of = [(r, refcritic.episodes[r.episode].attempt(r.lineage[0])) for r in rows]
    assert {refcritic.episodes[r.episode].outcome(a.id) for r, a in of} == {"pass", "fail"}
    for row, attempt in of:
        assert row.prompt == prompts.load("critique_steps").render(refcritic.episodes[row.episode].problem, attempt)
        assert {(t.segment, t.kind) for t in row.rewards} == {("verdict", "verdict"), ("revisions", "share")}


# ---- the closed loop on the pocket student


def test_a_critique_beats_the_placebo_and_a_wrong_one_does_not(make: Callable[..., Made]) -> None:
    made = make("bench_closed_loop", "source.with.count=160", "stages.close_loop.with.k=2")
    table = made.metrics["closed_loop"]["close_loop"]
    assert table["critique"]["known"] > 120 < table["placebo"]["known"]
    gain, wrong = table["gain"], table["wrong_gain"]
    assert gain["interval"][0] > 0 and gain["interval_by_problem"][0] > 0
    assert wrong["interval"][0] <= 0 and wrong["interval_by_problem"][0] <= 0
    assert gain["value"] > wrong["value"] and gain["problems"] > 40
    (said,) = made.metrics["critiques"]
    assert (said["verdict_accuracy"], said["first_error_exact"], said["leaking"]) == (1.0, 1.0, 0)


# ---- critiques made elsewhere


def test_recorded_critiques_come_out_whole(make: Callable[..., Made]) -> None:
    files = {"path": "mr_gsm8k_wrong.jsonl", "join": "mr_gsm8k_critiques.jsonl"}
    if not all((RECORDED / f).is_file() for f in files.values()):
        pytest.skip("the recorded critiques ../shared/recorded/mr_gsm8k_*.jsonl are not here")
    made = make("recorded_critiques", *(f"source.with.{k}={(RECORDED / f).resolve()}" for k, f in files.items()))
    (said,) = made.metrics["critiques"]
    assert (said["source"], said["rows"], said["unknown"]) == ("critic", 240, 0)
    assert (said["labelled_right"], said["labelled_wrong"]) == (98, 142)
    # Only critiques with the right verdict and step have a label of their reason.
    assert (said["verdict_accuracy"], said["first_error_exact"], said["no_error_share"]) == (1.0, 1.0, 0.0)
    rows = made.critic()
    assert len(rows) + made.codes("critic")["not_accepted"] + made.codes("critic")["not_proven"] == 240
    assert rows and {e.outcome(c.id, "label") for _, e, _, c in rows} == {"pass"}
    assert {t.value for row, *_ in rows for t in row.tags if t.name == "critic"} >= {"llama2", "claude2", "gpt3_5"}
