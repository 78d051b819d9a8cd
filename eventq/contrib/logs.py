"""Log lines that say which attempt they are of: for the standard `logging`, and for structlog.

The attempt is that of the context variables, so that lines of whatever a worker calls carry it, in
its thread or asyncio task. Outside of attempts nothing is added. Where OpenTelemetry is in use, the
span is told too, by its own context variables.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Mapping, MutableMapping
from typing import Any

from eventq.core.task import DEFAULT_LANE, Task
from eventq.handlers.context import running

SPAN_FIELDS = ("trace_id", "span_id")
# `LogRecord.name` is the logger's, which nothing may overwrite.
RECORD_FIELDS = ("task", "task_name", "lane", "attempt", "fence", "namespace", *SPAN_FIELDS)


def attempt_fields() -> dict[str, Any]:
    """What a line says of the attempt that runs here; empty outside of attempts."""
    context = running.get(None)
    return {} if context is None else fields_of(context.task) | span_fields()


def span_fields() -> dict[str, Any]:
    """The span of OpenTelemetry's that goes on here, if there is one."""
    tracing = sys.modules.get("opentelemetry.trace")
    found = None if tracing is None else tracing.get_current_span().get_span_context()
    if found is None or not found.is_valid:
        return {}
    numbers = (f"{found.trace_id:032x}", f"{found.span_id:016x}")
    return dict(zip(SPAN_FIELDS, numbers, strict=True))


def fields_of(task: Task) -> dict[str, Any]:
    """The fields of one attempt."""
    return {
        "task": task.key,
        "name": task.name,
        "lane": task.lane or DEFAULT_LANE,
        "attempt": task.attempt,
        "fence": task.fence,
        "namespace": task.namespace,
    }


class AttemptFilter(logging.Filter):
    """Gives each record the fields of its attempt: ``task``, ``task_name``, ``lane``, and so on.

    On a handler it sees the records of all loggers: ``handler.addFilter(AttemptFilter())``. Outside
    of attempts they are None, so that a format may name them. What a record has already stays.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        """Adds the fields; every record passes."""
        found = attempt_fields()
        found["task_name"] = found.pop("name", None)
        for name in RECORD_FIELDS:
            if not hasattr(record, name):
                setattr(record, name, found.get(name))
        return True


def add_attempt(
    _logger: object, _method: str, event: MutableMapping[str, Any]
) -> Mapping[str, Any]:
    """A processor for structlog: adds the fields of the attempt, beside what is bound already."""
    for name, value in attempt_fields().items():
        event.setdefault(name, value)
    return event
