"""What snapshots beside a log must do; the same tests run against all that keep some."""

from __future__ import annotations

import pytest

from eventq import QueueClosedError
from eventq.eventlog import EventLog
from eventq.eventlog.contract import SnapshotEntry
from tests.eventlog.commits import Opener, append

pytestmark = pytest.mark.usefixtures("_working")

LARGE_BYTES = 3 * 1024**2 + 17


def entry(seq: int, data: bytes, *, taken_at: int = 5) -> SnapshotEntry:
    """The entry of a snapshot with these bytes."""
    return SnapshotEntry(seq, 1_000 + seq, bytes([seq % 256]) * 32, taken_at, len(data))


@pytest.fixture
def filled(log: EventLog) -> EventLog:
    """A log that holds something, as snapshots are always of something."""
    append(log)
    return log


def test_at_first_there_are_none(log: EventLog) -> None:
    """An empty log has no snapshots, and asking for one or deleting one makes nothing."""
    assert log.snapshots.entries() == []
    assert log.snapshots.get(1) is None
    assert not log.snapshots.delete(1)


def test_a_snapshot_reads_back_equal(filled: EventLog, open_another: Opener) -> None:
    """Bytes and entry come back as they were put, also by another who opens the log."""
    data = bytes(range(256))
    put = entry(7, data)
    filled.snapshots.put(put, data)

    other = open_another()
    assert other.snapshots.entries() == [put]
    assert other.snapshots.get(7) == data


@pytest.mark.parametrize("size", [0, 1, LARGE_BYTES])
def test_any_size_reads_back_equal(filled: EventLog, size: int) -> None:
    """Empty or larger than a document or a page: all of it comes back, in its order."""
    data = (bytes(range(251)) * (size // 251 + 1))[:size]

    filled.snapshots.put(entry(3, data), data)

    assert filled.snapshots.get(3) == data
    assert filled.snapshots.entries() == [entry(3, data)]


def test_entries_stand_by_position(filled: EventLog) -> None:
    """However they came, the list rises by position, as numbers do."""
    for seq in (100, 9, 2**40, 10):
        filled.snapshots.put(entry(seq, b"x"), b"x")

    assert [found.seq for found in filled.snapshots.entries()] == [9, 10, 100, 2**40]


def test_the_same_position_is_replaced(filled: EventLog) -> None:
    """A second one at a position takes the place of the first, whatever their sizes."""
    filled.snapshots.put(entry(4, b"x" * LARGE_BYTES), b"x" * LARGE_BYTES)

    filled.snapshots.put(entry(4, b"new", taken_at=6), b"new")

    assert filled.snapshots.entries() == [entry(4, b"new", taken_at=6)]
    assert filled.snapshots.get(4) == b"new"


def test_a_deleted_one_is_gone(filled: EventLog) -> None:
    """Deleting says whether there was one; the others stay."""
    for seq in (1, 2, 3):
        filled.snapshots.put(entry(seq, b"x"), b"x")

    told = filled.snapshots.delete(2), filled.snapshots.delete(2)

    assert told == (True, False)
    assert [found.seq for found in filled.snapshots.entries()] == [1, 3]
    assert filled.snapshots.get(2) is None


def test_each_namespace_has_its_own(open_another: Opener) -> None:
    """A snapshot of one namespace is not in another, at the same position neither."""
    ours, theirs = open_another("ours"), open_another("theirs")
    append(ours)
    append(theirs)
    ours.snapshots.put(entry(1, b"ours"), b"ours")
    theirs.snapshots.put(entry(1, b"theirs"), b"theirs")

    ours.snapshots.delete(1)

    assert ours.snapshots.entries() == []
    assert theirs.snapshots.get(1) == b"theirs"


def test_the_log_does_not_notice(filled: EventLog) -> None:
    """A snapshot changes nothing of the log, and an append goes on right behind."""
    before = filled.head()
    filled.snapshots.put(entry(1, b"x"), b"x")
    assert filled.head() == before

    append(filled)

    assert filled.head().seq == before.seq + 1
    assert len(filled.snapshots.entries()) == 1


def test_a_closed_log_gives_none(log: EventLog) -> None:
    """After close each call is refused, as the log's own are."""
    log.close()

    for call in (log.snapshots.entries, lambda: log.snapshots.get(1)):
        with pytest.raises(QueueClosedError):
            call()
    with pytest.raises(QueueClosedError):
        log.snapshots.put(entry(1, b""), b"")
    with pytest.raises(QueueClosedError):
        log.snapshots.delete(1)
