"""Points in a log's time: from what a person writes to a position; nothing here folds or appends.

A view at a point holds everything up to its position, and is told as of its instant.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from datetime import datetime, timedelta

import msgspec
from msgspec import Struct

from eventq.core.commits import Commit, decode_bodies, time_of
from eventq.core.durations import parse_duration
from eventq.core.plain import plain
from eventq.core.task import EPOCH, instant
from eventq.errors import ArgumentError, LogArchivedError
from eventq.eventlog.contract import EventLog, Head
from eventq.replay.instants import read_instant

EXPECTED = (
    "a position like 1041, an instant like 2030-01-31T12:00:00Z or 2030-01-31, a time ago "
    "like -2h, a time before an event like 1041-2s, a number of events before the end like -500, "
    "or end"
)
END = "end"

PointLike = int | str | datetime | timedelta

_NUMBER = re.compile(r"-?\d{1,19}", re.ASCII)
_BEFORE = re.compile(r"(\d{1,19})-(\d+[a-z].*)", re.ASCII)
_NO_EVENT_BACK = re.compile(r"-0{1,19}")


class Point(Struct, frozen=True):
    """A resolved point: the last position that counts, and the microsecond of the view."""

    seq: int
    at: int


def find_point(log: EventLog, value: PointLike, *, now: int, argument: str = "point") -> Point:
    """The point of a log that ``value`` means; ``now`` in microseconds since 1970.

    A number is a position, 0 standing before the first event; a negative number counts events
    back from the end. An aware datetime, or ISO 8601 text, is that instant; what text leaves out is
    this host's zone and today: see `read_instant`. A timedelta, or text like ``"-2h"``, is that
    long before now, and text like ``"1041-2s"`` that long before the event at the position.
    ``"end"`` is now. Raises ArgumentError for anything else, and for a point
    before the first event or after the last, as far as the log can tell: an instant that is yet to
    come has no state.
    """
    found = plain(value)
    if type(found) is str:
        if found == END:
            head = log.head()
            return Point(head.seq, max(_at_position(log, head.seq, argument).at, now))
        if _NO_EVENT_BACK.fullmatch(found):
            return _at_position(log, log.head().seq, argument)
        at = instant_before(log, found, argument)
        if at is not None:
            return _at_instant(log, at, found, now, argument)
        found = _read(found, argument, now)
    if type(found) is int:
        return _at_position(log, found, argument)
    if type(found) is timedelta:
        at = now - parse_duration(found, argument)
    elif type(found) is datetime:
        at = _microseconds(found, value, argument)
    else:
        raise ArgumentError(argument, value, EXPECTED)
    return _at_instant(log, at, str(value), now, argument)


def instant_before(log: EventLog, text: str, argument: str) -> int | None:
    """The instant that a text like ``1041-2s`` means; None for another text."""
    match = _BEFORE.fullmatch(text)
    if match is None:
        return None
    return _at_position(log, int(match[1]), argument).at - parse_duration(match[2], argument)


def is_point(text: str) -> bool:
    """Whether the text has the form of a point; a log may still have nothing there."""
    try:
        return (
            text == END
            or _BEFORE.fullmatch(text) is not None
            or _read(text, "point", 0) is not None
        )
    except ArgumentError:
        return False


def find_end(log: EventLog, point: Point) -> Head:
    """Where the last commit up to a point ends; where the log starts if none does.

    Raises LogArchivedError for a point before that.
    """
    start = log.start()
    if point.seq == start.seq:
        return start
    commits = log.read(after=point.seq - 1, limit=1)
    if not commits:
        return log.head()
    commit = commits[0]
    if commit.last > point.seq:
        return find_end(log, Point(commit.first - 1, commit.at))
    return Head(commit.last, commit.at, commit.seal)


def position_at(log: EventLog, at: int) -> int:
    """The last position whose instant is not after ``at``; O(log n) reads.

    Where the log starts if there is none.
    """
    head = log.head()
    if head.at <= at:
        return head.seq
    start = log.start().seq
    positions = range(start + 1, head.seq + 1)
    return start + bisect_right(
        positions, at, key=lambda seq: log.read(after=seq - 1, limit=1)[0].at
    )


def _read(text: str, argument: str, now: int) -> int | timedelta | datetime:
    """What a text means, but for "end": a position, a time ago, an instant."""
    try:
        if _NUMBER.fullmatch(text):
            return int(text)
        if text.startswith("-"):
            return timedelta(microseconds=parse_duration(text[1:], argument))
    except ArgumentError:
        raise ArgumentError(argument, text, EXPECTED) from None
    at = read_instant(text, now=now)
    if at is None:
        raise ArgumentError(argument, text, EXPECTED)
    return at


def _at_position(log: EventLog, seq: int, argument: str) -> Point:
    head = log.head()
    found = head.seq + seq if seq < 0 else seq
    if not 0 <= found <= head.seq:
        raise ArgumentError(argument, seq, f"a position up to {head.seq}, where the log ends")
    if found == head.seq == 0:
        return Point(found, head.at)
    start = log.start()
    if found == start.seq > 0:
        return Point(found, start.at)
    # Before the first event, the view is of the instant at which things began.
    commit = log.read(after=max(found - 1, 0), limit=1)[0]
    return Point(found, _decided_at(commit))


def _decided_at(commit: Commit) -> int:
    """The instant that the commit was decided by; its stamp where it cannot be understood."""
    try:
        return time_of(commit.at, decode_bodies(commit.bodies[:1])[0])
    except msgspec.DecodeError:
        return commit.at


def _at_instant(log: EventLog, at: int, value: str, now: int, argument: str) -> Point:
    start = log.start()
    if start.seq and at < start.at:
        raise LogArchivedError(start.seq, start.seq)
    first = log.read(after=start.seq, limit=1)
    began_at = first[0].at if first else 0
    if start.seq == 0 and at < began_at:
        began = f"{instant(began_at):%Y-%m-%dT%H:%M:%S.%fZ}"
        raise ArgumentError(argument, value, f"an instant from {began} on, the first event's")
    if at > max(now, log.head().at):
        raise ArgumentError(argument, value, "an instant that is not in the future")
    return Point(position_at(log, at), at)


def _microseconds(at: datetime, value: object, argument: str) -> int:
    if at.utcoffset() is None:
        expected = (
            "an instant with its time zone, like Z or +02:00 at its end, since it is ambiguous"
        )
        raise ArgumentError(argument, str(value), expected)
    return (at - EPOCH) // timedelta(microseconds=1)
