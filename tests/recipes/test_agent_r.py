"""Agent-R and its control, row by row against the method: where it cuts, what it trains, and what a replay finds."""

import json
from collections import Counter
from typing import Any

import pytest
import yaml
from msgspec.structs import replace

from errata.environments.hosts import open_now
from errata.environments.replay import faults, row_replay
from errata.exports.tokens import IGNORED, render
from errata.records.rows import SftRow, Span
from errata.records.trajectory import moves
from errata.records.tree import paths, tree_of
from errata.records.types import Attempt, Critique, Episode, Pair
from errata.reports.labels import labels_text, tokenizer_at
from errata.store.reader import Dataset
from errata.store.row_audit import Allowed, row_faults
from tests.exports.chats import TEMPLATES, tokenizer_called
from tests.test_pipelines import ROOT, run

CHANGES = (
    "iterate=null",
    "engines.student={use: noisy, with: {rate: 0.25}, sampling: {temperature: 1.0, max_tokens: 64}}",
    "source.with.sources.agent.with.count=16",
    "source.with.sources.general.with.count=60",
)


@pytest.fixture(scope="module")
def agent_r(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return run("agent_r", tmp_path_factory.mktemp("out"), *CHANGES)


@pytest.fixture(scope="module")
def control(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return run("direct_revision", tmp_path_factory.mktemp("out"), *CHANGES)


def episodes(made: Dataset) -> dict[str, Episode]:
    return {e.id: e for e in made.rows("episodes") if isinstance(e, Episode)}


def rows(made: Dataset) -> list[SftRow]:
    return [r for r in made.rows("sft") if isinstance(r, SftRow)]


def tags(of: Any) -> dict[str, str]:
    return {t.name: t.value for t in of.tags}


def spliced(made: Dataset, stage: str = "splice") -> list[tuple[Episode, Attempt]]:
    return [(e, a) for e in episodes(made).values() for a in e.attempts if a.stage == stage]


def pair_of(e: Episode, a: Attempt) -> Pair:
    return next(p for p in e.pairs if (p.chosen, p.rejected) == (a.other, a.parent))


def test_trees_are_agent_rs_and_their_pairs_keep_its_bounds(agent_r: Dataset) -> None:
    assert any(e.pairs for e in episodes(agent_r).values())
    for e in episodes(agent_r).values():
        if e.problem.domain == "house":
            assert not e.pairs and [a.stage for a in e.attempts] == ["general"]
            continue
        root = tree_of(e, "tree")
        assert root.visits == 8 and max(len(p.nodes) for p in paths(root)) <= 20
        calls = {c.key: c for a in e.attempts for c in a.calls}.values()
        assert {c.temperature for c in calls} == {1.0} and len({c.seed for c in calls}) == len(calls)
        score = {v.target: v.score or 0.0 for v in e.verdicts if v.verifier == "world"}
        for p in e.pairs:
            good, bad = score[p.chosen], score[p.rejected]
            assert good > 0.5 and good - bad > 0.2 and p.margin == pytest.approx(good - bad) and root.value > 0
            a, b = e.attempt(p.chosen).steps, e.attempt(p.rejected).steps
            assert p.step is not None and a[: p.step] == b[: p.step]
            assert [s for s in a if s.turn == a[p.step].turn] != [s for s in b if s.turn == a[p.step].turn]


def test_a_bad_path_is_cut_after_the_first_action_that_its_actor_calls_bad(agent_r: Dataset) -> None:
    wanted = yaml.safe_load((ROOT / "src/errata/stages/signals.yaml").read_text())
    seen: Counter[str] = Counter()
    for e, a in spliced(agent_r):
        pair, bad, good = pair_of(e, a), e.attempt(a.parent or ""), e.attempt(a.other or "")
        place = next(c for c in e.critiques if c.id == a.critique)
        assert (place.source, place.stage, place.attempt) == ("student", "judge", bad.id)
        assert tags(place)["after"] == str(pair.step)
        at = next(i for i, s in enumerate(a.steps) if s.role == "reflection")
        kept, rest = a.steps[:at], a.steps[at + 3 :]
        assert [s.text for s in kept] == [s.text for s in bad.steps[:at]], "the bad path's own words"
        if place.first_error is not None:
            assert kept[-2].role == "action" and at - 2 == place.first_error == a.fork_step
            assert place.steps.index("fail") == place.first_error
            assert not any(place.steps[i] == "fail" for i in range(pair.step or 0, place.first_error))
        else:
            assert at in (len(bad.steps), len(bad.steps) - 1), "the whole path, without the agent's own stop"
        seen[tags(a)["located"]] += 1
        thought, noop, answer = a.steps[at : at + 3]
        assert thought.text.rstrip("\n") in wanted and (noop.text, answer.text) == ("wait", "ok.")
        assert [m.action for m in moves(rest)] == [m.action for m in moves(good.steps[pair.step or 0 :])][
            : len(moves(rest))
        ]
        assert not any(s.train for s in kept) and answer.train is False and thought.train and noop.train
        assert all(s.train == (s.turn % 2 == 0) for s in rest)
        (verdict,) = [v for v in e.verdicts if v.target == a.id]
        assert verdict.outcome == "pass"
    assert seen["student"] > 3 < seen["end"]


def test_every_row_of_a_world_is_what_the_world_says(agent_r: Dataset, control: Dataset) -> None:
    for made in (agent_r, control):
        mine, found = [r for r in rows(made) if r.task], episodes(made)
        assert len(mine) >= 10 and all(row_replay(r) == [] for r in mine)
        for r in mine:
            assert next(m.value for m in r.metrics if m.name == "reward") > 0.5 and r.task
            assert not list(row_faults(r, "sft", found[r.episode], Allowed()))
            played = [i for i, m in enumerate(r.messages) if m.role == "user" and i > 1 and m.content != "ok."]
            if played:
                lie = replace(r.messages[played[-1]], content="You found gold.")
                changed = (*r.messages[: played[-1]], lie, *r.messages[played[-1] + 1 :])
                assert len(faults(r.task, changed, r.spans)) == 1
                told = list(row_faults(replace(r, messages=changed), "sft", found[r.episode], Allowed()))
                assert [t for t in told if t.startswith("on replay, ")] and len(told) == 1


def test_good_paths_are_trained_whole_and_a_fifth_of_all_rows_is_the_agents(agent_r: Dataset) -> None:
    count = Counter(tags(r)["data"] for r in rows(agent_r))
    assert count == {"agent": 15, "general": 60}
    found = episodes(agent_r)
    stages = Counter(found[r.episode].attempt(r.lineage[0]).stage for r in rows(agent_r))
    assert set(stages) == {"tree", "splice", "general"}
    for r in rows(agent_r):
        if found[r.episode].attempt(r.lineage[0]).stage == "tree":
            assert all(s.train for s in r.spans) and "splice_mode" not in tags(r)


def test_pasted_splices_are_counted_and_never_exported(agent_r: Dataset) -> None:
    metrics = json.loads((agent_r.path / "_manifest/metrics.json").read_text())["trajectories"]
    table = {s["mode"]: s for s in metrics["splices"]}
    pasted = spliced(agent_r, "pasted")
    false = [a for _, a in pasted if tags(a)["consistent"] == "false"]
    assert table["ancestor"]["inconsistent"] == pytest.approx(len(false) / len(pasted), abs=1e-6) and false
    assert table["ancestor"]["of_pasted"] == 1 > table["replayed"]["of_pasted"] > 0
    assert table["replayed"]["accepted"] == len(spliced(agent_r)) and table["undo"]["accepted"] == len(
        spliced(agent_r, "undone")
    )
    (tree,) = metrics["trees"]
    assert tree["trees"] == 16 and tree["paired"]["pair_paths"] == sum(
        bool(e.pairs) for e in episodes(agent_r).values()
    )
    modes = {tags(r).get("splice_mode") for r in rows(agent_r)}
    assert modes == {None, "replayed"}
    for e, a in pasted:
        good = e.attempt(a.other or "")
        at = next(i for i, s in enumerate(a.steps) if s.role == "reflection") + 3
        step = pair_of(e, a).step or 0
        assert [s.text for s in a.steps[at:]] == [s.text for s in good.steps[step:]], "the good path's own words"
        world, _ = open_now(e.problem.task)  # type: ignore[arg-type]
        answers = [(m, world.step(m.action)) for m in moves(a.steps)]
        told = all(m.observation == t.observation for m, t in answers) and answers[-1][1].reward > 0.5
        assert told == (tags(a)["consistent"] == "true")


def test_the_actor_is_measured_against_the_worlds_own_answer(agent_r: Dataset) -> None:
    metrics = json.loads((agent_r.path / "_manifest/metrics.json").read_text())["trajectories"]
    (entry,) = metrics["first_error"]
    count: Counter[str] = Counter()
    for e in episodes(agent_r).values():
        said: dict[tuple[str, str], dict[str, Critique]] = {}
        for c in e.critiques:
            said.setdefault((c.attempt, tags(c)["after"]), {})[c.source] = c
        for both in said.values():
            actor, truth = both["student"].first_error, both["gold"].first_error
            count.update(paths=1, named=actor is not None, labelled=truth is not None)
            count.update(hit=actor is not None and actor == truth, same=actor == truth)
    assert {k: entry[k] for k in ("paths", "named", "labelled", "same")} == {
        k: count[k] for k in ("paths", "named", "labelled", "same")
    }
    assert entry["precision"] == pytest.approx(count["hit"] / count["named"], abs=1e-6)
    assert entry["recall"] == pytest.approx(count["hit"] / count["labelled"], abs=1e-6) and entry["world"] == "crafting"


def test_the_card_shows_both(agent_r: Dataset) -> None:
    (path,) = agent_r.path.glob("README.md")
    card = path.read_text()
    accepted = len(spliced(agent_r))
    assert "## Spliced trajectories" in card and f"| {accepted} |" in card and "| crafting | student |" in card


def test_direct_revision_differs_in_the_cut_alone(agent_r: Dataset, control: Dataset) -> None:
    mine, theirs = episodes(agent_r), episodes(control)
    assert mine.keys() == theirs.keys()
    for id, e in mine.items():
        trees = [[a for a in x.attempts if a.stage == "tree"] for x in (e, theirs[id])]
        assert trees[0] == trees[1] and e.pairs == theirs[id].pairs
    assert not any(c for e in theirs.values() for c in e.critiques)
    for e, a in spliced(control):
        bad = e.attempt(a.parent or "")
        at = next(i for i, s in enumerate(a.steps) if s.role == "reflection")
        assert at in (len(bad.steps), len(bad.steps) - 1) and a.fork_step is None and tags(a)["located"] == "end"
    assert len(spliced(control)) > 5


def trained(row: SftRow, tokenizer: Any, template: str | None = None) -> list[str]:
    """Texts of the runs of tokens that the loss covers."""
    made = render(row, tokenizer, chat_template=template, straddle="split")
    runs: list[list[int]] = [[]]
    for label in made.labels:
        if label == IGNORED:
            runs.append([])
        else:
            runs[-1].append(label)
    return [tokenizer.decode(r) for r in runs if r]


def test_no_trained_token_lies_in_the_bad_part_or_in_an_answer_of_the_world(agent_r: Dataset) -> None:
    some = [r for r in rows(agent_r) if tags(r).get("splice_mode")]
    assert some
    for row in some:
        whole = trained(row, tokenizer_called("bytes"), TEMPLATES["chatml"].jinja)
        wanted = [m.content for i, m in enumerate(row.messages) if any(s.train for s in row.spans if s.message == i)]
        assert len(whole) == len(wanted) and all(w in t for w, t in zip(wanted, whole, strict=True))
        masked: list[Span] = [s for s in row.spans if not s.train]
        assert masked and {s.role for s in masked} <= {"action", "reasoning"}
        first = min(s.message for s in row.spans if s.role == "reflection")
        assert all(s.message < first for s in masked), "all before the thought, and nothing else"


def test_the_pocket_agents_tokens_are_trained_after_the_thought_alone(agent_r: Dataset) -> None:
    tokenizer = tokenizer_at(str(ROOT / "data/pocket_agent"))
    for row in (r for r in rows(agent_r) if tags(r).get("splice_mode")):
        first = min(s.message for s in row.spans if s.role == "reflection")
        wanted = [m.content.split() for m in row.messages[first:] if m.role == "assistant"]
        found = [text.removesuffix("<|end|>").split() for text in trained(row, tokenizer)]
        assert ["".join(words) for words in found] == ["".join(words) for words in wanted]
        head, *lines = labels_text(row, tokenizer).split("\n")
        marked = [line[4:] for line in lines if line[2] == "|"]
        told = sum(len(line.split()) for line in marked)
        assert head.endswith(f", {told} trained") and "".join(marked).count("<|end|>") == len(wanted)
