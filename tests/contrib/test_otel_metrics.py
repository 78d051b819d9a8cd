"""The metrics of a queue for OpenTelemetry: over HTTP, bounded, of this process and of the log."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader, PeriodicExportingMetricReader

import eventq
from eventq.contrib.otel import instrument
from eventq.contrib.otel.instruments import COUNTERS, GAUGES, MOST_DESTINATIONS
from eventq.metrics import Measures
from tests.contrib.collector import Collector, attributes, collecting


@pytest.fixture
def collector() -> Iterator[Collector]:
    """A collector."""
    with collecting() as found:
        yield found


def test_metrics_reach_a_collector(queue: eventq.Queue, collector: Collector) -> None:
    """Those of messaging, from this process; those of the queue, from the log."""
    exporter = OTLPMetricExporter(f"{collector.url}/v1/metrics")
    reader = PeriodicExportingMetricReader(exporter, export_interval_millis=3_600_000)
    provider = MeterProvider([reader])
    made = instrument(queue, meter_provider=provider)

    @queue.task("pay", max_retries=0)
    def pay(order: int) -> None:
        if order == 2:
            raise ValueError

    for order in (1, 2):
        pay.new(order)
    queue.new({}, lane="later")
    queue.run(until="idle", signals=False)
    assert made.flush()
    provider.force_flush()
    provider.shutdown()
    made.close()

    found = {metric.name: metric for metric in collector.metrics}
    consumed = {
        attributes(point).get("error.type"): point.as_int
        for point in found["messaging.client.consumed.messages"].sum.data_points
    }
    assert consumed == {None: 1, "ValueError": 1}
    [processed, _] = found["messaging.process.duration"].histogram.data_points
    assert attributes(processed)["messaging.destination.name"] == "pay"
    assert found["messaging.process.duration"].unit == "s"
    sent = found["messaging.client.sent.messages"].sum.data_points
    assert {attributes(p)["messaging.destination.name"]: p.as_int for p in sent} == {
        "pay": 2,
        "later": 1,
    }
    [ready] = found["eventq.tasks.ready"].gauge.data_points
    assert attributes(ready) == {"lane": "later", "name": ""}
    ended = found["eventq.attempts"].sum.data_points
    assert {attributes(p)["outcome"]: p.as_int for p in ended} == {"completed": 1, "failed": 1}


def test_destinations_are_bounded(queue: eventq.Queue) -> None:
    """Of ten thousand names, all but the first are counted as one."""
    reader = InMemoryMetricReader()
    made = instrument(queue, meter_provider=MeterProvider([reader]))

    for number in range(10_000):
        made._instruments.processed(f"name{number}", 0.001, error=None)

    data = reader.get_metrics_data()
    assert data is not None
    [process] = [
        metric
        for resource in data.resource_metrics
        for scope in resource.scope_metrics
        for metric in scope.metrics
        if metric.name == "messaging.client.consumed.messages"
    ]
    points = list(process.data.data_points)
    assert len(points) == MOST_DESTINATIONS + 1
    made.close()


def test_observed_metrics_are_those_that_are_measured(queue: eventq.Queue) -> None:
    """A family that is measured is observed, unless it is a histogram."""
    queue.new({})
    measured = Measures(queue._node).take()

    observed = {family for family, *_ in (*GAUGES, *COUNTERS)}
    expected = {family.name for family in measured if family.kind != "histogram"}
    assert expected <= observed
    assert observed - expected == {"snapshot_age_seconds"}


def test_a_closed_queue_is_measured_no_more(queue: eventq.Queue) -> None:
    """A collection after the end finds nothing, and raises nothing."""
    reader = InMemoryMetricReader()
    made = instrument(queue, meter_provider=MeterProvider([reader]))
    queue.close()

    data = reader.get_metrics_data()

    assert data is None or not [
        metric
        for resource in data.resource_metrics
        for scope in resource.scope_metrics
        for metric in scope.metrics
        if metric.name == "eventq.tasks.ready"
    ]
    made.close()
