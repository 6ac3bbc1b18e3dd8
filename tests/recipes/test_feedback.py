"""FAFT and Re-ReST, row by row: what is shown, what is trained, and what a replay of the row's own words tells."""

from collections import Counter
from typing import NamedTuple

import pytest

from errata.environments.base import World
from errata.environments.hosts import open_now
from errata.records.rows import DpoRow, SftRow
from errata.records.trajectory import STOP, action_of, actions
from errata.records.types import Attempt, Episode, Message, Task
from errata.store.reader import Dataset
from tests.test_pipelines import run


class Ran(NamedTuple):
    """One run of a recipe, and its episodes."""

    made: Dataset
    episodes: dict[str, Episode]

    def sft(self, config: str) -> list[tuple[Episode, SftRow]]:
        return [(self.episodes[r.episode], r) for r in self.made.rows(config) if isinstance(r, SftRow)]

    def dpo(self) -> list[tuple[Episode, DpoRow]]:
        return [(self.episodes[r.episode], r) for r in self.made.rows("dpo") if isinstance(r, DpoRow)]


def ran(name: str, tmp: pytest.TempPathFactory, *changes: str) -> Ran:
    made = run(name, tmp.mktemp(name), *changes)
    return Ran(made, {e.id: e for e in made.rows("episodes") if isinstance(e, Episode)})


class Played(NamedTuple):
    """A world after the actions of a conversation."""

    world: World
    reward: float


def replayed(task: Task | None, turns: tuple[Message, ...]) -> Played:
    """Play what the assistant says, from the words alone; every user's turn must be the world's own answer."""
    assert task is not None
    world, _ = open_now(task)
    reward = 0.0
    for said, answer in zip(turns[::2], (*turns[1::2], None), strict=False):
        action = action_of(said.content)
        assert said.role == "assistant"
        if action in STOP and action not in world.valid_actions():
            assert answer is None
            break
        turn = world.step(action)
        assert answer is None or (answer.role, answer.content) == ("user", turn.observation)
        reward = turn.reward
    return Played(world, reward)


def feedback(played: Played) -> str:
    """The named checks of a world as it stands, a line each, and whether all is reached."""
    checks = (*sorted(played.world.checks().items()), ("solved", played.reward == 1))
    return "\n".join(f"{name}: {'met' if holds else 'not met'}" for name, holds in checks)


def wholly_trained(row: SftRow, after: int) -> bool:
    """Whether the loss covers every word of the assistant's after the prompt, and no other."""
    covered = {s.message: "" for s in row.spans}
    for s in row.spans:
        assert s.train and s.weight == 1 and s.message >= after and row.messages[s.message].role == "assistant"
        covered[s.message] += row.messages[s.message].content[s.start : s.end]
    return covered == {i: m.content for i, m in enumerate(row.messages) if m.role == "assistant"}


def by(episode: Episode, stage: str) -> list[Attempt]:
    return [a for a in episode.attempts if a.stage == stage]


# ---- faft


@pytest.fixture(scope="module")
def faft(tmp_path_factory: pytest.TempPathFactory) -> Ran:
    return ran("faft", tmp_path_factory, "source.with.count=8", "stages.0.with.n=7")


def test_every_attempt_good_and_bad_is_a_row_and_the_same_words_are_one(faft: Ran) -> None:
    rows = Counter((e.id, e.attempt(r.lineage[0]).text) for e, r in faft.sft("sft"))
    made = [(e.id, a.text) for e in faft.episodes.values() for a in e.attempts]
    assert set(rows) == set(made) and set(rows.values()) == {1}
    assert len(made) == 8 * (7 + 1) > len(rows)
    outcomes = Counter(e.outcome(r.lineage[0]) for e, r in faft.sft("sft"))
    assert outcomes["pass"] >= 8 and outcomes["fail"] >= 8 and set(outcomes) == {"pass", "fail"}


def test_a_row_is_the_task_the_vector_of_its_own_checks_and_the_trained_attempt(faft: Ran) -> None:
    vectors = Counter[str]()
    for episode, row in faft.sft("sft"):
        played = replayed(row.task, row.messages[1:])
        vector = feedback(played)
        shown = f"{episode.problem.text}\n\nFeedback on the answer that follows:\n{vector}"
        assert row.messages[0] == Message(role="user", content=shown)
        assert wholly_trained(row, after=1) and row.transition == "none"
        assert (episode.outcome(row.lineage[0]) == "pass") == (played.reward == 1) == ("not met" not in vector)
        vectors[vector] += 1
    assert len(vectors) >= 6, "partly met checks are told apart"


def test_the_experts_attempt_meets_all_and_has_the_words_to_ask_for_it_later(faft: Ran) -> None:
    prompts = {(e.id, r.messages[0].content) for e, r in faft.sft("sft")}
    for episode in faft.episodes.values():
        (gold,) = by(episode, "gold")
        told = {n.about: n.text for n in episode.notes}
        world, _ = open_now(episode.problem.task)  # type: ignore[arg-type]
        met = "\n".join(f"{name}: met" for name in (*sorted(world.checks()), "solved"))
        assert told[gold.id] == told[episode.id] == met and gold.kind == "expert"
        assert {n.kind for n in episode.notes if n.about == episode.id} == {"all_met"}
        asked = f"{episode.problem.text}\n\nFeedback on the answer that follows:\n{told[episode.id]}"
        assert (episode.id, asked) in prompts, "the words of inference are words of training"


# ---- re_rest


@pytest.fixture(scope="module")
def mended(tmp_path_factory: pytest.TempPathFactory) -> Ran:
    return ran("re_rest", tmp_path_factory, "source.with.count=18")


def test_the_agent_is_trained_on_what_it_solved_and_on_what_the_reflector_mended(mended: Ran) -> None:
    wanted = {
        (e.id, a.text): "none" if a.stage == "act" else "wrong_to_right"
        for stage in ("mend", "act")  # the agent's own comes before the same episode of the reflector's
        for e in mended.episodes.values()
        for a in by(e, stage)
        if e.outcome(a.id) == "pass"
    }
    rows = [(e, e.attempt(r.lineage[0]), r) for e, r in mended.sft("sft")]
    assert {(e.id, a.text): r.transition for e, a, r in rows} == wanted and len(rows) == len(wanted)
    for episode, _, row in rows:
        assert row.messages[:1] == episode.problem.messages, "the task alone: the reflector is not deployed"
        assert replayed(row.task, row.messages[1:]).reward == 1 and wholly_trained(row, after=1)
    stages = Counter(a.stage for _, a, _ in rows)
    assert stages["act"] >= 10 and stages["mend"] >= 5


def test_every_failed_episode_is_tried_once_again_by_the_reflector_and_no_other(mended: Ran) -> None:
    for episode in mended.episodes.values():
        failed = {a.id for a in by(episode, "act") if episode.outcome(a.id) == "fail"}
        tries = by(episode, "mend")
        assert sorted(a.parent or "" for a in tries) == sorted(failed)
        assert {c.role for a in tries for c in a.calls} <= {"reflector"}
        assert all(c.template.startswith("try_episode_again@") for a in tries for c in a.calls)


def shown(episode: Episode, failed: Attempt) -> str:
    """What a reflector must be told of a failed episode: its actions, the world's answers, its checks; no more."""
    assert episode.problem.task is not None
    world, _ = open_now(episode.problem.task)
    lines: list[str] = []
    for i, action in enumerate(actions(failed.steps), 1):
        turn = world.step(action)
        assert turn.reward < 1
        lines += [f"[{i}] {action}", f"-> {turn.observation}"]
    told = "".join(line + "\n" for line in lines)
    return (
        f"{episode.problem.text}\n\n"
        f"An earlier attempt at this task failed. What was done, and what came of it:\n{told}"
        f"\nFeedback on that attempt:\n{feedback(Played(world, 0.0))}\n\n"
        "Work out what went wrong there. Then begin the task anew, from its first state, and act so that it succeeds: "
        "one action each turn."
    )


@pytest.mark.parametrize(("config", "stage"), [("reflector_own", "act"), ("reflector", "mend")])
def test_the_reflector_sees_the_failed_episode_and_its_feedback_and_learns_the_right_one(
    mended: Ran, config: str, stage: str
) -> None:
    rows = mended.sft(config)
    assert len(rows) >= 5
    for episode, row in rows:
        right, wrong = episode.attempt(row.lineage[0]), episode.attempt(row.lineage[1])
        assert (right.stage, wrong.stage) == (stage, "act")
        assert (episode.outcome(right.id), episode.outcome(wrong.id)) == ("pass", "fail")
        assert row.messages[0] == Message(role="user", content=shown(episode, wrong)), (
            "nothing privileged, nothing else"
        )
        assert replayed(row.task, row.messages[1:]).reward == 1 and wholly_trained(row, after=1)
        assert row.transition == "wrong_to_right" and row.seen == ("gold_steps",), (
            "the stand-ins' own knowledge is told"
        )
    assert len({(r.messages) for _, r in rows}) == len(rows), "the same words are one row"


def test_mended_episodes_that_pass_are_all_rows_of_the_reflector(mended: Ran) -> None:
    wanted = {
        (shown(e, e.attempt(a.parent or "")), a.text)
        for e in mended.episodes.values()
        for a in by(e, "mend")
        if e.outcome(a.id) == "pass"
    }
    assert {(r.messages[0].content, e.attempt(r.lineage[0]).text) for e, r in mended.sft("reflector")} == wanted


def test_right_is_preferred_to_wrong_after_the_task_alone(mended: Ran) -> None:
    rules = Counter[str]()
    for episode, row in mended.dpo():
        assert row.prompt == episode.problem.messages
        assert replayed(episode.problem.task, row.chosen).reward == 1
        assert replayed(episode.problem.task, row.rejected).reward < 1
        right, wrong = (episode.attempt(x) for x in row.lineage[:2])
        assert (right.stage, row.rule) in (("act", "outcome"), ("mend", "revision")) and wrong.stage == "act"
        assert row.rule == "outcome" or right.parent == wrong.id
        rules[row.rule] += 1
    assert rules["outcome"] >= 5 and rules["revision"] >= 5
    words = [(e.id, r.chosen, r.rejected) for e, r in mended.dpo()]
    assert len(set(words)) == len(words)
