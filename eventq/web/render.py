"""From models to HTML: the templates, what they may call, and nothing that asks a queue.

Every value is escaped, by Jinja and by `safe_text`.
"""

from __future__ import annotations

from datetime import UTC, datetime
from functools import cache
from typing import Any
from urllib.parse import quote, urlencode

import msgspec
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from eventq.core.durations import brief_duration
from eventq.core.queue_events import Limited
from eventq.core.sizes import show_size
from eventq.core.task import show_instant
from eventq.replay.rule_words import bound_words
from eventq.replay.rules_now import BucketState
from eventq.web import span_charts
from eventq.web.charts import flow_chart
from eventq.web.showing import safe_text

# A mark beside the word, so that a state is not told by its colour alone.
MARKS = {
    "waiting": "◌",
    "scheduled": "◷",
    "ready": "○",
    "leased": "◐",
    "completed": "●",
    "expired": "✕",
    "cancelled": "⊘",
    "failed": "✕",
    "unknown": "?",
    "running": "◐",
    "lapsed": "✕",
    "released": "↩",
    "called off": "⊘",
}


@cache
def environment() -> Environment:
    """The templates of the console: the same for all, since nothing changes them."""
    made = Environment(
        loader=PackageLoader("eventq.web"),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_safe,
        trim_blocks=True,
        lstrip_blocks=True,
        extensions=[],
    )
    made.filters.update(
        duration=brief_duration,
        number=lambda value: f"{value:,}",
        size=show_size,
        json=json_text,
        mark=lambda state: MARKS.get(state, "·"),
        utc=utc_text,
        iso=iso_text,
        bounds=bounds_text,
        segment=lambda text: quote(text, safe=""),
        scope_tags=scope_tags_json,
        selector=selector_words,
    )
    made.globals.update(
        flow_chart=flow_chart,
        bar_patterns=span_charts.bar_patterns,
        created_chart=span_charts.created_chart,
        started_chart=span_charts.started_chart,
        ended_chart=span_charts.ended_chart,
        times_chart=span_charts.times_chart,
        oldest_chart=span_charts.oldest_chart,
    )
    for name in made.list_templates():
        # Now, and not for the first who asks.
        made.get_template(name)
    return made


def json_text(value: object) -> str:
    """A value as JSON that people can read."""
    return msgspec.json.format(msgspec.json.encode(value), indent=2).decode()


def utc_text(at: datetime) -> str:
    """An instant in UTC, to the millisecond."""
    return show_instant(at)


def iso_text(at: datetime) -> str:
    """An instant as the script reads it."""
    return at.astimezone(UTC).isoformat()


def bounds_text(bucket: BucketState) -> str:
    """What a bucket bears."""
    if not bucket.is_defined:
        return "not defined, so it holds its tasks back"
    said = Limited(limit=bucket.limit, running=bucket.bound, rate=bucket.rate, per_us=bucket.per_us)
    return bound_words(said)


def scope_tags_json(tags: tuple[tuple[str, str], ...]) -> str:
    """The tags that a pause is about, as the form to resume it has them."""
    return msgspec.json.encode({name: msgspec.json.decode(text) for name, text in tags}).decode()


def selector_words(text: str) -> str:
    """A selector, as the log has it, for people.

    >>> selector_words('{"names":["mail.*","docs"],"error":"OSError"}')
    'names mail.*, docs; error OSError'
    """
    if not text.startswith("{"):
        return text
    parts = []
    for name, value in msgspec.json.decode(text).items():
        words = ", ".join(map(str, value)) if isinstance(value, list) else value
        said = words if isinstance(words, str) else msgspec.json.encode(words).decode()
        parts.append(f"{name.replace('_', ' ')} {said}")
    return "; ".join(parts)


def query_text(values: dict[str, Any]) -> str:
    """A query, with its question mark; nothing for no values."""
    given = {name: value for name, value in values.items() if value not in {None, ""}}
    return f"?{urlencode(given)}" if given else ""


def _safe(value: Any) -> Any:  # noqa: ANN401 - whatever a template puts out
    if isinstance(value, Markup):
        return value
    if value is None:
        return "-"
    return safe_text(str(value))
