"""Recorded histories as traces: the recorded instants, in a form that collectors take."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from google.protobuf.json_format import ParseDict
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

import eventq
from eventq.archive import archive_events, delete_archived, find_end
from eventq.cli import main
from eventq.contrib.otlp import trace_requests
from eventq.handlers.tracing import carrying
from eventq.replay.points import find_point
from tests.contrib.collector import attributes

TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


class Context:
    """A tracing system that gives all tasks one context, and follows no attempt."""

    def making(self, orders: Any, make: Any) -> Any:  # noqa: ANN401
        """See Tracing.making."""
        return make([*carrying(orders, TRACE)])

    def begin(self, _task: object) -> None:
        """See Tracing.begin."""


@pytest.fixture
def worked(queue: eventq.Queue) -> eventq.Queue:
    """A queue with a task that failed once, and one that is open."""
    fails = [True]

    @queue.task("pay", lane="money", backoff="0s")
    def pay(order: int) -> None:  # noqa: ARG001 - a tag of its tasks
        if fails:
            fails.pop()
            raise ValueError("no stock")

    queue.tracing = Context()
    pay.using(key="order-7").new(7)
    queue.new({"secret": "x"}, delay="1h")
    queue.run(until="idle", signals=False)
    return queue


def parsed(request: dict[str, Any]) -> list[Any]:
    """The spans of a request, as a collector understands it: its numbers are hexadecimal."""

    def numbers(found: Any) -> Any:  # noqa: ANN401
        if isinstance(found, list):
            return [numbers(each) for each in found]
        if not isinstance(found, dict):
            return found
        return {
            name: base64.b64encode(bytes.fromhex(value)).decode()
            if name in {"traceId", "spanId", "parentSpanId"}
            else numbers(value)
            for name, value in found.items()
        }

    message = ParseDict(numbers(request), ExportTraceServiceRequest())
    [resource] = message.resource_spans
    assert attributes(resource.resource)["service.name"] == "eventq"
    return list(resource.scope_spans[0].spans)


@pytest.mark.parametrize(
    "context",
    [
        "nothing",
        "00-zz7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        f"00-{'0' * 32}-b7ad6b7169203331-01",
        "00-0af7651916cd43dd-b7ad6b7169203331-01",
    ],
)
def test_a_context_that_is_none_links_to_nothing(queue: eventq.Queue, context: str) -> None:
    """The task is exported all the same, as collectors take it."""
    tracing = Context()
    tracing.making = lambda orders, make: make([*carrying(orders, context)])  # type: ignore[method-assign]
    queue.tracing = tracing
    task = queue.new({"order": 7})

    [request] = trace_requests(queue.log, [queue.history(task.key)])

    [span] = parsed(request)
    assert list(span.links) == []


def test_a_task_is_one_trace(worked: eventq.Queue) -> None:
    """The task, its waits and its attempts, each with the instants of the log."""
    history = worked.history("order-7")
    [request] = trace_requests(worked.log, [history])

    spans = parsed(request)
    root = spans[0]
    names = [span.name for span in spans]
    assert names == ["task pay", "wait pay", "process pay", "wait pay", "process pay"]
    assert {span.trace_id for span in spans} == {root.trace_id}
    assert {span.parent_span_id for span in spans[1:]} == {root.span_id}
    assert len({span.span_id for span in spans}) == 5
    at = {event.kind: event.at * 1_000 for event in history}
    assert (root.start_time_unix_nano, root.end_time_unix_nano) == (
        at["created"],
        at["completed"],
    )
    [link] = root.links
    assert f"00-{link.trace_id.hex()}-{link.span_id.hex()}-01" == TRACE
    assert [event.name for event in root.events] == ["failed", "retried", "completed"]
    failed, completed = spans[2], spans[4]
    assert (failed.status.code, failed.status.message) == (2, "ValueError: no stock")
    assert failed.events[0].name == "exception"
    assert failed.end_time_unix_nano == at["failed"]
    assert spans[1].end_time_unix_nano == failed.start_time_unix_nano
    assert attributes(completed)["eventq.outcome"] == "completed"
    assert attributes(completed)["eventq.lane"] == "money"


def test_it_is_the_same_each_time(worked: eventq.Queue) -> None:
    """So that a collector that is told twice has nothing twice."""
    history = worked.history("order-7")

    first, second = (list(trace_requests(worked.log, [history])) for _ in range(2))

    assert first == second


def test_the_command_prints_requests(worked: eventq.Queue) -> None:
    """All tasks, those of a key, those of a while; tags are in none."""

    def spans(*words: str) -> list[str]:
        command = ["export", "--otlp-json", "--url", worked.url, *words]
        done = CliRunner().invoke(main, command, catch_exceptions=False)
        assert done.exit_code == 0, done.output
        assert "secret" not in done.output
        requests = [json.loads(line) for line in done.output.splitlines()]
        return [span.name for request in requests for span in parsed(request)]

    assert spans() == [*spans("order-7"), "task default"]
    assert len(spans("order-7")) == 5
    assert spans("--to", "1") == ["task pay"]
    assert spans("--from", "2") == spans("order-7")


def test_histories_are_read_many_at_a_time(
    worked: eventq.Queue, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Each task is told once, in order, whatever happened to it when; those of an archive not."""
    monkeypatch.setattr("eventq.cli.commands.archive.TASKS_A_READ", 2)
    for number in range(5):
        worked.new({}, key=f"more-{number}", name="more")
    worked.cancel("more-0")
    worked.cancel("more-1")
    worked.retry("more-0")
    last = worked.log.head().seq

    def keys(*words: str) -> list[str]:
        command = ["export", "--otlp-json", "--url", worked.url, *words]
        done = CliRunner().invoke(main, command, catch_exceptions=False)
        assert done.exit_code == 0, done.output
        found = [span for line in done.stdout.splitlines() for span in parsed(json.loads(line))]
        whole = [attributes(span) for span in found if span.name.startswith("task ")]
        return [str(each["messaging.message.id"]) for each in whole]

    more = [f"more-{number}" for number in range(5)]
    assert [keys()[0], *keys()[2:]] == ["order-7", *more]
    assert sorted(keys("--from", str(last - 3))) == ["more-0", "more-1"]
    until = find_end(worked.log, find_point(worked.log, "3", now=worked.log.head().at))
    archive_events(worked.log, tmp_path / "archive", until=until)
    delete_archived(worked.log, tmp_path / "archive", until=until, now=worked.log.head().at)
    assert keys("--from", str(until.seq)) == more
    assert keys("--archive", str(tmp_path / "archive"))[0] == "order-7"


def test_a_running_attempt_ends_with_what_is_known(queue: eventq.Queue) -> None:
    """Its span has no outcome yet."""
    requests: list[dict[str, Any]] = []

    def worker(_ctx: eventq.Context, task: eventq.Task) -> None:
        requests.extend(trace_requests(queue.log, [queue.history(task.key)]))

    queue.new({})
    queue.run(worker, until="idle", signals=False)

    running = parsed(requests[0])[2]
    assert attributes(running)["eventq.outcome"] == "running"
    assert running.start_time_unix_nano == running.end_time_unix_nano
