"""Recipes of long traces: what is cut off, what is masked, and what the reflections are counted as."""

import json
import re
from collections import Counter
from itertools import pairwise
from typing import Any, NamedTuple

import pytest

from errata.records.rows import SftRow
from errata.records.types import Attempt, Episode
from errata.store.reader import Dataset
from tests.test_pipelines import run

STOP = "I have this answer already : it is time to stop"
MARKERS = {"wait", "but", "however", "hmm", "alternatively", "actually", "verify", "again"}
"""Those of one word; the leads of these recipes hold none of the others but `let me check`."""


class World(NamedTuple):
    """One run of a recipe, and its episodes."""

    made: Dataset
    episodes: dict[str, Episode]

    def rows(self, config: str) -> list[SftRow]:
        return [r for r in self.made.rows(config) if isinstance(r, SftRow)]

    def trace(self, row: SftRow) -> Attempt:
        """The trace that a row was cut from."""
        return self.episodes[row.episode].attempt(row.lineage[1])

    @property
    def metrics(self) -> dict[str, Any]:
        return json.loads((self.made.path / "_manifest/metrics.json").read_text())["reflections"]  # type: ignore[no-any-return]


def ran(name: str, tmp: pytest.TempPathFactory) -> World:
    made = run(name, tmp.mktemp(name), "source.with.count=14")
    return World(made, {e.id: e for e in made.rows("episodes") if isinstance(e, Episode)})


@pytest.fixture(scope="module")
def cuts(tmp_path_factory: pytest.TempPathFactory) -> World:
    return ran("first_try_cut", tmp_path_factory)


@pytest.fixture(scope="module")
def braked(tmp_path_factory: pytest.TempPathFactory) -> World:
    return ran("self_braking", tmp_path_factory)


def said(row: SftRow) -> str:
    assert [m.role for m in row.messages] == ["user", "assistant"], "the problem, then one turn"
    return row.messages[1].content


def answers(text: str, target: str) -> list[tuple[int, str]]:
    """(line after which it is stated, value) of every answer, read anew: an answer's two lines are one."""
    found: list[tuple[int, str]] = []
    for i, line in enumerate(text.splitlines()):
        told = re.search(rf"(?:^The answer is|so {target} is) (\d+) *$", line)
        if told:
            again = found and found[-1] == (i, told[1])
            found[-1 if again else len(found) :] = [(i + 1, told[1])]
    return found


def target(row: SftRow) -> str:
    asked = re.search(r"What is (\w+) \?", row.messages[0].content)
    assert asked is not None
    return asked[1]


def words(text: str) -> int:
    return len(re.findall(r"\w+", text))


# ---- first_try_cut


@pytest.mark.parametrize("i", [0, 1, 2])
def test_each_set_ends_after_its_ith_reflection_word_for_word(cuts: World, i: int) -> None:
    rows = cuts.rows(f"cut_{i}")
    assert len(rows) >= 8
    for row in rows:
        trace, text = cuts.trace(row), said(row)
        assert row.messages[:-1] == cuts.episodes[row.episode].problem.messages
        places = answers(trace.text, target(row))
        kept = "\n".join(trace.text.splitlines()[: places[i][0]])
        assert text in (kept, f"{kept}\nThe answer is {places[i][1]}") and text.endswith(f"is {places[i][1]}")
        assert sum(s.role == "reflection" for s in row.spans) >= i
        assert len(answers(text, target(row))) == i + 1 and len(places) >= 3


def test_forward_reasoning_holds_no_reflection_and_every_word_is_trained(cuts: World) -> None:
    for row in cuts.rows("cut_0"):
        assert {s.role for s in row.spans} <= {"reasoning", "answer"}
    for i in range(3):
        for row in cuts.rows(f"cut_{i}"):
            assert all(s.train for s in row.spans) and row.transition == "none"
            assert {t.name: t.value for t in row.tags}["reflections"] == str(i)


def test_the_sets_are_cut_from_the_same_traces_but_for_wrong_answers_refused(cuts: World) -> None:
    drops = [d for d in cuts.made.rows("drops") if d.code == "not_accepted"]  # type: ignore[union-attr]
    made: list[set[str]] = []
    for i in range(3):
        kept = {cuts.trace(r).id for r in cuts.rows(f"cut_{i}")}
        told = {re.match(r"(\w+): fail", d.detail)[1] for d in drops if d.stage == f"cut_{i}"}  # type: ignore[index,union-attr]
        parents = {a.id: a.parent for e in cuts.episodes.values() for a in e.attempts}
        made.append(kept | {str(parents[a]) for a in told})
    assert made[0] == made[1] == made[2]
    for i in range(3):
        for row in cuts.rows(f"cut_{i}"):
            assert cuts.episodes[row.episode].outcome(row.lineage[0]) == "pass"
            assert cuts.episodes[row.episode].outcome(row.lineage[1]) == "pass"


def test_reflections_are_counted_by_what_they_did(cuts: World) -> None:
    found: Counter[str] = Counter()
    for episode in cuts.episodes.values():
        truth = episode.problem.answer
        asked = re.search(r"What is (\w+) \?", episode.problem.text)
        for trace in episode.attempts:
            if trace.stage != "join" or asked is None:
                continue
            values = [v for _, v in answers(trace.text, asked[1])]
            found["traces"] += bool(values)
            found["answers"] += len(values)
            for a, b in pairwise(values):
                both = ("wrong", "right")[a == truth], ("wrong", "right")[b == truth]
                same = "same_wrong" if a == b else "other_wrong"
                found[same if both == ("wrong", "wrong") else "_to_".join(both)] += 1
    told = cuts.metrics["join"]
    assert {k: told[k] for k in found} == found and found["right_to_right"] > found["wrong_to_right"] > 0
    reflections = found["answers"] - found["traces"]
    assert told["confirming"] == pytest.approx((found["right_to_right"] + found["same_wrong"]) / reflections, abs=1e-5)
    assert told["correcting"] == pytest.approx(found["wrong_to_right"] / reflections, abs=1e-5)


def test_traces_are_an_attempt_told_three_times_to_solve_it_again(cuts: World) -> None:
    for episode in cuts.episodes.values():
        for trace in (a for a in episode.attempts if a.stage == "join"):
            assert trace.parent is not None and trace.other is not None
            line = [episode.attempt(trace.other)]
            while line[0].stage == "loop" and line[0].parent:
                line.insert(0, episode.attempt(line[0].parent))
            assert [a.stage for a in line] == ["sample", "loop", "loop", "loop"] and line[0].id == trace.parent
            own = [s.text.strip() for s in trace.steps if s.role != "reflection"]
            assert own == [s.text.strip() for a in line for s in a.steps]


# ---- self_braking


def score(lines: list[str], first: int) -> float:
    """The overthinking score, computed anew."""
    told = [w for line in lines for w in re.findall(r"\w+", line.lower())]
    marked = sum(w in MARKERS for w in told) + 3 * " ".join(told).count("let me check")
    return 0.9 * (1 - first / len(lines)) + 0.1 * marked / len(told)


def solutions(braked: World, row: SftRow) -> tuple[list[str], list[int]]:
    """The trace's lines, and how many of them each right solution takes up to its end."""
    lines = braked.trace(row).text.splitlines()
    truth = braked.episodes[row.episode].problem.answer
    return lines, [at for at, value in answers("\n".join(lines), target(row)) if value == truth]


def parts(row: SftRow) -> tuple[list[str], list[str], list[str]]:
    """The lines that are trained before the mask, the masked ones, and what comes after."""
    text = said(row)
    pieces = [(s, text[s.start : s.end]) for s in row.spans]
    masked = [i for i, (s, _) in enumerate(pieces) if not s.train]
    stop = next(i for i, (_, t) in enumerate(pieces) if t.strip() == STOP)
    assert masked == list(range(stop - len(masked), stop)) and all(pieces[i][0].role == "tail" for i in masked)
    lines = [t.strip() for _, t in pieces]
    return lines[: stop - len(masked)], lines[stop - len(masked) : stop], lines[stop:]


def test_exact_rows_keep_two_solutions_then_two_masked_sentences_the_stop_and_the_conclusion(braked: World) -> None:
    rows = braked.rows("sbt_e")
    assert len(rows) >= 8
    for row in rows:
        lines, ends = solutions(braked, row)
        kept, masked, after = parts(row)
        assert kept == lines[: ends[1]], "to the end of the second solution"
        assert masked == lines[ends[1] : ends[1] + 2], "its next two sentences"
        assert after == [STOP, f"The answer is {braked.episodes[row.episode].problem.answer}"]
        assert score(lines, ends[0]) > 0.2, "the trace overthinks"


def test_dynamic_rows_are_masked_from_the_threshold_on_and_stop_a_little_later(braked: World) -> None:
    rows = braked.rows("sbt_d")
    assert len(rows) >= 8 and any(parts(r)[1] for r in rows)
    for row in rows:
        lines, ends = solutions(braked, row)
        kept, masked, after = parts(row)
        scores = {k: score(lines[:k], ends[0]) for k in range(ends[0], len(lines) + 1)}
        at = next(k for k, s in scores.items() if s >= 0.2)
        end = next((k for k, s in scores.items() if s >= 0.25), len(lines))
        assert (kept, masked) == (lines[:at], lines[at:end])
        assert after == [STOP, f"The answer is {braked.episodes[row.episode].problem.answer}"]


def test_what_is_not_cut_is_told_and_every_row_is_right(braked: World) -> None:
    drops = Counter((d.stage, d.code) for d in braked.made.rows("drops"))  # type: ignore[union-attr]
    right = sum(e.outcome(a.id) == "pass" for e in braked.episodes.values() for a in e.attempts if a.stage == "join")
    for config, stage in (("sbt_e", "exact"), ("sbt_d", "dynamic")):
        refused = sum(n for (s, _), n in drops.items() if s in (stage, config))
        assert len(braked.rows(config)) + refused == right, "each right trace is a row or a reason"
        for row in braked.rows(config):
            assert braked.episodes[row.episode].outcome(row.lineage[0]) == "pass"
            assert said(row).splitlines()[-1].startswith("The answer is ") and said(row).count(STOP) == 1


def test_estimates_of_traces_are_the_papers_measures(braked: World) -> None:
    seen = 0
    for row in braked.rows("sbt_e"):
        episode, trace = braked.episodes[row.episode], braked.trace(row)
        lines, ends = solutions(braked, row)
        assert episode.estimate(trace.id, "reasoning_efficiency") == pytest.approx(ends[0] / len(lines))
        assert episode.estimate(trace.id, "overthinking") == pytest.approx(score(lines, ends[0]))
        share = episode.estimate(trace.id, "marker_share")
        assert share is not None and 0 < share * words(trace.text) <= 8
        seen += 1
    assert seen
