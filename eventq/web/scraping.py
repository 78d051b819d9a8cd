"""What `/metrics` of a console answers: the queue's numbers as Prometheus reads them.

Who asks is asked for at each scrape, as for any page; values that they may not see are left out.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator

from msgspec.structs import replace
from starlette.responses import Response

from eventq.metrics import Family, Measures, Sample
from eventq.node.node import Node
from eventq.web.answering import Problem
from eventq.web.showing import Veil

INSTALL = "The metrics need another package here: pip install 'eventq[prometheus]'."
COUNTING = "The log is being read for these numbers; ask again."
# Two who scrape at the same moment wait for each other, and not for a whole log.
PATIENT_S = 2.0
# Whose second label is the value of a tag.
BUCKETS = "limit_running"


class Scraping:
    """A queue's numbers, for one scrape after the other; from any thread."""

    def __init__(self, node: Node) -> None:
        self._measures = Measures(node)
        # Taken by who counts.
        self._lock = threading.Lock()

    def text(self, veil: Veil) -> Response | Problem:
        """All families in Prometheus's text format. Raises LogError.

        The first one reads the log; whoever asks meanwhile is told to come again.
        """
        try:
            # Imported here: an extra of its own.
            from prometheus_client import CONTENT_TYPE_LATEST, generate_latest  # noqa: PLC0415
            from prometheus_client.metrics_core import Metric  # noqa: PLC0415
            from prometheus_client.registry import Collector, CollectorRegistry  # noqa: PLC0415

            from eventq.metrics.exposition import metric_of  # noqa: PLC0415
        except ModuleNotFoundError:
            return Problem(501, INSTALL)
        if not self._lock.acquire(timeout=PATIENT_S):
            return Problem(503, COUNTING)
        try:
            families = [_veiled(family, veil) for family in self._measures.take()]
        finally:
            self._lock.release()

        class OneScrape(Collector):
            """What was taken a moment ago."""

            def collect(self) -> Iterator[Metric]:
                """All of it."""
                yield from map(metric_of, families)

        registry = CollectorRegistry()
        registry.register(OneScrape())
        return Response(generate_latest(registry), media_type=CONTENT_TYPE_LATEST)


def _veiled(family: Family, veil: Veil) -> Family:
    """A family without values of tags, for those who may not see all of them."""
    if family.name != BUCKETS or not veil.hides_some:
        return family
    counts: Counter[str] = Counter()
    for sample in family.samples:
        counts[sample.labels[0]] += int(sample.value)
    return replace(family, samples=[Sample((limit, ""), n) for limit, n in counts.items()])
