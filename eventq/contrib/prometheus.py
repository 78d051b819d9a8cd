"""A queue's numbers for Prometheus: a collector for a registry, its text, and a small server."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from eventq.host.logger import SafeLogger
from eventq.metrics import Measures
from eventq.metrics.exposition import PREFIX, metric_of
from eventq.queue import Queue

logger = SafeLogger("eventq.contrib.prometheus")


class QueueCollector(Collector):
    """``registry.register(QueueCollector(queue))``: asked at each scrape, and in no other thread.

    Where the log cannot be read, ``eventq_up`` is 0 and all else is missing; the scrape goes on.
    """

    def __init__(self, queue: Queue) -> None:
        self._measures = Measures(queue._node)  # noqa: SLF001 - as AsyncQueue does

    def collect(self) -> Iterator[Metric]:
        """The queue's metrics, as of now."""
        try:
            families = self._measures.take()
        except Exception as error:  # noqa: BLE001 - no fault of ours ends the application's scrape
            values = {"error": str(error)}
            logger.warning("the queue cannot be measured: %(error)s", values, extra=values)
            yield GaugeMetricFamily(f"{PREFIX}up", "Whether the log could be read.", 0)
            return
        yield GaugeMetricFamily(f"{PREFIX}up", "Whether the log could be read.", 1)
        yield from map(metric_of, families)

    def describe(self) -> list[Metric]:
        """Nothing, so that registering it asks nothing."""
        return []


def registry_of(queue: Queue) -> CollectorRegistry:
    """A registry of this queue alone: the first scrape reads the log, later ones what is new."""
    registry = CollectorRegistry()
    registry.register(QueueCollector(queue))
    return registry


def serve(queue: Queue, port: int, *, host: str = "127.0.0.1") -> tuple[int, Server]:
    """Answers `/metrics` on a port (0: any that is free), which it returns, until it is closed."""
    server, thread = start_http_server(port, addr=host, registry=registry_of(queue))
    return server.server_port, Server(server, thread)


class Server:
    """The server of `serve`."""

    def __init__(self, server: object, thread: object) -> None:
        self._server = server
        self._thread = thread

    def close(self) -> None:
        """Ends it, and waits until it has ended."""
        self._server.shutdown()  # type: ignore[attr-defined]
        self._server.server_close()  # type: ignore[attr-defined]
        self._thread.join()  # type: ignore[attr-defined]
