"""The metrics of a queue for OpenTelemetry: what this process did, and what the log says.

The first are of messaging's conventions; the others are those of `eventq.metrics`, asked at each
collection. Histograms from the log are left out: OpenTelemetry observes none.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from threading import Lock

from opentelemetry import metrics
from opentelemetry.metrics import CallbackOptions, Meter, MeterProvider, Observation

from eventq.contrib.spans import operation_attributes
from eventq.core.version import __version__
from eventq.errors import EventqError
from eventq.host.logger import SafeLogger
from eventq.metrics import Family, Measures
from eventq.queue import Queue

logger = SafeLogger("eventq.contrib.otel.instruments")

# Destinations that are counted apart, as in Prometheus; later ones are one.
MOST_DESTINATIONS = 200
OTHER = "other"
# One collection asks for each metric by itself; the log is asked once.
FRESH_S = 1.0
# The families of `eventq.metrics`, with their names, units and words here.
GAUGES = (
    ("tasks_ready", "eventq.tasks.ready", "{task}", "Tasks that may run now."),
    ("tasks_scheduled", "eventq.tasks.scheduled", "{task}", "Tasks that wait for their instant."),
    ("tasks_waiting", "eventq.tasks.waiting", "{task}", "Tasks that come after others."),
    ("tasks_leased", "eventq.tasks.leased", "{task}", "Tasks that run."),
    ("oldest_ready_seconds", "eventq.oldest_ready", "s", "How long the oldest ready task waits."),
    ("limit_running", "eventq.limit.running", "{task}", "Tasks that run in a bucket."),
    ("limit_bound", "eventq.limit.bound", "{task}", "How many may run in each."),
    ("pauses", "eventq.pauses", "{pause}", "Pauses that go on."),
    ("follower_lag", "eventq.follower.lag", "{event}", "Events behind a follower."),
    ("log_position", "eventq.log.position", "{event}", "Position of the last event."),
    ("log_bytes", "eventq.log.size", "By", "Size of the log's file, without its WAL."),
    ("snapshot_age_seconds", "eventq.snapshot.age", "s", "Age of the newest snapshot."),
)
COUNTERS = (
    ("tasks_created", "eventq.tasks.created", "{task}", "Tasks made."),
    ("attempts", "eventq.attempts", "{attempt}", "Attempts that ended."),
    ("tasks_expired", "eventq.tasks.expired", "{task}", "Tasks given up."),
    ("refused", "eventq.refused", "{outcome}", "Outcomes after the lease was lost."),
    ("schedule_misses", "eventq.schedule.misses", "{due}", "Dues without a task."),
)
# As messaging's conventions have them.
BOUNDS_S = [0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10]


class Instruments:
    """Counts what one process does with a queue; nothing where no SDK is set up."""

    def __init__(self, queue: Queue, provider: MeterProvider | None) -> None:
        self._provider = provider
        self._meter = (provider or metrics.get_meter_provider()).get_meter("eventq", __version__)
        self._destinations: set[str] = set()
        self._guard = Lock()
        self._is_on = False
        self._sent = self._meter.create_counter(
            "messaging.client.sent.messages", "{message}", "Tasks made by this process."
        )
        self._consumed = self._meter.create_counter(
            "messaging.client.consumed.messages", "{message}", "Attempts begun by this process."
        )
        self._sending = self._meter.create_histogram(
            "messaging.client.operation.duration",
            "s",
            "How long it took to make tasks durable.",
            explicit_bucket_boundaries_advisory=BOUNDS_S,
        )
        self._processing = self._meter.create_histogram(
            "messaging.process.duration",
            "s",
            "How long attempts took.",
            explicit_bucket_boundaries_advisory=BOUNDS_S,
        )
        self._observed = Observed(queue)
        self._observed.register(self._meter)

    def is_on(self) -> bool:
        """Whether an SDK is set up that these go to."""
        if not self._is_on:
            provider = self._provider or metrics.get_meter_provider()
            self._is_on = not type(provider).__module__.startswith("opentelemetry.metrics")
        return self._is_on

    def sent(self, names: list[str], count: int, length_s: float, *, error: str | None) -> None:
        """Tasks were made for these destinations, or not, for an error."""
        if not self.is_on():
            return
        about = operation_attributes("send", self._bounded(names[0]) if len(names) == 1 else None)
        if error is not None:
            about["error.type"] = error
        self._sent.add(count, about)
        self._sending.record(length_s, about)

    def processed(self, name: str, length_s: float, *, error: str | None) -> None:
        """An attempt has ended."""
        if not self.is_on():
            return
        about = operation_attributes("process", self._bounded(name))
        if error is not None:
            about["error.type"] = error
        self._consumed.add(1, about)
        self._processing.record(length_s, about)

    def close(self) -> None:
        """Asks the queue no more."""
        self._observed.is_over = True

    def _bounded(self, name: str) -> str:
        with self._guard:
            if len(self._destinations) < MOST_DESTINATIONS:
                self._destinations.add(name)
            return name if name in self._destinations else OTHER


class Observed:
    """The queue's numbers, taken once for each collection."""

    def __init__(self, queue: Queue) -> None:
        self.is_over = False
        self._measures = Measures(queue._node)  # noqa: SLF001 - as the collector for Prometheus
        self._families: dict[str, Family] = {}
        self._taken_s = -FRESH_S
        self._guard = Lock()

    def register(self, meter: Meter) -> None:
        """Makes an instrument for each family that can be observed."""
        for family, name, unit, text in GAUGES:
            meter.create_observable_gauge(name, [self._observing(family)], unit, text)
        for family, name, unit, text in COUNTERS:
            meter.create_observable_counter(name, [self._observing(family)], unit, text)

    def _observing(self, family: str) -> Callable[[CallbackOptions], Iterable[Observation]]:
        def observe(_options: CallbackOptions) -> Iterable[Observation]:
            found = self._taken().get(family)
            if found is None:
                return []
            return [
                Observation(each.value, dict(zip(found.labels, each.labels, strict=True)))
                for each in found.samples
            ]

        return observe

    def _taken(self) -> Mapping[str, Family]:
        with self._guard:
            if self.is_over:
                return {}
            if time.monotonic() - self._taken_s >= FRESH_S:
                try:
                    self._families = {each.name: each for each in self._measures.take()}
                except EventqError as error:
                    # The log is away, or the queue is closed: there is nothing to tell.
                    self._families = {}
                    values = {"error": str(error)}
                    logger.debug("the queue cannot be measured: %(error)s", values, extra=values)
                self._taken_s = time.monotonic()
            return self._families
