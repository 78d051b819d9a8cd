"""Handlers in processes of their own, which tell what trace they are in; see test_otel_isolated."""

from __future__ import annotations

import logging

from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider

import eventq

shop = eventq.Handlers()
tracer = TracerProvider().get_tracer("shop")


@shop.task("pay", isolate=True)
def pay() -> dict[str, str]:
    """What a span that it begins belongs to."""
    logging.getLogger("shop").warning("charged")
    with tracer.start_as_current_span("bank") as span:
        found = span.get_span_context()
        parent = trace.get_current_span().parent  # type: ignore[attr-defined]
        return {
            "trace": f"{found.trace_id:032x}",
            "parent": "" if parent is None else f"{parent.span_id:016x}",
        }
