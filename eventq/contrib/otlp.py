"""Recorded histories as traces, in OTLP's JSON: made after the fact, with the recorded instants.

It needs no package. Each task is one trace, whose numbers follow from the task, so that exporting
it again gives the same; it is linked to the trace that the task was made in.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from hashlib import blake2b
from itertools import pairwise
from typing import Any

from eventq.audit.history import Step, steps_of
from eventq.contrib.spans import (
    Attributes,
    attempt_attributes,
    destination_of,
    exception_attributes,
    ids_of,
    operation_attributes,
    status_of,
    task_attributes,
)
from eventq.core.commits import Event
from eventq.core.events import Created, Leased
from eventq.core.version import __version__
from eventq.eventlog import EventLog
from eventq.replay.attempts import RecordedAttempt, attempt_of

# As OTLP numbers them.
INTERNAL, CONSUMER = 1, 5
ERROR = 2
# Tasks of one request, one line.
TASKS_A_LINE = 100


def trace_requests(log: EventLog, histories: Iterable[list[Event]]) -> Iterator[dict[str, Any]]:
    """The tasks' spans as requests of OTLP's ``/v1/traces``, each of some tasks."""
    spans: list[dict[str, Any]] = []
    for count, history in enumerate(histories, 1):
        spans += spans_of(log, history)
        if count % TASKS_A_LINE == 0:
            yield _request(log, spans)
            spans = []
    if spans:
        yield _request(log, spans)


def spans_of(log: EventLog, history: list[Event]) -> list[dict[str, Any]]:
    """The spans of one task: its own, and in it each wait and each attempt."""
    steps = list(steps_of(log, history))
    first, last = steps[0], steps[-1]
    task = last.task
    name = destination_of(task.name, task.lane)
    trace = _digits(f"{log.namespace} {task.number} {task.created_at_us}", 16)
    root = _digits(f"{trace} 0", 8)
    attributes = operation_attributes("process", name) | task_attributes(task)
    attributes["eventq.state"] = str(task.state)
    whole = _span(trace, root, None, f"task {name}", first.event.decided_at, last.event.decided_at)
    whole |= {"attributes": _attributes(attributes), "links": _links(first.event)}
    whole["events"] = [
        _event(step) for step in steps[1:] if not isinstance(step.event.body, Leased)
    ]
    found = [whole]
    for before, step in pairwise(steps):
        if isinstance(step.event.body, Leased) and not step.is_damage:
            found += _attempt_spans(log, history, before, step, trace, root, name)
    return found


def _attempt_spans(
    log: EventLog,
    history: list[Event],
    before: Step,
    step: Step,
    *within: str,
) -> list[dict[str, Any]]:
    """The spans of a wait, and of the attempt that it ended with."""
    trace, root, name = within
    lease = step.event
    attempt = attempt_of(log.namespace, history, lease)
    ready_at = min(max(before.task.created_at_us, step.ready_at), lease.decided_at)
    waiting = _span(
        trace, _digits(f"{trace} wait {lease.seq}", 8), root, f"wait {name}", ready_at,
        lease.decided_at,
    )  # fmt: skip
    ended_at = history[-1].decided_at if attempt.ended_at is None else attempt.ended_at
    number = _digits(f"{trace} {lease.seq}", 8)
    running = _span(trace, number, root, f"process {name}", lease.decided_at, ended_at, CONSUMER)
    return [waiting, running | _told(attempt, ended_at)]


def _told(attempt: RecordedAttempt, ended_at: int) -> dict[str, Any]:
    ended = attempt.ended
    found = attempt_attributes(attempt.task) | {"eventq.outcome": ended.kind}
    if ended.late is not None:
        found["eventq.late"] = ended.late
    told: dict[str, Any] = {}
    if ended.error is not None:
        about = _attributes(exception_attributes(ended.error))
        told["events"] = [{"timeUnixNano": _ns(ended_at), "name": "exception", "attributes": about}]
        if ended.kind in {"failed", "lapsed"}:
            found["error.type"] = ended.error.type
            told["status"] = {"code": ERROR, "message": status_of(ended.error)}
    return told | {"attributes": _attributes(found)}


def _span(trace: str, number: str, parent: str | None, name: str, *ends: int) -> dict[str, Any]:
    begun_at, ended_at, *kind = ends
    return {
        "traceId": trace,
        "spanId": number,
        **({} if parent is None else {"parentSpanId": parent}),
        "name": name,
        "kind": kind[0] if kind else INTERNAL,
        "startTimeUnixNano": _ns(begun_at),
        "endTimeUnixNano": _ns(ended_at),
    }


def _links(event: Event) -> list[dict[str, Any]]:
    body = event.body
    if not isinstance(body, Created) or body.trace is None:
        return []
    ids = ids_of(body.trace)
    if ids is None:
        return []
    trace, span, _, state = ids
    return [{"traceId": trace, "spanId": span, "traceState": state}]


def _event(step: Step) -> dict[str, Any]:
    found: Attributes = {"eventq.position": step.event.seq}
    at = _ns(step.event.decided_at)
    return {"timeUnixNano": at, "name": step.event.kind, "attributes": _attributes(found)}


def _request(log: EventLog, spans: list[dict[str, Any]]) -> dict[str, Any]:
    about: Attributes = {"service.name": "eventq", "eventq.namespace": log.namespace}
    scope = {"name": "eventq", "version": __version__}
    scoped = [{"scope": scope, "spans": spans}]
    return {
        "resourceSpans": [{"resource": {"attributes": _attributes(about)}, "scopeSpans": scoped}]
    }


def _attributes(found: Attributes) -> list[dict[str, Any]]:
    return [{"key": key, "value": _value(value)} for key, value in found.items()]


def _value(value: str | int | bool) -> dict[str, Any]:  # noqa: FBT001 - one of OTLP's kinds
    if isinstance(value, bool):
        return {"boolValue": value}
    # Whole numbers are text in OTLP's JSON: they have 64 bits.
    return {"stringValue": value} if isinstance(value, str) else {"intValue": str(value)}


def _ns(at: int) -> str:
    return str(at * 1_000)


def _digits(text: str, size_bytes: int) -> str:
    return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=size_bytes).hexdigest()
