"""An engine of a recipe's own that a poison prompt kills, and that hangs once, as GPU servers do."""

import os
import time
from pathlib import Path

from errata import chains
from errata.engines.base import Identity, Reply, Request
from errata.registry import engine


@engine(version=1)
class Deadly:
    """Solves chains; dies of a prompt that holds `poison`, and hangs at the first that holds `hang`."""

    def __init__(self, *, poison: str = "", hang: str = "", log: str) -> None:
        """`log` is a folder in which every request, death and hanging leaves a file."""
        self._poison, self._hang, self._log = poison, hang, Path(log)
        self._log.mkdir(parents=True, exist_ok=True)

    @property
    def identity(self) -> Identity:
        return Identity(engine="deadly", version=1, model="deadly", revision="1", detail="", licence="")

    @property
    def seen(self) -> tuple[str, ...]:
        return ()

    async def generate(self, request: Request) -> Reply:
        """The right solution for odd seeds, and a wrong answer for even ones."""
        text = "\n".join(m.content for m in request.messages)
        if self._poison and self._poison in text:
            self._mark("death")
            os._exit(1)
        if self._hang and self._hang in text and not list(self._log.glob("hang-*")):
            self._mark("hang")
            time.sleep(3600)  # noqa: ASYNC251  blocking the loop is the point
        self._mark("request")
        chain = chains.parse(text + "\n")
        steps = chains.solve(chain) if chain and request.seed % 2 else ["The answer is 0"]
        return Reply(text="\n".join(steps), finish="stop", prompt_tokens=1, completion_tokens=1)

    async def close(self) -> None:
        """Nothing is held."""

    def _mark(self, what: str) -> None:
        (self._log / f"{what}-{os.getpid()}-{time.monotonic_ns()}").touch()
