"""Rows of one action: what stands before it, and that nothing else has a loss."""

from typing import Any

import pytest
from msgspec.structs import replace

from errata.exports.base import ExportContext
from errata.exports.last_action import last_action
from errata.prompts import load
from errata.records.rows import SftRow
from errata.records.types import Additions, Attempt, Drop, Episode, Message, Outcome, Step
from tests.stages.letters import spell
from tests.stages.support import verdict

P = spell("abc")


def trajectory(turns: int, outcome: Outcome = "pass", **fields: Any) -> Episode:
    """So many turns of the agent, each a thought and an action, and the world's answers."""
    steps: list[Step] = []
    for i in range(turns):
        steps += [
            Step(text=f"Thought: {i}.\n", turn=2 * i), Step(text=f"Action: {i}", role="action", turn=2 * i),
            Step(text=f"You did {i}.", role="observation", source="environment", train=False, turn=2 * i + 1),
        ]  # fmt: skip
    made = Attempt(id="a", stage="linearise", index=0, kind="spliced", steps=tuple(steps), other="b", style="backtrack")
    made = replace(made, **fields)
    return Episode(problem=P).add(Additions(attempts=(made,), verdicts=(verdict(made, outcome, verifier="world"),)))


def rows(e: Episode, **options: Any) -> list[SftRow | Drop]:
    return list(last_action(e, ExportContext("last_action", load), **options))


def every(e: Episode, **options: Any) -> list[SftRow]:
    found = rows(e, **options)
    assert all(isinstance(r, SftRow) for r in found)
    return [r for r in found if isinstance(r, SftRow)]


def said(messages: tuple[Message, ...]) -> list[str]:
    return [m.content for m in messages]


def test_each_turn_of_the_agent_is_a_row_and_it_alone_is_trained() -> None:
    found = every(trajectory(5))
    assert len(found) == 5 == len({r.id for r in found})
    for i, row in enumerate(found):
        assert len(row.messages) == 2 * i + 2 and row.messages[-1].content == f"Thought: {i}.\nAction: {i}"
        trained = [s for s in row.spans if s.train]
        assert {s.message for s in trained} == {2 * i + 1} and {s.role for s in trained} == {"reasoning", "action"}
        covered = {s.message for s in row.spans}
        assert covered == {k for k, m in enumerate(row.messages) if m.role == "assistant"}
        assert [s.role for s in row.spans] == ["reasoning", "action"] * (i + 1), "what was played can be told from it"
        assert row.task == P.task and row.lineage == ("a", "b") and row.style == "backtrack"


@pytest.mark.parametrize("head", [1, 3, 4])
@pytest.mark.parametrize("tail", [1, 4, 12])
def test_long_ones_keep_their_first_and_last_messages_in_turn(head: int, tail: int) -> None:
    e = trajectory(20)
    whole = every(e, head=99)
    for row, full in zip(every(e, head=head, tail=tail), whole, strict=True):
        before, all_ = said(row.messages[:-1]), said(full.messages[:-1])
        assert row.messages[-1] == full.messages[-1]
        if len(all_) <= head + tail:
            assert before == all_ and row.task == P.task
            continue
        assert row.task is None, "what is cut cannot be played again"
        kept = len(before) - head
        assert before == all_[:head] + all_[len(all_) - kept :] and kept in (tail, tail - 1)
        assert all(a.role != b.role for a, b in zip(row.messages, row.messages[1:], strict=False))


def test_the_papers_window_is_the_default() -> None:
    last = every(trajectory(20))[-1]
    assert len(last.messages) == 4 + 11 + 1, "12, but two turns of the agent would meet"


def test_what_does_not_pass_or_is_not_trained_gives_no_row() -> None:
    assert [d.code for d in rows(trajectory(3, "fail")) if isinstance(d, Drop)] == ["not_accepted"]
    assert len(every(trajectory(3, "fail"), outcome="any")) == 3
    assert [d.code for d in rows(trajectory(3, complete=False)) if isinstance(d, Drop)] == ["not_accepted"]
    e = trajectory(3)
    masked = tuple(replace(s, train=s.turn != 2) for s in e.attempts[0].steps)
    assert [r.messages[-1].content[-1] for r in every(trajectory(3, steps=masked))] == ["0", "2"]
