"""A report of a period as one HTML file: nothing is loaded from elsewhere, charts are SVG.

All text goes through `escape`; what it holds was made visible by the tables before.
"""

from __future__ import annotations

from collections.abc import Callable
from html import escape

from eventq.audit.report import Minute, Report
from eventq.catalog.minutes import MINUTE_US
from eventq.cli.output import Listing, cell
from eventq.cli.text import time_text, visible
from eventq.cli.views.report import report_pairs, sections

WIDTH, HEIGHT, MARGIN = 960, 120, 4
# A chart has so many bars at most; a longer period has several minutes in each.
BARS = 240
# A bar is no wider than this; two instants below bars of less than that would touch.
BAR_WIDTH, APART = 24, 320
STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 64rem; padding: 0 1rem; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.1rem; margin: 2rem 0 .5rem; }
table { border-collapse: collapse; width: 100%; } .scroll { overflow-x: auto; }
th, td { text-align: left; padding: .2rem .8rem .2rem 0; border-bottom: 1px solid #8884;
  vertical-align: top; }
th { font-weight: 600; } svg { width: 100%; height: auto; } rect { fill: #2a6fb0; }
g.failed rect { fill: #c0392b; } text { font-size: 11px; fill: currentColor; }
@media (prefers-color-scheme: dark) { body { background: #14171a; color: #e6e6e6; } }
"""


def report_html(report: Report, title: str) -> str:
    """The whole page."""
    name = escape(visible(title))
    parts = [
        '<!doctype html><html lang="en"><head><meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>{name}</title><style>{STYLE}</style></head><body><h1>{name}</h1>",
        _table(["", ""], [[key, cell(value)] for key, value in report_pairs(report)]),
        _chart(report, "Attempts that began", lambda each: each.started, ""),
        _chart(report, "Tasks created", lambda each: each.created, ""),
        _chart(report, "Attempts that failed", lambda each: each.failed, "failed"),
    ]
    for heading, rows, how in sections(report):
        parts += _section(heading, [how.row(row) for row in rows], how)
    return "".join([*parts, "</body></html>\n"])


def _section(heading: str, rows: list[list[str]], how: Listing) -> list[str]:
    if not rows:
        return []
    # A column without a title is a chart in letters, of which the page has better ones.
    shown = [place for place, title in enumerate(how.titles) if title]
    titles = [how.titles[place] for place in shown]
    table = _table(titles, [[row[place] for place in shown] for row in rows])
    return [f"<h2>{escape(heading.capitalize())}</h2>", table]


def _table(titles: list[str], rows: list[list[str]]) -> str:
    head = "".join(f"<th>{escape(title)}</th>" for title in titles) if any(titles) else ""
    body = "".join(
        f"<tr>{''.join(f'<td>{escape(text)}</td>' for text in row)}</tr>" for row in rows
    )
    return f'<div class="scroll"><table><tr>{head}</tr>{body}</table></div>'


def _chart(report: Report, title: str, count: Callable[[Minute], int], kind: str) -> str:
    """How much there was in each minute, or in several, from left to right."""
    if not report.minutes:
        return ""
    first = report.minutes[0].at
    minutes = (report.minutes[-1].at - first) // MINUTE_US + 1
    step = -(-minutes // BARS)
    bars = [0] * -(-minutes // step)
    for each in report.minutes:
        bars[(each.at - first) // MINUTE_US // step] += count(each)
    most = max(bars)
    if not most:
        return ""
    width = min(BAR_WIDTH, (WIDTH - 2 * MARGIN) / len(bars))
    shown = "".join(
        _bar(place, number, most, width, f"{time_text(first + place * step * MINUTE_US)}: {number}")
        for place, number in enumerate(bars)
        if number
    )
    spell = "minute" if step == 1 else f"{step} minutes"
    label = escape(f"{title} per {spell}; the most: {most:,}")
    return (
        f"<h2>{label}</h2>"
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT + 16}" role="img" aria-label="{label}">'
        f'<g class="{kind}">{shown}</g>'
        f"{_ends(time_text(first), time_text(report.minutes[-1].at), len(bars) * width)}</svg>"
    )


def _ends(first: str, last: str, span: float) -> str:
    """What stands below the bars: when the first minute and the last one begin."""
    if span < APART:
        both = first if first == last else f"{first} to {last}"
        return f'<text x="{MARGIN}" y="{HEIGHT + 13}">{escape(both)}</text>'
    return (
        f'<text x="{MARGIN}" y="{HEIGHT + 13}">{escape(first)}</text>'
        f'<text x="{MARGIN + span:.1f}" y="{HEIGHT + 13}" text-anchor="end">{escape(last)}</text>'
    )


def _bar(place: int, number: int, most: int, width: float, label: str) -> str:
    height = max(1.0, number * (HEIGHT - MARGIN) / most)
    x = MARGIN + place * width
    return (
        f'<rect x="{x:.1f}" y="{HEIGHT - height:.1f}" width="{max(0.5, width - 1):.1f}" '
        f'height="{height:.1f}"><title>{escape(label)}</title></rect>'
    )
