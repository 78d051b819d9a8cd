"""Spans reach a collector over HTTP, and are linked as the tasks are."""

from __future__ import annotations

import logging
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF

import eventq
from eventq.contrib import Outbox
from eventq.contrib.logs import AttemptFilter
from eventq.contrib.otel import instrument
from eventq.core.events import Created
from eventq.verify import verify
from tests.contrib.collector import Collector, attributes, collecting


class Tracing:
    """An SDK that hands its spans to a collector, and a queue that it follows."""

    def __init__(self, queue: eventq.Queue, collector: Collector) -> None:
        self.collector = collector
        self.provider = TracerProvider()
        exporter = OTLPSpanExporter(f"{collector.url}/v1/traces", timeout=5)
        self.provider.add_span_processor(BatchSpanProcessor(exporter, schedule_delay_millis=50))
        self.tracer = self.provider.get_tracer("shop")
        self.made = instrument(queue, tracer_provider=self.provider)

    def flush(self) -> None:
        """Has the collector be told all."""
        assert self.made.flush()
        assert self.provider.force_flush()

    def one(self, name: str) -> Any:  # noqa: ANN401 - of protobuf
        """The only span of a name."""
        [span] = self.collector.named(name)
        return span


@pytest.fixture
def collector() -> Iterator[Collector]:
    """A collector."""
    with collecting() as found:
        yield found


@pytest.fixture
def tracing(queue: eventq.Queue, collector: Collector) -> Iterator[Tracing]:
    """An SDK that follows the queue."""
    found = Tracing(queue, collector)
    yield found
    found.made.close()
    found.provider.shutdown()


def traces(queue: eventq.Queue) -> list[str | None]:
    """The trace contexts of all tasks, in order, without the flags."""
    return [
        None if event.body.trace is None else event.body.trace[:52]
        for event in queue.events()
        if isinstance(event.body, Created)
    ]


def named_span(span: Any) -> str:  # noqa: ANN401 - of protobuf
    """A span as `traces` has it."""
    return f"00-{span.trace_id.hex()}-{span.span_id.hex()}"


def test_an_attempt_is_linked_to_the_making(queue: eventq.Queue, tracing: Tracing) -> None:
    """Making is a part of the caller's trace; attempts have traces of their own, linked to it."""

    @queue.task("pay", lane="money")
    def pay(order: int) -> int:
        return order

    with tracing.tracer.start_as_current_span("request") as request:
        task = pay.new(7)
    queue.run(until="idle", signals=False)
    tracing.flush()

    made, attempt, wait = map(tracing.one, ("send pay", "process pay", "wait pay"))
    inside = request.get_span_context()
    assert (made.kind, attempt.kind, wait.kind) == (4, 5, 1)
    assert made.trace_id == inside.trace_id.to_bytes(16, "big")
    assert made.parent_span_id == inside.span_id.to_bytes(8, "big")
    assert attempt.parent_span_id == b""
    assert attempt.trace_id != made.trace_id
    [link] = attempt.links
    assert (link.trace_id, link.span_id) == (made.trace_id, made.span_id)
    assert (wait.trace_id, wait.parent_span_id) == (attempt.trace_id, attempt.span_id)
    assert wait.end_time_unix_nano == attempt.start_time_unix_nano
    assert wait.start_time_unix_nano <= wait.end_time_unix_nano
    assert traces(queue) == [named_span(made)]
    assert attributes(made) == {
        "messaging.system": "eventq",
        "messaging.operation.name": "send",
        "messaging.operation.type": "send",
        "messaging.destination.name": "pay",
        "messaging.message.id": task.key,
    }
    found = attributes(attempt)
    assert found.pop("messaging.client.id")
    assert found == {
        "messaging.system": "eventq",
        "messaging.operation.name": "process",
        "messaging.operation.type": "process",
        "messaging.destination.name": "pay",
        "messaging.message.id": task.key,
        "eventq.lane": "money",
        "eventq.attempt": 1,
        "eventq.outcome": "completed",
    }


def test_errors_are_events_and_each_attempt_is_a_span(
    queue: eventq.Queue, tracing: Tracing
) -> None:
    """A failure is an exception with its traceback; a snooze or a cancel is no error."""
    courses: list[Exception | None] = [
        ValueError("no stock"),
        eventq.Snooze("0s"),
        eventq.Cancel("called off"),
    ]

    @queue.task("ship", backoff="0s")
    def ship() -> None:
        course = courses.pop(0)
        if course is not None:
            raise course

    ship.new()
    queue.run(until="idle", signals=False)
    tracing.flush()

    found = sorted(tracing.collector.named("process ship"), key=lambda s: s.start_time_unix_nano)
    outcomes = [attributes(span)["eventq.outcome"] for span in found]
    assert outcomes == ["failed", "released", "cancelled"]
    assert [span.status.code for span in found] == [2, 0, 0]
    assert found[0].status.message == "ValueError: no stock"
    assert attributes(found[0])["error.type"] == "ValueError"
    [event] = found[0].events
    told = attributes(event)
    assert event.name == "exception"
    assert (told["exception.type"], told["exception.message"]) == ("ValueError", "no stock")
    assert "in ship" in told["exception.stacktrace"]
    assert len({span.trace_id for span in found}) == 3
    assert len({(span.links[0].trace_id, span.links[0].span_id) for span in found}) == 1
    assert len(tracing.collector.named("wait ship")) == 3


def test_what_a_worker_does_belongs_to_its_attempt(queue: eventq.Queue, tracing: Tracing) -> None:
    """In threads and in loops: spans inside it, tasks that it makes, and log lines."""
    seen: dict[str, tuple[Any, Any]] = {}

    def look(name: str) -> None:
        inside = trace.get_current_span().get_span_context()
        record = logging.LogRecord("shop", logging.INFO, "", 0, "", (), None)
        AttemptFilter().filter(record)
        seen[name] = (inside, record)
        with tracing.tracer.start_as_current_span(f"inside {name}"):
            pass

    @queue.task("plain")
    def plain(ctx: eventq.Context) -> None:
        look("plain")
        ctx.new({}, name="child")

    @queue.task("awaited")
    async def awaited(ctx: eventq.Context) -> None:
        look("awaited")
        ctx.new({}, name="child")

    plain.new()
    awaited.new()
    queue.run(until="idle", signals=False)
    tracing.flush()

    for name in ("plain", "awaited"):
        attempt, inner = tracing.one(f"process {name}"), tracing.one(f"inside {name}")
        context, record = seen[name]
        assert attempt.span_id == context.span_id.to_bytes(8, "big")
        assert (inner.trace_id, inner.parent_span_id) == (attempt.trace_id, attempt.span_id)
        assert (record.trace_id, record.span_id) == (attempt.trace_id.hex(), attempt.span_id.hex())
        assert named_span(attempt) in traces(queue)[2:]
    assert not trace.get_current_span().get_span_context().is_valid


def test_all_ways_of_making_carry_the_context(
    queue: eventq.Queue, tracing: Tracing, tmp_path: Path
) -> None:
    """Batches, flows, transactions and outboxes, each in one span; a relay changes none."""

    @queue.task("pay")
    def pay(order: int) -> None: ...

    @queue.task("mail")
    def mail(order: int) -> None: ...

    queue.new_many([pay.spec(1), mail.spec(2)])
    with queue.flow() as flow:
        flow.new(pay, 3)
    with queue.transaction() as tx:
        tx.new(pay, 4)
    with Outbox(queue, at=f"sqlite:///{tmp_path}/shop.db", relay=False) as outbox:
        outbox.create()
        import sqlite3  # noqa: PLC0415 - of this test alone

        with sqlite3.connect(tmp_path / "shop.db") as session:
            outbox.new(pay, 5, on=session)
        session.close()
        assert outbox.relay() == 1
    tracing.flush()

    spans = [tracing.one("send"), *tracing.collector.named("send pay")]
    texts = set(map(named_span, spans))
    assert attributes(spans[0])["messaging.batch.message_count"] == 2
    assert len(spans) == 4
    assert set(traces(queue)) == texts
    assert traces(queue)[0] == traces(queue)[1]


def test_a_making_that_fails_is_an_error(queue: eventq.Queue, tracing: Tracing) -> None:
    """The caller gets the error, and the span tells of it."""
    queue.new({"order": 1}, key="one", name="pay")
    with pytest.raises(eventq.KeyConflictError):
        queue.new({"order": 2}, key="one", name="pay")
    tracing.flush()

    broken = tracing.collector.named("send pay")[1]
    assert broken.status.code == 2
    assert attributes(broken)["error.type"] == "KeyConflictError"


def test_a_reopened_task_keeps_its_context(queue: eventq.Queue, tracing: Tracing) -> None:
    """A retry by hand is one more attempt, linked to the same making."""
    fails = [True]

    @queue.task("pay", max_retries=0)
    def pay() -> None:
        if fails:
            fails.pop()
            raise ValueError

    task = pay.new()
    queue.run(until="idle", signals=False)
    queue.retry(task.key)
    queue.run(until="idle", signals=False)
    tracing.flush()

    links = [span.links[0].span_id for span in tracing.collector.named("process pay")]
    assert links == [tracing.one("send pay").span_id] * 2
    assert verify(queue.log).findings == ()


def test_what_an_attempt_repeats_carries_its_context(queue: eventq.Queue, tracing: Tracing) -> None:
    """As what it makes by `new`: the making is within the attempt's trace."""
    done = queue.new({"order": 1}, name="pay", key="first")
    queue.cancel(done.key)

    @queue.task("again")
    def again() -> None:
        queue.repeat("first")

    again.new()
    queue.run(names=["again"], until="idle", signals=False)
    tracing.flush()

    attempt = tracing.one("process again")
    first, second = tracing.collector.named("send pay")
    assert second.trace_id == attempt.trace_id != first.trace_id
    assert second.parent_span_id == attempt.span_id
    assert traces(queue)[-1] == named_span(second)
    assert queue.tasks(name="pay")[0].tags == {"order": 1}
    assert verify(queue.log).findings == ()


def test_what_is_not_sampled_is_told_to_the_next(queue: eventq.Queue) -> None:
    """The context goes on with its flag, so that others sample alike; nothing is exported."""
    kept = InMemorySpanExporter()
    provider = TracerProvider(sampler=ALWAYS_OFF)
    provider.add_span_processor(SimpleSpanProcessor(kept))
    made = instrument(queue, tracer_provider=provider)

    queue.new({})
    queue.run(lambda _ctx, _task: None, until="idle", signals=False)
    made.close()

    task = queue.get("1")
    assert task is not None
    assert task.trace is not None
    assert int(task.trace[53:55], 16) & 1 == 0
    assert kept.get_finished_spans() == ()


def test_an_isolated_attempt_is_followed_from_outside(tmp_path: Path) -> None:
    """Its span begins and ends in the process that stands by it."""
    module = tmp_path / "isolated_shop.py"
    module.write_text(
        """
import eventq
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

shop = eventq.Handlers()


@shop.task("pay", isolate=True, max_retries=0)
def pay(ctx: eventq.Context, order: int) -> None:
    ctx.new({}, name="child")
    if order == 2:
        raise ValueError("no stock")


if __name__ == "__main__":
    from eventq.contrib.otel import instrument
    from isolated_shop import pay, shop

    kept = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(kept))
    with eventq.Queue("sqlite:///tasks.db", handlers=[shop]) as queue:
        made = instrument(queue, tracer_provider=provider)
        pay.new(1)
        pay.new(2)
        queue.run(until="idle")
        made.close()
        spans = [each for each in kept.get_finished_spans() if each.name == "process pay"]
        print(sorted(each.status.status_code.name for each in spans))
        print(sum(task.trace is not None for task in queue.tasks(name="child")))
"""
    )
    done = subprocess.run(
        [sys.executable, "isolated_shop.py"],
        cwd=tmp_path,
        env={"PYTHONPATH": f"{tmp_path}:{':'.join(sys.path)}", "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )

    assert done.stdout.splitlines()[0] == "['ERROR', 'UNSET']", done.stderr
    assert done.stdout.splitlines()[1] == "1"
