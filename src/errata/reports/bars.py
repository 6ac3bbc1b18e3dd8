"""Progress bars on a terminal; silence elsewhere."""

import sys
import time
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Protocol

from tqdm import tqdm


class Progress(Protocol):
    """What a runner tells."""

    parts: int
    episodes: int
    rows: int
    requests: int
    reused: int
    completion_tokens: int


class Bars:
    """Bars for parts, requests and accepted rows, with tokens per second."""

    def __init__(self) -> None:
        self._quiet = not sys.stderr.isatty()
        self._bars: Mapping[str, Any] = {}
        self._began = time.monotonic()

    def __enter__(self) -> "Bars":
        return self

    def update(self, job: Any, progress: Progress, done: int) -> None:
        """Show the progress of `job`, which began with `done` parts."""
        if self._quiet:
            return
        if not self._bars:
            count, size = job.recipe.source.with_.get("count"), job.recipe.part_size
            limits = [n for n in (count, job.recipe.limit) if isinstance(n, int)]
            total = -(-min(limits) // size) if limits else None
            self._bars = {
                "parts": tqdm(total=total, unit="part", desc="parts", position=0),
                "requests": tqdm(unit="req", desc="requests", position=1),
                "rows": tqdm(unit="row", desc="accepted rows", position=2),
            }
        values = {"parts": done + progress.parts, "requests": progress.requests, "rows": progress.rows}
        for name, bar in self._bars.items():
            bar.n = values[name]
        speed = progress.completion_tokens / max(0.001, time.monotonic() - self._began)
        self._bars["requests"].set_postfix_str(
            f"{speed:,.0f} tokens/s, {progress.reused:,} from the journal", refresh=False
        )
        for bar in self._bars.values():
            bar.refresh()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for bar in self._bars.values():
            bar.close()
