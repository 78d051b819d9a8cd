"""Families of numbers as Prometheus's client has them. Needs ``eventq[prometheus]``."""

from __future__ import annotations

from prometheus_client.metrics_core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)

from eventq.metrics.measures import Family

PREFIX = "eventq_"


def metric_of(family: Family) -> Metric:
    """A family as Prometheus's client has it."""
    name = f"{PREFIX}{family.name}"
    if family.kind == "histogram":
        histogram = HistogramMetricFamily(name, family.text, labels=family.labels)
        for each in family.counted:
            buckets: list[tuple[str, float]] = [(bound, count) for bound, count in each.cumulated]
            histogram.add_metric(each.labels, buckets, each.sum_s)
        return histogram
    kind = GaugeMetricFamily if family.kind == "gauge" else CounterMetricFamily
    found = kind(name, family.text, labels=family.labels)
    for sample in family.samples:
        found.add_metric(sample.labels, sample.value)
    return found
