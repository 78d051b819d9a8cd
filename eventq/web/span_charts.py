"""Charts of a span of time as SVG: bars that stand on each other, and lines; without any style.

No series is told by its colour alone: bars have patterns, lines have dashes. A table beside each
chart says the same.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime

from markupsafe import Markup, escape
from msgspec import Struct

from eventq.core.durations import brief_duration
from eventq.core.task import show_instant
from eventq.web.pages.charts import SpanModel
from eventq.web.showing import safe_text

WIDTH, HEIGHT = 300, 120
LEFT, RIGHT, TOP, BOTTOM = 52, 4, 8, 20
INNER_WIDTH, INNER_HEIGHT = WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM
GAP = 0.15
# What a single value is drawn as is so wide.
DASH = 5
# An axis of lengths of time is at least so high: less is no length that anybody looks for.
LEAST_US = 1_000.0


class Series(Struct, frozen=True):
    """One row of values of a chart; None where there is none."""

    name: str
    style: str
    """A class of the style sheet, which is also the name of its pattern."""
    values: list[float | None]


def created_chart(span: SpanModel) -> Markup:
    """How many tasks were created."""
    return _bars(span, "Tasks created", [_of(span, "created", "good", "created")])


def started_chart(span: SpanModel) -> Markup:
    """How many attempts began."""
    return _bars(span, "Attempts started", [_of(span, "started", "run", "started")])


def ended_chart(span: SpanModel) -> Markup:
    """What became of tasks and attempts, each outcome on top of the one before."""
    series = [
        _of(span, "completed", "good", "completed"),
        _of(span, "failed", "warned", "attempts failed"),
        _of(span, "expired", "bad", "expired"),
        _of(span, "cancelled", "off", "cancelled"),
    ]
    return _bars(span, "Ended, by outcome", series)


def times_chart(span: SpanModel) -> Markup:
    """How long tasks waited and ran."""
    spans = span.spans
    series = [
        Series("waited, median", "wait", [each.waited.median for each in spans]),
        Series("waited, 95 %", "wait-far", [each.waited.p95 for each in spans]),
        Series("ran, median", "ran", [each.ran.median for each in spans]),
        Series("ran, 95 %", "ran-far", [each.ran.p95 for each in spans]),
    ]
    return lines([each.at for each in spans], "Waited and ran", series)


def oldest_chart(span: SpanModel) -> Markup:
    """For how long the oldest ready task had been ready."""
    values: list[float | None] = [row.ready_us or 0 for row in span.oldest]
    series = [Series("oldest ready", "wait", values)]
    return lines([row.at for row in span.oldest], "Oldest ready, in samples", series)


def bar_patterns() -> Markup:
    """What bars are filled with besides their colour: once for all charts of a page."""
    lines = {"warned": "M0 5L5 0", "bad": "M0 0L5 5M0 5L5 0", "off": "M0 2.5H5"}
    found = [
        f'<pattern id="p-{name}" width="5" height="5" patternUnits="userSpaceOnUse">'
        f'<rect class="ground-{name}" width="5" height="5"/><path class="mark" d="{way}"/>'
        "</pattern>"
        for name, way in lines.items()
    ]
    # Nothing in it comes from elsewhere.
    return Markup(  # noqa: S704
        f'<svg class="unseen" aria-hidden="true"><defs>{"".join(found)}</defs></svg>'
    )


def _of(span: SpanModel, field: str, style: str, name: str) -> Series:
    return Series(name, style, [getattr(each, field) for each in span.spans])


def _bars(span: SpanModel, title: str, series: Sequence[Series]) -> Markup:
    """Bars, one a minute or an hour, of which each says in words what it is."""
    times = [each.at for each in span.spans]
    totals = [sum(each.values[place] or 0 for each in series) for place in range(len(times))]
    most = _round_up(max([1.0, *totals]))
    step = INNER_WIDTH / len(times)
    parts = []
    for place, at in enumerate(times):
        x, y = LEFT + place * step, float(TOP + INNER_HEIGHT)
        said = [f"{each.values[place] or 0:,.0f} {each.name}" for each in series]
        bars = []
        for each in series:
            height = (each.values[place] or 0) / most * INNER_HEIGHT
            if height:
                y -= height
                size = f'width="{step * (1 - GAP):.1f}" height="{max(0.5, height):.1f}"'
                bars.append(f'<rect class="{each.style}" x="{x:.1f}" y="{y:.1f}" {size}/>')
        if bars:
            words = escape(f"{show_instant(at)}: {', '.join(said)}")
            parts.append(f"<g><title>{words}</title>{''.join(bars)}</g>")
    return _framed(title, times, parts, series, f"{most:,.0f}", is_line=False)


def lines(times: Sequence[datetime], title: str, series: Sequence[Series]) -> Markup:
    """Lines of lengths of time; where there is no value, there is no line."""
    most = max([LEAST_US, *(v for each in series for v in each.values if v is not None)])
    step = INNER_WIDTH / max(1, len(times) - 1)
    parts = []
    for each in series:
        path, pen = [], "M"
        for place, value in enumerate(each.values):
            if value is None:
                pen = "M"
                continue
            y = TOP + INNER_HEIGHT * (1 - value / most)
            x = LEFT + place * step
            if pen == "M" and each.values[place + 1 : place + 2] in ([], [None]):
                # A dash where nothing is beside it, or it would not be seen.
                path.append(f"M{x - DASH / 2:.1f} {y:.1f}h{DASH}")
                continue
            path.append(f"{pen}{x:.1f} {y:.1f}")
            pen = "L"
        if path:
            parts.append(f'<path class="{each.style}" d="{"".join(path)}"/>')
    return _framed(title, times, parts, series, brief_duration(int(most)), is_line=True)


def _framed(
    title: str,
    times: Sequence[datetime],
    parts: Sequence[str],
    series: Sequence[Series],
    most: str,
    *,
    is_line: bool,
) -> Markup:
    """The chart with its axes and its legend."""
    bottom = TOP + INNER_HEIGHT
    label = escape(f"{title}; the table below says the same")
    ends = [(LEFT, "start", times[0]), (WIDTH - RIGHT, "end", times[-1])] if times else []
    clock = [
        f'<text class="state" x="{x}" y="{HEIGHT - 4}" text-anchor="{anchor}" '
        f'data-at="{at.isoformat()}">{at:%H:%M} UTC</text>'
        for x, anchor, at in ends
    ]
    drawn = [
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{label}">',
        f'<path class="axis" d="M{LEFT} {TOP}V{bottom}H{WIDTH - RIGHT}"/>',
        f'<text class="state" x="{LEFT - 5}" y="{TOP + 9}" text-anchor="end">{escape(most)}</text>',
        f'<text class="state" x="{LEFT - 5}" y="{bottom}" text-anchor="end">0</text>',
        *clock,
        *parts,
        "</svg>",
    ]
    draw: Callable[[Series], str] = _line_key if is_line else _bar_key
    keys = "".join(f"<li>{draw(each)} {escape(safe_text(each.name))}</li>" for each in series)
    head = f"<figcaption>{escape(title)}</figcaption>"
    # Each part is escaped where it is made.
    return Markup(  # noqa: S704
        f'<figure class="chart">{head}{"".join(drawn)}<ul class="keys">{keys}</ul></figure>'
    )


def _bar_key(series: Series) -> str:
    return (
        '<svg class="key" viewBox="0 0 14 10" aria-hidden="true">'
        f'<rect class="{series.style}" width="14" height="10"/></svg>'
    )


def _line_key(series: Series) -> str:
    return (
        '<svg class="key" viewBox="0 0 24 10" aria-hidden="true">'
        f'<path class="{series.style}" d="M0 5H24"/></svg>'
    )


def _round_up(value: float) -> float:
    """The next of 1, 2, 5, 10, 20, 50 and so on.

    >>> [_round_up(value) for value in (1, 3, 60, 101)]
    [1, 5, 100, 200]
    """
    power = 1
    while True:
        for first in (1, 2, 5):
            if value <= first * power:
                return first * power
        power *= 10
