"""A cursor on a log of which the beginning was archived: it starts where the log does."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

import eventq
from eventq.archive import archive_events, delete_archived
from eventq.audit import state_at
from eventq.audit.state import take_state
from eventq.audit.stepper import cursor as cursor_module
from eventq.audit.stepper.cursor import Cursor
from eventq.errors import LogArchivedError
from eventq.eventlog.contract import EventLog
from eventq.replay.points import Point, find_end, find_point
from eventq.snapshot import compare, projection_at

FAR = 2**62


def work(_ctx: eventq.Context, task: eventq.Task) -> None:
    """A worker that fails every third task at first, and one for good."""
    if task.tags["n"] == 4 or (task.tags["n"] % 3 == 0 and task.attempt == 1):
        raise ValueError("not yet")


def fill(queue: eventq.Queue, *, limit: bool) -> None:
    """Tasks of which some end, some wait and some are tried again, before and after the cut."""
    if limit:
        queue.limit("smtp", running=2)
    for begin in (0, 10):
        limits = {"smtp": "smtp"} if limit else None
        for n in range(begin, begin + 10):
            queue.new({"n": n}, key=f"t{n}", limits=limits, backoff=0, max_retries=2)
        queue.new({"n": 1}, key=f"open{begin}", name="nobody", limits=limits)
        queue.run(work, until="idle", signals=False)
    queue.retry("t4")
    queue.run(work, until="idle", signals=False)
    queue.cancel("open0")
    queue.new({"n": 1}, delay="2h")


@pytest.fixture(params=[False, True], ids=["plain", "limit"])
def log(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[EventLog]:
    """A log whose first half is archived."""
    url, folder = f"sqlite:///{tmp_path}/queue.db", tmp_path / "archive"
    with eventq.Queue(url, workers=2) as queue:
        fill(queue, limit=request.param)
        log = queue.log
        until = find_end(log, Point(log.head().seq // 2, 0))
        archive_events(log, folder, until=until)
        delete_archived(log, folder, until=until, now=log.head().at)
        yield log


def is_as_folded(cursor: Cursor, log: EventLog) -> bool:
    """Whether the cursor has what a fold to its position gives."""
    point = find_point(log, cursor.seq, now=FAR)
    wanted, found = projection_at(log, point), cursor.projection
    found.advance_to(point.at)
    return (
        take_state(found, point.at) == state_at(log, point)
        and compare(wanted, found).is_empty
        and (cursor.event is None) == (cursor.seq == log.start().seq)
    )


@pytest.mark.parametrize("stepwise", [2_000, 1], ids=["kept", "looked-up"])
def test_every_position_behind_the_cut_is_what_a_fold_gives(
    log: EventLog, monkeypatch: pytest.MonkeyPatch, stepwise: int
) -> None:
    """On to the end and back to the start, one by one and in leaps."""
    monkeypatch.setattr(cursor_module, "STEPWISE_EVENTS", stepwise)
    cursor, start, end = Cursor(log, now=FAR), log.start().seq, log.head().seq
    began = cursor.seq, is_as_folded(cursor, log)
    for seq in (start + 1, end - 1, start, end):
        cursor.jump(seq)
        assert (cursor.seq, is_as_folded(cursor, log)) == (seq, True)
    steps = 0
    while cursor.backward():
        steps += 1
        assert is_as_folded(cursor, log), cursor.seq
    while cursor.forward():
        assert is_as_folded(cursor, log), cursor.seq

    assert began == (start, True)
    assert steps == end - start > 20
    assert cursor.seq == end


def test_what_is_archived_is_said_to_be(log: EventLog) -> None:
    """A jump before the start moves nothing; nor does a step back from there."""
    cursor, start = Cursor(log, now=FAR), log.start().seq
    cursor.jump(start + 1)

    with pytest.raises(LogArchivedError):
        cursor.jump(start - 1)
    assert cursor.seq == start + 1
    assert cursor.backward(5)
    assert cursor.seq == start
    assert not cursor.backward()
    assert cursor.events(before=5, after=1)[0].seq == start + 1


def test_a_search_ends_at_the_start(log: EventLog) -> None:
    """By task, among the events that the log still has; by a condition, back to the start."""
    cursor = Cursor(log, now=FAR)
    cursor.jump(log.head().seq)
    number = next(event.task for event in cursor.events(before=9, after=0) if event.task)
    while cursor.find(task=number, back=True):
        assert is_as_folded(cursor, log)

    assert cursor.seq > log.start().seq
    assert not cursor.find(condition=lambda _projection, _event, _task: False, back=True)
    assert cursor.seq == log.start().seq
    assert is_as_folded(cursor, log)
