"""The process that worlds live in: `python -m errata.environments.worker LIVE MEMORY`, driven by its pipes.

It holds worlds by the number of their session, at most LIVE of them; the one that was used least recently goes first,
and its session is told so when it asks again. An answer says where the process has outgrown MEMORY bytes and should be
replaced. What a world prints goes into a pipe of its own that is emptied after every call and holds 64 KiB: printing
blocks nothing, and what fills half of it in one call is a flood.
"""

import os
import resource
import sys
from collections import OrderedDict
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec

from errata import pipes, registry
from errata.environments.answers import Flood, Nonsense, checked_answer, checked_text, checked_turn
from errata.environments.base import DEAD_END, World
from errata.errors import ErrataError

PRINTED = 1 << 15
"""Bytes that a world may print in one call."""

Answer = dict[str, Any]


class _Gone(Exception):
    """The world of a session is not here any more."""


class _Worlds:
    """The worlds of this process, and what is asked of them. Every world has `deadline` seconds for each thing."""

    def __init__(self, live: int) -> None:
        self._live = live
        self._classes: dict[tuple[str, str], Callable[..., World]] = {}
        self._held: OrderedDict[int, World] = OrderedDict()

    def answer(self, message: dict[str, Any]) -> Any:
        """The value of an answer."""
        for number in message.get("freed", ()):
            self._held.pop(number, None)
        match message["ask"]:
            case "load":
                return self._load(message["world"], message["folder"])
            case "open":
                return self._open(message)
            case "step":
                return msgspec.to_builtins(checked_turn(self._get(message).step(message["action"])))
            case question:
                value = checked_answer(question, getattr(self._get(message), question)())
                return "inf" if question == "distance" and value == DEAD_END else value  # JSON has no infinity

    def _load(self, name: str, folder: str) -> None:
        made: Any = registry.find("environment", name, Path(folder) if folder else None).make
        self._classes[name, folder] = made
        warm_up = getattr(made, "warm_up", None)  # a class's own way to import or start what it needs late
        if callable(warm_up):
            warm_up()

    def _open(self, message: dict[str, Any]) -> Answer:
        """Reset and replay: the first observation and the turns."""
        made = self._classes[message["world"], message["folder"]]
        self._held.pop(message["session"], None)
        self._make_room(made)
        world = made()
        try:
            first = world.reset(message["spec"])
        except (ValueError, KeyError, TypeError) as error:
            return {"refused": f"{type(error).__name__}: {str(error)[:500]}"}
        checked_text(first)
        turns = []
        for action in message["actions"]:
            pipes.due(message["deadline"])
            turns.append(msgspec.to_builtins(checked_turn(world.step(action))))
        self._held[message["session"]] = world
        return {"first": first, "turns": turns}

    def _make_room(self, made: Callable[..., World]) -> None:
        """Let the oldest go; a class may say how many of its own a process can hold at once (`live`)."""
        alike = [number for number, world in self._held.items() if type(world) is made]
        for number in alike[: max(0, len(alike) + 1 - getattr(made, "live", self._live))]:
            del self._held[number]
        while len(self._held) >= self._live:
            self._held.popitem(last=False)

    def _get(self, message: dict[str, Any]) -> World:
        number = message["session"]
        if number not in self._held:
            raise _Gone
        self._held.move_to_end(number)
        return self._held[number]


class _Output:
    """Where the standard output goes."""

    def __init__(self) -> None:
        self._reads, writes = os.pipe()
        os.set_blocking(self._reads, False)
        os.set_blocking(writes, False)
        os.dup2(writes, 1)
        os.close(writes)

    def emptied(self) -> int:
        """Bytes that were in it."""
        with suppress(OSError, ValueError):
            sys.stdout.flush()
        total = 0
        with suppress(BlockingIOError):
            while got := len(os.read(self._reads, 1 << 16)):
                total += got
        return total


def serve(live: int, memory: int) -> None:
    """Answer calls until the pipe closes."""
    calls, answers = pipes.opened()
    with suppress(OSError, ValueError):  # twice as much at any moment is a MemoryError, the world's own fault
        resource.setrlimit(resource.RLIMIT_DATA, (2 * memory, 2 * memory))
    output, worlds = _Output(), _Worlds(live)
    while message := pipes.read(calls):
        pipes.due(message["deadline"])
        answer = _answer(worlds, message)
        if (printed := output.emptied()) > PRINTED:
            answer = {"fault": "flood", "why": f"printed more than {PRINTED} bytes: {printed}"}
        answer["large"] = resident() > memory
        body = pipes.frame(answer)
        pipes.due(0)
        answers.write(body)
        answers.flush()


def _answer(worlds: _Worlds, message: dict[str, Any]) -> Answer:
    try:
        return {"value": worlds.answer(message)}
    except _Gone:
        return {"gone": True}
    except ErrataError as error:
        return {"error": str(error)}
    except Flood as error:
        return {"fault": "flood", "why": str(error)}
    except Nonsense as error:
        return {"fault": "nonsense", "why": str(error)}
    except Exception as error:
        return {"fault": "died", "why": f"raised {type(error).__name__}: {str(error)[:500]}"}


def resident() -> int:
    """Bytes of memory that this process and its children hold; 0 where the system does not tell."""
    pids, page, total = ["self"], os.sysconf("SC_PAGE_SIZE"), 0
    with suppress(OSError):
        pids += Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
    for pid in pids:
        with suppress(OSError, IndexError):
            total += int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * page
    return total


if __name__ == "__main__":
    serve(int(sys.argv[1]), int(sys.argv[2]))
