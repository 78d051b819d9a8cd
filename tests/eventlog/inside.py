"""What tests of a log reach inside it for: to damage what it keeps, or to break its connection."""

from __future__ import annotations

import apsw

from eventq.eventlog import EventLog
from eventq.eventlog.mongo.connection import MongoLink
from eventq.eventlog.mongo.log import MongoLog
from eventq.eventlog.sqlite.log import SqliteLog


def link_of(log: EventLog) -> MongoLink:
    """The connection of a MongoDB log."""
    assert isinstance(log, MongoLog)
    return log._link


def writer_of(log: SqliteLog) -> apsw.Connection:
    """The connection that writes, which is open."""
    assert log._writer is not None
    return log._writer


def reader_of(log: SqliteLog) -> apsw.Connection:
    """The connection that reads, which is open."""
    assert log._reader is not None
    return log._reader
