"""World-model rows: the loss on the next observation alone, in words of their own."""

from errata import prompts
from errata.exports.base import ExportContext
from errata.exports.world_model import world_model
from errata.records.rows import SftRow
from errata.records.trajectory import moves
from errata.records.types import Drop
from errata.stages.branch import branch
from tests.stages.support import Says, World, codes, grown
from tests.stages.test_branch import EXPERT, GOLD, HOUSE, START


def made(start: object = START, **options: object) -> tuple[list[SftRow], list[Drop]]:
    found = list(world_model(start, ExportContext("world_model", prompts.load), **options))  # type: ignore[arg-type]
    return [r for r in found if isinstance(r, SftRow)], [d for d in found if isinstance(d, Drop)]


def test_every_move_of_the_expert_and_the_last_of_each_branch() -> None:
    start = grown(branch, START, k=2)
    rows, drops = made(start, of=("act", "branch"))
    assert len(rows) == 3 * len(GOLD) and drops == []
    known = {(a.id, m.action): m.observation for a in start.attempts for m in moves(a.steps)}
    for row in rows:
        system, asked, told = row.messages
        assert (system.role, asked.role, told.role) == ("system", "user", "assistant")
        assert HOUSE.text in asked.content and asked.content.endswith("Next observation:")
        number, _, action = asked.content.split("The agent's next action:\n")[1].split("\n")[0].partition("] ")
        assert known[row.lineage[0], action] == told.content
        past = asked.content.split("What has happened so far:\n")[1].split("\nThe agent's next action")[0]
        before = [m for m in moves(EXPERT.steps)][: int(number[1:]) - 1]
        assert past == "".join(f"[{i}] {m.action}\n{m.observation}\n" for i, m in enumerate(before, 1))
        assert [(s.message, s.start, s.end, s.train) for s in row.spans] == [(2, 0, len(told.content), True)]
        assert row.task is None and row.style == "world_model"


def test_one_transition_is_one_row() -> None:
    student = Says(lambda r: "fly")
    start = grown(branch, START, World({"student": student}), among="policy", tries=1, name="a")
    start = grown(branch, start, World({"student": student}), among="policy", tries=1, name="b")
    rows, drops = made(start, of=("a", "b"))
    assert len(rows) == len(GOLD) and codes(drops) == ["same_transition"] * len(GOLD)
    assert codes(made(start, of=("a",), invalid=False)[1]) == ["invalid"] * len(GOLD)
    few, rest = made(start, of=("a",), most=2)
    assert len(few) == 2 and codes(rest) == ["enough"] * (len(GOLD) - 2)
    assert {len(r.messages[-1].content) <= 20 for r in made(of=("act",), longest=20)[0]} == {True}
    assert "too_long" in codes(made(of=("act",), longest=20)[1])
