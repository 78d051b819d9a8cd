"""W3C trace contexts and spans' own: as text in a task, and back.

`go_on` is what the process of an isolated attempt calls; see `handlers.tracing`.
"""

from __future__ import annotations

from functools import lru_cache

from opentelemetry import context as contexts
from opentelemetry import trace as tracing
from opentelemetry.trace import Link, NonRecordingSpan, SpanContext, TraceFlags, TraceState

from eventq.contrib.spans import ids_of
from eventq.handlers.isolation import CodePlace

ROOT = contexts.Context()
# What W3C has everybody hand on; of a longer tracestate nothing is kept.
STATE_CHARACTERS = 512


def text_of(found: SpanContext) -> str | None:
    """A span's context as W3C writes it; None for that of no span."""
    if not found.is_valid:
        return None
    state = found.trace_state.to_header() if found.trace_state else ""
    parent = f"00-{found.trace_id:032x}-{found.span_id:016x}-{found.trace_flags:02x}"
    return f"{parent} {state}" if 0 < len(state) <= STATE_CHARACTERS else parent


# Tasks that were made together have one context.
@lru_cache(maxsize=64)
def links_of(context: str | None) -> tuple[Link, ...]:
    """A link to what a trace context names, if it can be understood."""
    found = None if context is None else read_context(context)
    return () if found is None else (Link(found),)


def read_context(context: str) -> SpanContext | None:
    """What a trace context names; None for one that cannot be understood."""
    ids = ids_of(context)
    if ids is None:
        return None
    trace, span, flags, state = ids
    return SpanContext(
        int(trace, 16),
        int(span, 16),
        is_remote=True,
        trace_flags=TraceFlags(int(flags, 16)),
        trace_state=TraceState.from_header([state] if state else []),
    )


def go_on(context: str) -> None:
    """Has what is traced in these context variables belong to the span that the context names."""
    found = read_context(context)
    if found is not None:
        contexts.attach(tracing.set_span_in_context(NonRecordingSpan(found), ROOT))


GOES_ON = CodePlace(go_on.__module__, go_on.__qualname__)
