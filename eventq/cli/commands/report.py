"""``report``: what happened in a period, in one answer.

Nothing here creates a database or appends an event.
"""

from __future__ import annotations

from pathlib import Path

import click

from eventq.audit.report import Report
from eventq.audit.reporting import report
from eventq.cli.commands.find import reach_between
from eventq.cli.ending import end_with_finding, misuse
from eventq.cli.output import flush, note, progress, say_json, say_pairs, say_section
from eventq.cli.place import Place, log_time, note_if_empty, placed
from eventq.cli.text import time_text
from eventq.cli.views.report import report_pairs, sections
from eventq.cli.views.report_html import report_html
from eventq.eventlog.durable import write_whole

# How each page begins, also an empty one.
PAGE = b"<!doctype html>"


@click.command(
    "report",
    epilog="""\b
Examples:
  eventq report --since today
  eventq report --since yesterday --to today --html yesterday.html
  eventq report --since -2h --json""",
)
@click.option(
    "--since", "--from", "start", metavar="POINT", help="Begin there. [default: the beginning]"
)
@click.option("--until", "--to", "end", metavar="POINT", help="End there. [default: now]")
@click.option(
    "--html",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write one HTML file instead, which loads nothing from elsewhere.",
)
@placed
def report_command(*, place: Place, start: str | None, end: str | None, html: Path | None) -> None:
    """Report a period: what was done, how long it took, and what went wrong.

    Percentiles are at most a fifth too high. Exit code 1: nothing happened in the period.
    """
    if html is not None and not html.name:
        misuse("--html: expected the name of a file")
    if html is not None and not may_be_replaced(html):
        misuse(f"--html: {html} is no page: it is left as it is")
    with place.open_log() as log:
        reach = reach_between(log, start, end, now=log_time(log))
        with progress("reading the period") as told:
            found = report(log, reach, progress=told)
        note_if_empty(log)
        title = f"{log.namespace}: {time_text(found.since)} to {time_text(found.until)}"
    if html is not None:
        write_whole(html, report_html(found, title).encode())
        note(f"the report is in {html}")
    if place.as_json:
        say_json(found)
    elif html is None:
        _say(found)
    flush()
    if found.seq <= found.after:
        note("nothing happened in this period")
        end_with_finding()


def may_be_replaced(path: Path) -> bool:
    """Whether there is no file, or an earlier page: never a log, or anything else of somebody's."""
    try:
        with path.open("rb") as file:
            return PAGE.startswith(file.read(len(PAGE)).lower())
    except OSError:
        # Whoever writes says what is wrong.
        return not path.exists()


def _say(found: Report) -> None:
    say_pairs(report_pairs(found))
    for title, rows, how in sections(found):
        say_section(title, rows, how)
    if found.by_hand_count > len(found.by_hand):
        shown = f"these are the first {len(found.by_hand)}"
        note(f"{found.by_hand_count:,} things were done by hand; {shown}")
