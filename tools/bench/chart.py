"""Draws what the benchmarks found: ``python -m tools.bench.chart bench.json chart.svg [NAME ...]``.

Each bar is the share of what is wanted: at the line it is reached, whatever the unit, and longer is
better. It reads the JSON of ``python -m tools.bench --json`` and measures nothing.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from html import escape
from pathlib import Path
from statistics import median

import msgspec

from tools.bench.report import ON_MONGO, Floor, Report, Row, shown

# Lengths are in pixels of the drawing.
LABEL_WIDTH = 400
BAR_WIDTH = 300
VALUE_WIDTH = 150
BAR_HEIGHT = 11
GAP = 9
HEAD_HEIGHT = 62
# How many times what is wanted the longest bar shows; longer ones are cut.
LONGEST = 2.0
BEFORE = "#b8c0cc"
NOW = {"pass": "#2f7d4f", "short": "#c2562d"}
STYLE = "font-family: system-ui, sans-serif; font-size: 12px"


def draw(report: Report, names: list[str]) -> str:
    """The SVG of all rows that have a floor, or of those of the measures named."""
    rows = [row for row in report.rows if row.samples and row.floor is not None]
    rows = [row for row in rows if not names or row.name in names]
    bars: list[str] = []
    top = HEAD_HEIGHT
    for row in rows:
        assert row.floor is not None, "only such rows are kept"
        bars += _row(row, row.floor, top)
        top += _height(row)
    width = LABEL_WIDTH + BAR_WIDTH + VALUE_WIDTH
    line = LABEL_WIDTH + BAR_WIDTH / LONGEST
    machine = ", ".join(f"{name} {value}" for name, value in report.machine.items())
    size = f'viewBox="0 0 {width} {top}" width="{width}" height="{top}"'
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img" style="{STYLE}">',
        "<title>eventq's figures, as shares of what is wanted</title>",
        f'<rect width="{width}" height="{top}" fill="white"/>',
        f'<text x="8" y="16" fill="#667" font-size="10">{escape(machine)}</text>',
        *_key(line),
        *bars,
        f'<path d="M{line} {HEAD_HEIGHT - 8}V{top - GAP / 2}" stroke="black"/>',
        "</svg>",
    ]
    return "\n".join(lines) + "\n"


def main() -> int:
    """Draws the file that was asked for."""
    parser = argparse.ArgumentParser(prog="python -m tools.bench.chart", description=__doc__)
    parser.add_argument("bench", type=Path, help="what `python -m tools.bench --json` wrote")
    parser.add_argument("chart", type=Path, help="the SVG file to write")
    parser.add_argument("names", nargs="*", metavar="NAME", help="only these measures")
    arguments = parser.parse_args()
    report = msgspec.json.decode(arguments.bench.read_bytes(), type=Report)
    arguments.chart.write_text(draw(report, arguments.names), encoding="utf-8")
    return 0


def _height(row: Row) -> int:
    return BAR_HEIGHT * (2 if row.before else 1) + GAP


def _label(row: Row) -> str:
    """The measure, and on which database if not on SQLite."""
    return f"MongoDB: {row.measure}" if row.name.startswith(ON_MONGO) else row.measure


def _key(line: float) -> Iterator[str]:
    """What the colours and the line mean."""
    texts = [(8, "before", BEFORE), (78, "now, reached", NOW["pass"]), (190, "short", NOW["short"])]
    for left, text, colour in texts:
        yield f'<rect x="{left}" y="30" width="12" height="10" fill="{colour}"/>'
        yield f'<text x="{left + 17}" y="39">{text}</text>'
    yield f'<text x="{line}" y="48" text-anchor="middle">wanted</text>'


def _row(row: Row, floor: Floor, top: int) -> Iterator[str]:
    """The name of a row, and its bar or two."""
    sign = "at most" if floor.at_most else "at least"
    wanted = f"{row.name}: {sign} {shown(floor.bound)} {row.unit}"
    middle = top + (_height(row) - GAP) / 2 + 4
    yield (
        f'<text x="{LABEL_WIDTH - 8}" y="{middle}" text-anchor="end">'
        f"{escape(_label(row))}<title>{escape(wanted)}</title></text>"
    )
    for values, colour in ((row.before, BEFORE), (row.samples, NOW[row.verdict])):
        if values:
            yield from _bar(floor, median(values), row.unit, colour, top)
            top += BAR_HEIGHT


def _bar(floor: Floor, value: float, unit: str, colour: str, top: int) -> Iterator[str]:
    share = min(floor.share(value), LONGEST) if value else LONGEST * floor.at_most
    width = round(BAR_WIDTH * share / LONGEST, 1)
    yield (
        f'<rect x="{LABEL_WIDTH}" y="{top}" width="{width}" height="{BAR_HEIGHT - 1}" '
        f'fill="{colour}"/>'
    )
    yield (
        f'<text x="{LABEL_WIDTH + width + 5}" y="{top + 9}" font-size="10">'
        f"{escape(f'{shown(value)} {unit}')}</text>"
    )


if __name__ == "__main__":
    sys.exit(main())
