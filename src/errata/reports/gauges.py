"""A run's figures for Prometheus, on loopback unless told otherwise."""

from collections.abc import Iterator
from types import TracebackType
from typing import Any

from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily, Metric

from errata.errors import RecipeError

COUNTERS = {
    "parts": "Parts committed in this run",
    "episodes": "Episodes that ended",
    "rows": "Rows accepted into committed parts",
    "requests": "Requests that engines were asked",
    "reused": "Replies taken from the journal",
    "prompt_tokens": "Prompt tokens of replies",
    "completion_tokens": "Completion tokens of replies",
    "corrupted": "Damaged lines of the journal",
}
GAUGES = {
    "running": "Requests that engines work on",
    "waiting": "Requests that wait to be sent",
    "room": "Requests that engines are given at once, at most",
    "cost": "Cost so far, by the prices of the recipe",
}
RATES = {
    "tokens_per_second": "Completion tokens a second over the last half minute",
    "utilisation": "Share of the engines' slots in use since the first request",
    "eta": "Seconds to the end of the run",
}


class Gauges:
    """Serves the latest status at http://HOST:PORT/metrics."""

    def __init__(self, port: int, host: str = "127.0.0.1") -> None:
        """Port 0 takes a free one. Raises RecipeError if the port is taken."""
        self._status: Any = None
        registry = CollectorRegistry(auto_describe=False)
        registry.register(self)
        try:
            self._server, self._thread = start_http_server(port, addr=host, registry=registry)
        except OSError as error:
            raise RecipeError(f"--metrics-port {port}: {error.strerror or error}; name a free port") from error
        self.port = self._server.server_port

    def update(self, status: Any) -> None:
        """Take a runner's status."""
        self._status = status

    def collect(self) -> Iterator[Metric]:
        """The metrics, as the registry asks for them."""
        status = self._status
        if status is None:
            return
        yield InfoMetricFamily("errata_run", "The run", value={"pipeline": status.name, "version": status.version})
        for name, about in COUNTERS.items():
            yield CounterMetricFamily(f"errata_{name}", about, value=getattr(status.progress, name))
        for names, values in ((GAUGES, status.progress), (RATES, status.rates)):
            for name, about in names.items():
                value = getattr(values, name)
                if value is not None:
                    yield GaugeMetricFamily(f"errata_{name}", about, value=value)

    def __enter__(self) -> "Gauges":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
