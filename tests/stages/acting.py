"""Tasks in text worlds for the tests of stages that act, agents that a test writes in one line, and a replay."""

from collections.abc import Callable, Sequence

from errata.engines.base import Request
from errata.environments.hosts import open_now
from errata.records.types import Episode, Message, Problem, Step
from errata.sources.worlds import worlds
from tests.stages.support import Says


def task(world: str = "house", seed: int = 3, difficulty: int = 2) -> Problem:
    """A task of a world. The house of seed 3: the chest holds the iron key of the porch, where the white mug is."""
    made = next(iter(worlds(world=world, count=1, difficulty=(difficulty, difficulty), seed=seed)))
    assert isinstance(made, Episode)
    return made.problem


def scripted(*said: str) -> Says:
    """An agent that says these turns, and stops after them."""
    return by_turn(lambda turn: said[turn] if turn < len(said) else "stop")


def by_turn(answer: Callable[[int], str]) -> Says:
    """An agent whose words depend on how often it has spoken: corrections by a teacher are turns of its own to it."""
    return Says(lambda r: answer(spoken(r)))


def spoken(request: Request) -> int:
    """Turns of the assistant before this one."""
    return sum(m.role == "assistant" for m in request.messages)


def replayed(problem: Problem, messages: Sequence[Message]) -> tuple[list[str], float]:
    """What the world does not answer as a conversation says, and the reward: by the conversation and task alone.

    The action of a turn is what follows its last `Action:`, or its last line. The conversation begins with the
    problem's own messages.
    """
    assert problem.task is not None
    world, _ = open_now(problem.task)
    faults: list[str] = []
    reward = 0.0
    turns = list(messages[len(problem.messages) :])
    assert [m.role for m in turns] == ["assistant", "user"] * (len(turns) // 2) + ["assistant"] * (len(turns) % 2)
    for i in range(0, len(turns), 2):
        text = turns[i].content.strip()
        action = text.rpartition("Action:")[2] if "Action:" in text else text.rpartition("\n")[2]
        turn = world.step(action.strip())
        reward = turn.reward
        if i + 1 < len(turns) and turns[i + 1].content != turn.observation:
            faults.append(f"{action.strip()!r}: {turn.observation!r}, not {turns[i + 1].content!r}")
    return faults, reward


def conversation(problem: Problem, steps: Sequence[Step]) -> list[Message]:
    """The problem's messages, then the turns of a trajectory."""
    turns: dict[int, str] = {}
    for s in steps:
        turns[s.turn] = turns.get(s.turn, "") + s.text
    made = [Message(role="user" if t % 2 else "assistant", content=text) for t, text in sorted(turns.items())]
    return [*problem.messages, *made]
