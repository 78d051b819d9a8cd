"""``copy`` and ``fork``: a log, or its past, into another; the source is only read."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import closing, contextmanager

import click
from msgspec.structs import replace

from eventq.archive.copy import CopyReport, copy_log
from eventq.cli.ending import misuse
from eventq.cli.output import Pairs, progress, say_json, say_pairs
from eventq.cli.place import Place, check_there, placed, point_of
from eventq.cli.text import time_text
from eventq.core.validation import check_namespace
from eventq.eventlog import EventLog, open_log
from eventq.replay.points import EXPECTED, is_point
from eventq.sandbox import ForkReport
from eventq.sandbox import fork as fork_log
from eventq.sandbox.fork import fork_end

# What a word begins with that names a variable instead of being a URL.
ENVIRONMENT = "env:"


@click.command(
    epilog="""\b
Examples:
  eventq copy sqlite:///tasks.db mongodb://host1,host2,host3/tasks?replicaSet=rs0
  eventq copy env:TASKS_URL file:///backup.jsonl"""
)
@click.argument("source")
@click.argument("target")
@placed
def copy(*, place: Place, source: str, target: str) -> None:
    """Copy a namespace's log from SOURCE to TARGET, both URLs.

    Either may be env:NAME, the name of an environment variable that holds the URL: every user of
    the host can see a password on the command line.

    Positions and seals stay the same, and at the end both are folded and compared. A copy that
    was interrupted resumes where it stopped. A target that holds another log is refused.
    """
    source, target = _url_of(source), _url_of(target)
    if source == target:
        misuse("SOURCE and TARGET are one and the same log")
    with (
        _source(place, source) as before,
        _target(before, target) as after,
        progress("copying") as tell,
    ):
        report = copy_log(before, after, progress=tell)
    counts = [("resumed at", report.resumed_at), ("copied", report.copied)]
    pairs = [*counts, ("position", report.seq), ("seal", report.seal)]
    _say_report(place, report, pairs, before, after)


@click.command(
    epilog="""\b
Examples:
  eventq fork sqlite:///tasks.db@1041 sqlite:///try.db
  eventq fork env:TASKS_URL@-2h sqlite:///try.db
  eventq fork sqlite:///tasks.db sqlite:///try.db --at 2026-11-23T12:00:00Z"""
)
@click.argument("source", metavar="URL[@POINT]")
@click.argument("target", metavar="NEW_URL")
@click.option("--at", metavar="POINT", help="Instead of @POINT; then all of URL is a URL.")
@placed
def fork(*, place: Place, source: str, target: str, at: str | None) -> None:
    """Make a new log that is the past of another up to a point, to try things on.

    Either may be env:NAME, the name of an environment variable that holds the URL. Positions and
    seals stay the same. Commits are atomic: at a point inside one, the fork ends before it. The
    new log must be empty; the old one, with its --archive, is only read.
    """
    url, written = _fork_source(source, at)
    url, target = _url_of(url), _url_of(target)
    with _source(place, url) as before:
        point = point_of(before, written, "POINT")
        # Before the target is made: what cannot be forked leaves nothing behind.
        fork_end(before, point)
        with _target(before, target) as after, progress("forking") as tell:
            report = fork_log(before, point, after, progress=tell)
    left_out = f"{report.asked} lies inside a commit, which is left out"
    pairs = [
        ("position", report.seq),
        *([("", left_out)] if report.seq != report.asked else []),
        ("at", time_text(report.at)),
        ("seal", report.seal),
    ]
    _say_report(place, report, pairs, before, after)


@contextmanager
def _source(place: Place, url: str) -> Iterator[EventLog]:
    """The log at a URL with the place's archive; refused when nothing is there."""
    check_namespace(place.namespace)
    with replace(place, url=url).open_log() as log:
        check_there(log)
        yield log


def _target(source: EventLog, url: str) -> closing[EventLog]:
    return closing(open_log(url, namespace=source.namespace))


def _say_report(
    place: Place, report: CopyReport | ForkReport, pairs: Pairs, before: EventLog, after: EventLog
) -> None:
    if place.as_json:
        say_json(report)
        return
    verified = ("verified", "same positions, seals and projection")
    say_pairs([("from", before.url), ("to", after.url), *pairs, verified])


def _fork_source(word: str, at: str | None) -> tuple[str, str]:
    """The URL and the point of ``URL@POINT``, or of a URL and ``--at``."""
    if at is not None:
        return word, at
    url, sign, written = word.rpartition("@")
    # A login has an @ too, but no point has a slash, and a URL has one behind its login.
    if not (sign and url and is_point(written)):
        # The word itself is not shown: it may hold a password.
        misuse(f"expected URL@POINT, or URL with --at POINT; a POINT is {EXPECTED}")
    return url, written


def _url_of(word: str) -> str:
    """The URL: the word itself, or the value of the variable that it names."""
    if not word.startswith(ENVIRONMENT):
        return word
    url = os.environ.get(word.removeprefix(ENVIRONMENT))
    if not url:
        misuse(f"{word}: there is no such environment variable")
    return url
