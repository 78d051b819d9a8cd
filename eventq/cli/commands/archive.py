"""``archive``, ``export`` and ``import``: events into files, and back.

Only `archive` deletes anything, when asked to and after it has read back what it wrote.
"""

from __future__ import annotations

import os
import secrets
import sys
from collections.abc import Iterator
from contextlib import closing
from itertools import islice
from pathlib import Path
from urllib.parse import quote

import click

from eventq.archive import Archive, archive_events, delete_archived, find_end, held_back
from eventq.archive.copy import copy_log
from eventq.archive.export import event_line, export_log, stored_events
from eventq.archive.redact import Redactor
from eventq.audit.lookup import read_history
from eventq.cli.ending import misuse, refuse
from eventq.cli.output import is_terminal, note, plain_pairs, progress, say_json, say_record
from eventq.cli.place import Place, log_time, placed, point_of
from eventq.cli.text import visible
from eventq.cli.views.fields import json_fields
from eventq.cli.words import point_option
from eventq.contrib.otlp import trace_requests
from eventq.core.commits import Event
from eventq.errors import LogArchivedError
from eventq.eventlog import EventLog, Head, open_log
from eventq.eventlog import lines as file_lines
from eventq.replay.fold import decode_histories, task_history
from eventq.replay.points import END

SECRET_BYTES = 32
# Of a traced log so many histories are held at a time.
TASKS_A_READ = 500


@click.command(
    epilog="""\b
Examples:
  eventq archive old --before -30d --dry-run
  eventq archive old --before 2026-11-01T00:00:00Z
  eventq archive old --before 3000000 --yes --json"""
)
@click.argument("folder", metavar="DIR")
@click.option(
    "--before",
    required=True,
    metavar="POINT",
    help="Up to this point: a position, an instant, a time ago like -30d.",
)
@click.option("--dry-run", is_flag=True, help="Show what would be done; write and delete nothing.")
@click.option("--yes", is_flag=True, help="Delete without asking.")
@placed
def archive(*, place: Place, folder: str, before: str, dry_run: bool, yes: bool) -> None:
    """Move the log's beginning into compressed files in DIR, and delete it from the database.

    Everything is read back and checked before it is deleted. Open tasks go on, keys stay taken,
    and --archive DIR reads what was moved. If it is interrupted, call it again.
    """
    if not (dry_run or yes or is_terminal(sys.stdin)):
        misuse("it deletes events, so it needs --yes where it cannot ask")
    with closing(open_log(place.url, namespace=place.namespace, create=False)) as log:
        start = log.start()
        until = _find_until(log, before)
        if (held := held_back(log, until)) is not None:
            until = held.until
            note(
                f"follower {visible(held.follower)} is at {until.seq}: what follows stays; "
                "eventq followers drop forgets it"
            )
        if dry_run:
            say_record(_plan(log, folder, until.seq), plain_pairs, as_json=place.as_json)
            return
        with progress("writing") as tell:
            report = archive_events(log, folder, until=until, progress=tell)
        count = report.until.seq - start.seq
        if count and not yes:
            question = f"Delete {count} events, now in {folder}, from {log.url}?"
            click.confirm(question, abort=True, err=True)
        with progress("verifying") as tell:
            cut = delete_archived(log, folder, until=report.until, now=log_time(log), progress=tell)
    if not count:
        note("nothing new to move up to that point")
    fields = {
        "start": cut.start.seq,
        "segments": len(report.segments),
        "written": report.events,
        "verified": cut.verified,
        "deleted": count,
        "kept_tasks": cut.kept,
        "text_bytes": report.text_bytes,
        "file_bytes": report.file_bytes,
    }
    say_record(fields, plain_pairs, as_json=place.as_json)


@click.command(
    epilog="""\b
Examples:
  eventq export > events.jsonl
  eventq export --redact > for-strangers.jsonl
  eventq export 1042
  eventq export --from -2h --to -1h
  eventq export --otlp-json --from -2h > traces.jsonl"""
)
@click.argument("key", required=False)
@point_option("--from", "begin", text="Only events after this point.")
@point_option("--to", "end", text="Only events up to this point.")
@click.option("--redact", is_flag=True, help="Without values: only names and shapes.")
@click.option("--otlp-json", "as_traces", is_flag=True, help="As traces of OpenTelemetry's.")
@placed
def export(
    *,
    place: Place,
    key: str | None,
    begin: str | None,
    end: str | None,
    redact: bool,
    as_traces: bool,
) -> None:
    """Print the namespace's log as JSON lines that `eventq import` takes back.

    With KEY, --from or --to: only those events, one object each, for reading. With --otlp-json: the
    histories of the tasks that these are about, each line a request for a collector.
    """
    if redact and as_traces:
        raise click.UsageError("--redact is of events: of traces there is no redacted form")
    redactor = Redactor(secrets.token_bytes(SECRET_BYTES)) if redact else None
    with place.open_log() as log:
        if key is None and begin is None and end is None and not as_traces:
            if is_terminal():
                misuse("send the output of a whole export to a file: eventq export > events.jsonl")
            # The bytes as they are: text would be escaped, and no longer be the same.
            output = sys.stdout.buffer
            output.writelines(export_log(log, redactor=redactor))
            output.flush()
            return
        first = point_of(log, begin, "--from").seq if begin else 0
        last = point_of(log, end or END, "--to").seq
        if as_traces:
            for request in trace_requests(log, _histories(log, key, first, last)):
                say_json(request)
            return
        if key is None:
            found = stored_events(log, after=first, until=last)
        else:
            number = read_history(log, key)[0].task
            found = (event for event in log.history(number) if first < event.seq <= last)
        for event in found:
            say_json(event_line(event, redactor=redactor))


def _histories(log: EventLog, key: str | None, first: int, last: int) -> Iterator[list[Event]]:
    """The histories, up to a position, of the tasks that something happened to between two."""
    if key is not None:
        whole = task_history(log, read_history(log, key)[0].task)
        yield [event for event in whole if event.seq <= last]
        return
    left_out = 0
    numbers = _tasks_of(log, first, last)
    while block := list(islice(numbers, TASKS_A_READ)):
        start = log.start().seq
        for number, events in decode_histories(log.histories(block)).items():
            history = [event for event in events if event.seq <= last]
            if history and history[0].seq != number <= start:
                left_out += 1
            elif history:
                yield history
    if left_out:
        note(f"left out {left_out} tasks that begin in an archive; name its folder by --archive")


def _tasks_of(log: EventLog, first: int, last: int) -> Iterator[int]:
    """The tasks that something happened to, each once; of these only the older are remembered."""
    older: set[int] = set()
    for event in stored_events(log, after=first, until=last):
        number = event.task
        if number == event.seq:
            yield number
        elif 0 < number <= first and number not in older:
            older.add(number)
            yield number


@click.command(name="import", epilog="Example: eventq import events.jsonl sqlite:///copy.db")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.argument("target", metavar="URL")
@placed
def import_(*, place: Place, file: Path, target: str) -> None:
    """Make a log at URL of FILE, which `eventq export` wrote: same positions, same seals.

    A redacted export works too; its seals were computed anew. A URL that already holds another
    log is refused.
    """
    with file.open("rb") as lines:
        header = file_lines.parse_header(lines.readline(file_lines.HEADER_BYTES))
        if header is None:
            refuse(f"{file}: is not the export of a whole namespace")
        lines.seek(-1, os.SEEK_END)
        # A log in a file may end so after a crash; an export was cut off on its way.
        if lines.read() != b"\n":
            refuse(f"{file}: ends in the middle of a line, so more is missing: export it again")
    url = f"file:///{quote(str(file.absolute()))}"
    namespace = header.namespace
    with (
        closing(open_log(url, namespace=namespace, create=False)) as source,
        closing(open_log(target, namespace=namespace)) as log,
        progress("importing") as tell,
    ):
        report = copy_log(source, log, progress=tell)
    answer = {"namespace": namespace, "redacted": header.redacted, **json_fields(report)}
    say_record(answer, plain_pairs, as_json=place.as_json)


def _find_until(log: EventLog, before: str) -> Head:
    """The end of the last commit up to the point; where the log starts if that is archived."""
    try:
        return find_end(log, point_of(log, before, "--before"))
    except LogArchivedError:
        return log.start()


def _plan(log: EventLog, folder: str, until: int) -> dict[str, int]:
    """What would be done up to a position."""
    start = log.start().seq
    done = Archive(folder, namespace=log.namespace).end.seq if Path(folder).is_dir() else 0
    to_write = max(0, until - max(done, start))
    return {"start": start, "until": until, "to_write": to_write, "to_delete": until - start}
