"""What nodes of a world's tree are worth by a debate, and by the expert who debates with itself."""

import asyncio
from typing import Any

import pytest

from errata.engines.base import Request, Sampling
from errata.engines.expert import Expert
from errata.prompts import load
from errata.records.tree import Node, tree_of
from errata.records.types import Additions, Attempt, Episode
from errata.stages.tree import tree
from tests.stages.letters import spell
from tests.stages.support import Says, World, codes, run

START = Episode(problem=spell("abc"))
SEARCH: dict[str, Any] = {"algo": "puct", "c": 1.0, "judge": "judge", "simulations": 8, "depth": 4}


def every(root: Node) -> list[Node]:
    return [root, *(n for c in root.children for n in every(c))]


def grown(judge: Any, **options: Any) -> tuple[Additions, Episode]:
    student = Says(lambda r: "abcd"[r.seed // 5 % 4])
    made = run(tree, START, World({"student": student, "judge": judge}), **{**SEARCH, **options})
    return made, START.add(made)


def test_a_judge_weighs_what_both_sides_have_said_of_the_same_course() -> None:
    asked: list[Request] = []

    def say(request: Request) -> str:
        asked.append(request)
        text = request.messages[0].content
        if request.schema:
            assert "Said in favour:\nit is good (" in text and "Said against:\nit is bad (" in text
            course = text.split("numbered")[1].split("Said in favour")[0]
            assert f"({course.count('->')})" in text, "both have seen what the judge sees"
            return '{"reason": "so", "score": 4}'
        side = "good" if text.endswith("on a good way.") else "bad"
        return f"it is {side} ({text.split('numbered')[1].count('->')})"

    made, e = grown(Says(say, seen=("gold_steps",)), value="debate")
    ends = {v.target for v in made.verdicts}
    for node in every(tree_of(e, "tree")):
        if node.visits == 1 and not node.children and node.attempt not in ends:
            assert node.value == pytest.approx(3 / 9)
    assert len(asked) % 3 == 0 and sum(bool(r.schema) for r in asked) == len(asked) // 3 > 2
    assert {a.seen for a in made.attempts} == {("gold_steps",)}, "who decides what is gone on from"


def test_a_debate_that_is_not_decided_costs_the_node() -> None:
    made, _ = grown(Says(lambda r: "no number" if r.schema else "so it is"), value="debate")
    assert set(codes(made.drops)) == {"unreadable"}


def test_the_expert_debates_by_the_distance() -> None:
    _, by_debate = grown(Expert(), value="debate")
    _, by_distance = grown(Says(str), value="distance")
    first, second = (
        {n.action: n for n in tree_of(e, "tree").children if not n.children and n.visits == 1}
        for e in (by_debate, by_distance)
    )
    both = first.keys() & second.keys()
    assert both
    for action in both:
        assert first[action].value == pytest.approx(second[action].value, abs=0.5 / 9 + 1e-9)
    wrong = asyncio.run(_told(Expert(skill=0.0), "debate_judge"))
    assert '"score":10' in wrong, "upside down"


async def _told(expert: Expert, prompt: str) -> str:
    template = load(prompt)
    nothing = Attempt(id="a", stage="tree", index=0, kind="search", steps=())
    messages = template.render(START.problem, nothing, shown={"notes": {"favour": "x", "against": "y"}})
    request = Request(
        messages=messages, sampling=Sampling(), seed=1, schema=template.schema, task=START.problem.task
    )  # fmt: skip
    reply = await expert.generate(request)
    await expert.close()
    return reply.text
