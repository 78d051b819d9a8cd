"""Whatever befalls an SDK, tasks are made and attempted; without one nothing is done."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SimpleSpanProcessor, SpanExporter
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import Sampler, SamplingResult

import eventq
from eventq.contrib.otel import Instrumentation, instrument
from eventq.contrib.otel.ending import MOST_WAITING
from eventq.core.events import Created
from tests.contrib.collector import Collector, collecting


@pytest.fixture
def collector() -> Iterator[Collector]:
    """A collector."""
    with collecting() as found:
        yield found


class BrokenSampler(Sampler):
    """Raises when it is asked."""

    def should_sample(self, *_: object, **__: object) -> SamplingResult:
        """Raises."""
        raise RuntimeError("no sample")

    def get_description(self) -> str:
        """What the SDK wants to know."""
        return "broken"


@pytest.mark.parametrize("processor", [BatchSpanProcessor, SimpleSpanProcessor])
@pytest.mark.parametrize("way", ["hangs", "fails", "refuses"])
def test_no_exporter_touches_an_attempt(
    queue: eventq.Queue,
    collector: Collector,
    processor: Callable[[SpanExporter], SpanProcessor],
    way: str,
) -> None:
    """One that never answers, raises or is refused: all tasks complete meanwhile."""
    provider = TracerProvider()
    exporter = OTLPSpanExporter(f"{collector.url}/v1/traces", timeout=1)
    if way == "hangs":
        collector.hanging.clear()
    elif way == "refuses":
        collector.status = 400
    else:
        exporter.export = _raise  # type: ignore[method-assign, assignment]
    provider.add_span_processor(processor(exporter))
    made = instrument(queue, tracer_provider=provider)

    @queue.task("pay")
    def pay() -> None: ...

    for _ in range(20):
        pay.new()
    begun_s = time.monotonic()
    report = queue.run(until="idle", signals=False)

    assert report.completed == 20
    assert time.monotonic() - begun_s < 15
    collector.hanging.set()
    made.close()
    provider.shutdown()


def _raise(_spans: object) -> Any:  # noqa: ANN401
    raise RuntimeError("no export")


def test_no_sampler_touches_an_attempt(
    queue: eventq.Queue, caplog: pytest.LogCaptureFixture
) -> None:
    """Where a span cannot be begun, the task is made and run without."""
    made = instrument(queue, tracer_provider=TracerProvider(sampler=BrokenSampler()))

    queue.new({})
    report = queue.run(lambda _ctx, _task: None, until="idle", signals=False)

    assert report.completed == 1
    assert made_in(queue) == [None]
    assert "a span could not be begun" in caplog.text
    made.close()


def test_nothing_is_done_where_no_sdk_is_set_up(queue: eventq.Queue) -> None:
    """Tasks carry nothing, and no thread is begun."""
    made = instrument(queue)

    queue.new({})
    queue.run(lambda _ctx, _task: None, until="idle", signals=False)

    assert made_in(queue) == [None]
    assert all(thread.name != "eventq-spans" for thread in threading.enumerate())
    assert made.flush()


def test_what_an_exporter_does_not_take_is_dropped(
    queue: eventq.Queue, caplog: pytest.LogCaptureFixture
) -> None:
    """Memory is bounded while a processor hangs; warnings tell of it at once, and at the end."""
    goes_on = threading.Event()

    class Hanging(SimpleSpanProcessor):
        def on_end(self, span: Any) -> None:  # noqa: ANN401, ARG002
            goes_on.wait(60)

    provider = TracerProvider()
    provider.add_span_processor(Hanging(InMemorySpanExporter()))
    made = instrument(queue, tracer_provider=provider)

    queue.new({})
    for _ in range(MOST_WAITING + 5):
        made.note_end(lambda: None)
    told = [record.getMessage() for record in caplog.records]
    goes_on.set()
    made.close()

    assert [words for words in told if "were dropped" in words] == [
        "1 spans were dropped: exporting is slow"
    ]
    assert caplog.text.count("spans were dropped") == 2


def test_it_is_refused_for_what_is_no_queue() -> None:
    """With words that say what it wants."""
    with pytest.raises(eventq.ArgumentError, match=r"an eventq\.Queue"):
        instrument("sqlite:///a.db")  # type: ignore[arg-type]


def test_it_is_close_to_its_end_twice(queue: eventq.Queue) -> None:
    """Closing may come twice, and a queue that is followed anew stays so."""
    first, second = instrument(queue), instrument(queue)
    first.close()
    first.close()

    assert queue.tracing is second
    assert isinstance(second, Instrumentation)
    second.close()
    assert queue.tracing is None


def made_in(queue: eventq.Queue) -> list[str | None]:
    """The trace contexts of all tasks, in order."""
    return [event.body.trace for event in queue.events() if isinstance(event.body, Created)]
