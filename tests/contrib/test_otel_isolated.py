"""Isolated attempts: what their process traces and logs belongs to the attempt."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from importlib import import_module

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import format_span_id, format_trace_id

import eventq
from eventq.contrib.logs import AttemptFilter
from eventq.contrib.otel import contexts, instrument
from eventq.handlers.isolation import CodePlace
from tests.contrib.traced_shop import pay, shop


@pytest.fixture
def queue() -> Iterator[eventq.Queue]:
    """A queue with the isolated handler."""
    with eventq.Queue("memory://", workers=1, max_retries=0, handlers=[shop]) as opened:
        yield opened


@pytest.fixture
def kept(queue: eventq.Queue) -> Iterator[InMemorySpanExporter]:
    """The spans of an SDK that follows the queue."""
    found = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(found))
    made = instrument(queue, tracer_provider=provider)
    yield found
    made.close()


def test_its_process_goes_on_with_the_trace(
    queue: eventq.Queue, kept: InMemorySpanExporter, caplog: pytest.LogCaptureFixture
) -> None:
    """A span there is within the attempt's, and its log lines name attempt and trace."""
    caplog.handler.addFilter(AttemptFilter())
    task = queue.new(pay)
    with caplog.at_level(logging.WARNING):
        queue.run(until="idle", signals=False)
    queue.tracing.flush()  # type: ignore[union-attr]

    [span] = [each for each in kept.get_finished_spans() if each.name == "process pay"]
    trace, number = format_trace_id(span.context.trace_id), format_span_id(span.context.span_id)
    assert queue.wait(task.key).result == {"trace": trace, "parent": number}
    [record] = [each for each in caplog.records if each.getMessage() == "charged"]
    told = ("task", "task_name", "attempt", "trace_id", "span_id")
    assert [getattr(record, name) for name in told] == [task.key, "pay", 1, trace, number]


def test_a_log_line_of_it_says_its_attempt_without_any_tracing(
    queue: eventq.Queue, caplog: pytest.LogCaptureFixture
) -> None:
    """As one that was logged in a thread here."""
    caplog.handler.addFilter(AttemptFilter())
    task = queue.new(pay)
    with caplog.at_level(logging.WARNING):
        queue.run(until="idle", signals=False)

    [record] = [each for each in caplog.records if each.getMessage() == "charged"]
    assert (getattr(record, "task", None), getattr(record, "span_id", None)) == (task.key, None)


def test_what_fails_about_it_touches_no_attempt(
    queue: eventq.Queue,
    kept: InMemorySpanExporter,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A process that lacks the package, say, runs the attempt all the same, and tells."""
    del kept
    nowhere = CodePlace("eventq.contrib.otel.nowhere", "go_on")
    monkeypatch.setattr(import_module("eventq.contrib.otel.instrument"), "GOES_ON", nowhere)
    task = queue.new(pay)
    queue.run(until="idle", signals=False)

    assert queue.wait(task.key).result["parent"] == ""
    assert "the trace does not go on here" in caplog.text


def test_a_context_that_cannot_be_understood_is_left(queue: eventq.Queue) -> None:
    """Nothing is attached for it."""
    del queue

    assert contexts.read_context("99-nonsense-1-00") is None
    contexts.go_on("99-nonsense-1-00")
