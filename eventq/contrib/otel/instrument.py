"""Follows a queue's tasks with spans: making, waiting, each attempt; and has metrics told.

All of it is the application's own SDK's. Where none is set up, nothing is done; whatever fails here
is logged, and no task is touched by it.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import TypeVar

from opentelemetry import context as contexts
from opentelemetry import trace as tracing
from opentelemetry.metrics import MeterProvider
from opentelemetry.trace import Span, SpanKind, StatusCode, Tracer, TracerProvider

from eventq.contrib.otel.contexts import GOES_ON, ROOT, links_of, text_of
from eventq.contrib.otel.ending import SpanEnding, logger
from eventq.contrib.otel.instruments import Instruments
from eventq.contrib.spans import (
    attempt_attributes,
    destination_of,
    exception_attributes,
    making_attributes,
    status_of,
)
from eventq.core.create import NewTask
from eventq.core.settle import Outcome
from eventq.core.task import DEFAULT_LANE, Task
from eventq.core.version import __version__
from eventq.errors import ArgumentError
from eventq.handlers.tracing import Continuing, carrying
from eventq.queue import AsyncQueue, Queue

R = TypeVar("R")

SCOPE = "eventq"
# The API's own providers, of which nothing comes.
API = ("opentelemetry.trace", "opentelemetry.metrics")
SECOND_NS = 1_000_000_000


def instrument(
    queue: Queue | AsyncQueue,
    *,
    tracer_provider: TracerProvider | None = None,
    meter_provider: MeterProvider | None = None,
) -> Instrumentation:
    """Has the queue's tasks followed from now on: those it makes, and the attempts of later runs.

    The providers are those that the application has set up, also later, unless others are given.
    Raises ArgumentError.
    """
    if isinstance(queue, AsyncQueue):
        queue = queue.queue
    if not isinstance(queue, Queue):
        raise ArgumentError("queue", queue, "an eventq.Queue")
    made = Instrumentation(queue, tracer_provider, meter_provider)
    queue.tracing = made
    return made


class Instrumentation:
    """What follows one queue; `instrument` makes it."""

    def __init__(
        self,
        queue: Queue,
        tracer_provider: TracerProvider | None,
        meter_provider: MeterProvider | None,
    ) -> None:
        self._queue = queue
        self._provider = tracer_provider
        self._found: Tracer | None = None
        self._ending = SpanEnding()
        self._instruments = Instruments(queue, meter_provider)

    def flush(self, timeout_s: float = 5.0) -> bool:
        """Hands all spans that have ended to the SDK, whose own flush is to come behind it."""
        return self._ending.flush(timeout_s)

    def close(self) -> None:
        """Follows the queue no more; runs that go on are followed to their end."""
        if self._queue.tracing is self:
            self._queue.tracing = None
        self._instruments.close()
        self._ending.close()

    def making(self, orders: list[NewTask], make: Callable[[list[NewTask]], R]) -> R:
        """See Tracing.making."""
        lacking = [order for order in orders if order.trace is None]
        if not lacking:
            return make(orders)
        tracer = self._tracer()
        if tracer is None and not self._instruments.is_on():
            return make(orders)
        making = TracedMaking(self._instruments, tracer, lacking)
        try:
            made = make(carrying(orders, making.context) if making.context else orders)
        except BaseException as error:
            self._ending.put(partial(making.end, time.time_ns(), error=error))
            raise
        self._ending.put(partial(making.end, time.time_ns(), made=made))
        return made

    def begin(self, task: Task) -> TracedAttempt | None:
        """See Tracing.begin."""
        tracer = self._tracer()
        if tracer is None and not self._instruments.is_on():
            return None
        begun_ns = time.time_ns()
        span, records = None, False
        try:
            if tracer is not None:
                span = tracer.start_span(
                    f"process {destination_of(task.name, task.lane)}",
                    context=ROOT,
                    kind=SpanKind.CONSUMER,
                    attributes=attempt_attributes(task),
                    links=links_of(task.trace),
                    start_time=begun_ns,
                )
                # Left in place: the variables are the attempt's own, and end with it.
                contexts.attach(tracing.set_span_in_context(span))
                records = span.is_recording()
        except Exception as error:  # noqa: BLE001 - no fault of a sampler or a processor ends an attempt
            _tell(error)
        return TracedAttempt(self, task, span, begun_ns, records=records)

    def note_end(self, work: Callable[[], object]) -> None:
        """For attempts: what is to be done with a span that has ended."""
        self._ending.put(work)

    def is_counted(self) -> bool:
        """For attempts: whether there are metrics, also of those that no span records."""
        return self._instruments.is_on()

    def end_attempt(
        self, traced: TracedAttempt, outcome: Outcome | None, ended_ns: int, *, lost: bool
    ) -> None:
        """For attempts: ends the span, with the one of its waiting; in the thread of those."""
        task, span = traced.task, traced.span
        kind = "lost" if outcome is None else outcome.kind
        error = None if outcome is None else outcome.error
        failed = None if error is None or kind != "failed" else error.type
        length_s = (ended_ns - traced.begun_ns) / SECOND_NS
        self._instruments.processed(destination_of(task.name, task.lane), length_s, error=failed)
        if span is None or not traced.records:
            return
        self._tell_waiting(task, span, traced.begun_ns)
        span.set_attribute("eventq.outcome", kind)
        if lost:
            span.set_attribute("eventq.lease_lost", value=True)
        if error is not None:
            span.add_event("exception", exception_attributes(error), ended_ns)
        if error is not None and failed is not None:
            span.set_attribute("error.type", failed)
            span.set_status(StatusCode.ERROR, status_of(error))
        span.end(ended_ns)

    def _tell_waiting(self, task: Task, span: Span, begun_ns: int) -> None:
        """The time for which the task was ready, until the attempt began."""
        tracer = self._tracer()
        ready_ns = min(task.scheduled_at_us * 1_000, begun_ns)
        # When a task that comes after others became ready is not known without reading the log.
        if tracer is None or (task.after and not task.retry_count):
            return
        name = f"wait {destination_of(task.name, task.lane)}"
        within = tracing.set_span_in_context(span, ROOT)
        tracer.start_span(name, context=within, start_time=ready_ns).end(begun_ns)

    def _tracer(self) -> Tracer | None:
        """The tracer of the SDK; None where none is set up."""
        if self._found is None:
            provider = self._provider or tracing.get_tracer_provider()
            if not type(provider).__module__.startswith(API):
                self._found = provider.get_tracer(SCOPE, __version__)
        return self._found


class TracedMaking:
    """The making of some tasks, with its span."""

    def __init__(
        self, instruments: Instruments, tracer: Tracer | None, orders: list[NewTask]
    ) -> None:
        self.span: Span | None = None
        self.context: str | None = None
        self._instruments = instruments
        self._names = list(dict.fromkeys(map(_destination_of, orders)))
        self._count = len(orders)
        self._begun_ns = time.time_ns()
        if tracer is None:
            return
        try:
            self.span = tracer.start_span(
                f"send {self._names[0]}" if len(self._names) == 1 else "send",
                kind=SpanKind.PRODUCER,
                attributes=making_attributes(self._names, self._count),
                start_time=self._begun_ns,
            )
            self.context = text_of(self.span.get_span_context())
        except Exception as error:  # noqa: BLE001 - no fault of a sampler or a processor makes no task
            _tell(error)

    def end(
        self, ended_ns: int, *, made: object = None, error: BaseException | None = None
    ) -> None:
        """Ends the span; in the thread of those that end."""
        failed = None if error is None else type(error).__qualname__
        length_s = (ended_ns - self._begun_ns) / SECOND_NS
        self._instruments.sent(self._names, self._count, length_s, error=failed)
        span = self.span
        if span is None or not span.is_recording():
            return
        if isinstance(made, list) and len(made) == 1 and isinstance(made[0], Task):
            span.set_attribute("messaging.message.id", made[0].key)
        if error is not None and failed is not None:
            span.record_exception(error, timestamp=ended_ns)
            span.set_attribute("error.type", failed)
            span.set_status(StatusCode.ERROR, str(error))
        span.end(ended_ns)


class TracedAttempt:
    """One attempt with its span."""

    __slots__ = ("begun_ns", "is_over", "records", "span", "task", "tracing")

    def __init__(
        self,
        tracing: Instrumentation,
        task: Task,
        span: Span | None,
        begun_ns: int,
        *,
        records: bool,
    ) -> None:
        self.tracing = tracing
        self.task = task
        self.span = span
        self.begun_ns = begun_ns
        self.records = records
        """Whether the span is to be told of anything; that of a sampler which declined is not."""
        self.is_over = False

    @property
    def context(self) -> str | None:
        """See AttemptTrace.context."""
        return None if self.span is None else text_of(self.span.get_span_context())

    @property
    def continuing(self) -> Continuing | None:
        """See AttemptTrace.continuing."""
        context = self.context
        return None if context is None else Continuing(GOES_ON, context)

    def end(self, outcome: Outcome | None, *, lost: bool) -> None:
        """See AttemptTrace.end; it may come twice."""
        if not self.is_over and (self.records or self.tracing.is_counted()):
            self.is_over = True
            work = partial(self.tracing.end_attempt, self, outcome, time.time_ns(), lost=lost)
            self.tracing.note_end(work)


def _destination_of(order: NewTask) -> str:
    return destination_of(order.route.name, order.route.lane or DEFAULT_LANE)


def _tell(error: Exception) -> None:
    values = {"error": str(error)}
    logger.warning("a span could not be begun: %(error)s", values, extra=values)
