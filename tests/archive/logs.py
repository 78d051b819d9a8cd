"""A log to archive with every kind of task in it, and what tests do to it."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from eventq import Queue
from eventq.archive import CutReport, archive_events, delete_archived, find_end, open_archived
from eventq.eventlog import EventLog, StoredEvent
from eventq.replay.fold import read_all, replay
from eventq.replay.points import find_point

LOGS = ["memory", "sqlite", "mongo"]
NOW = 2_000_000_000_000_000


class Opener(Protocol):
    """Opens logs for one test."""

    def __call__(self, url: str, namespace: str = ...) -> EventLog:
        """The log at the URL."""


def fill(url: str) -> None:
    """Final and open tasks, with and without keys, over many commits."""
    with Queue(url, max_retries=3, workers=2) as queue:
        queue.new({"n": 1}, key="done")
        queue.new({"n": 2}, key="failing")
        queue.new({"n": 3}, key="waiting", delay="9d")
        queue.new({"n": 4}, delay="9d")
        queue.new({"n": 5}, key="cancelled")
        queue.cancel("cancelled", reason="for the test")
        for n in range(6):
            queue.new({"more": n})
        queue.cancel("failing")
        queue.run(lambda *_: {"done": True}, until="idle")
        queue.retry("failing")
        queue.update("waiting", tags={"n": 3, "changed": True})
        for n in range(6):
            queue.new({"later": n}, delay="9d")


def move(log: EventLog, folder: Path, point: object = "end") -> CutReport:
    """Archives everything up to the point, and cuts it from the log."""
    until = find_end(log, find_point(log, str(point), now=NOW))
    report = archive_events(log, folder, until=until)
    return delete_archived(log, folder, until=report.until, now=NOW)


def histories(log: EventLog) -> list[list[StoredEvent]]:
    """The events of every number there is, and of nodes."""
    return [log.history(number) for number in range(log.head().seq + 2)]


def content(log: EventLog) -> object:
    """Everything that a reader can see: commits, histories and what they fold to."""
    projection = replay(log)
    projection.check()
    commits = [commit for commit, _ in read_all(log, after=0)]
    return commits, histories(log), projection.tasks, projection.counts


def whole(log: EventLog, folder: Path) -> EventLog:
    """The log with its archive, if it has any."""
    return open_archived(log, folder if log.start().seq else None)
