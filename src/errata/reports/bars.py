"""Progress bars on a terminal; silence elsewhere."""

import sys
from collections.abc import Mapping
from types import TracebackType
from typing import Any

from tqdm import tqdm


class Bars:
    """Bars for parts, requests and accepted rows, with speed, queue, utilisation, cost and time left."""

    def __init__(self) -> None:
        self._quiet = not sys.stderr.isatty()
        self._bars: Mapping[str, Any] = {}

    def __enter__(self) -> "Bars":
        return self

    def update(self, status: Any) -> None:
        """Show a runner's status."""
        if self._quiet:
            return
        if not self._bars:
            plain = "{desc}: {n_fmt} {unit}{postfix}"
            self._bars = {
                "parts": tqdm(total=status.parts, unit="parts", desc="parts", position=0),
                "requests": tqdm(unit="answered", desc="requests", position=1, bar_format=plain),
                "rows": tqdm(unit="rows", desc="accepted", position=2, bar_format=plain),
            }
        progress = status.progress
        under_way = progress.running + progress.waiting
        values = {
            "parts": status.parts_done,
            "requests": max(0, progress.requests - under_way) + progress.reused,
            "rows": progress.rows,
        }
        for name, bar in self._bars.items():
            bar.n = values[name]
        self._bars["requests"].set_postfix_str(", ".join(_requests(status)), refresh=False)
        self._bars["rows"].set_postfix_str(", ".join(_end(status)), refresh=False)
        for bar in self._bars.values():
            bar.refresh()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for bar in self._bars.values():
            bar.close()


def _requests(status: Any) -> list[str]:
    progress, rates = status.progress, status.rates
    told = [f"{rates.tokens_per_second:,.0f} tokens/s", f"{progress.running:,} running, {progress.waiting:,} waiting"]
    if rates.utilisation is not None:
        told.append(f"{rates.utilisation:.0%} of slots in use")
    return [*told, f"{progress.reused:,} from the journal"] if progress.reused else told


def _end(status: Any) -> list[str]:
    told = [f"{status.progress.episodes:,} episodes ended"]
    if status.progress.cost:
        told.append(f"cost {status.progress.cost:,.2f}")
    if status.rates.eta is not None:
        told.append(f"about {clock(status.rates.eta)} left")
    return told


def clock(seconds: float) -> str:
    """A span of time as people write it, e.g. 1:02:03 or 4:05."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
