"""Snapshots in a log's database and in files; what comes back is checked, never trusted unseen."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from eventq.core.seal import is_sealed
from eventq.errors import ArgumentError, LogError, SnapshotError
from eventq.eventlog.contract import EventLog, SnapshotEntry
from eventq.eventlog.durable import may_replace, write_whole
from eventq.host.logger import SafeLogger
from eventq.snapshot.codec import check, decode, encode
from eventq.snapshot.content import Snapshot

T = TypeVar("T")

logger = SafeLogger("eventq.snapshot")

# After so many that cannot be used, as after an upgrade, the search costs more than a replay.
PASSED_OVER = 10


def put(log: EventLog, snapshot: Snapshot, *, now: int) -> SnapshotEntry:
    """Writes a snapshot down in the log's database, in place of any at its position.

    ``now`` is when it was taken, in microseconds. Raises SnapshotError for one that does not fit
    the log, LogError where the database cannot be written to.
    """
    check_fits(log, snapshot)
    data = encode(snapshot)
    entry = SnapshotEntry(snapshot.seq, snapshot.at, snapshot.seal, now, len(data))
    log.snapshots.put(entry, data)
    return entry


def get(log: EventLog, seq: int) -> Snapshot:
    """The snapshot at this position in the log's database.

    Raises ArgumentError where there is none, SnapshotError where it does not fit the log.
    """
    data = log.snapshots.get(seq)
    if data is None:
        raise ArgumentError("snapshot", seq, "the position of a snapshot of this log")
    snapshot = decode(data)
    if snapshot.seq != seq:
        raise SnapshotError(f"it is of position {snapshot.seq} and was found at {seq}")
    check_fits(log, snapshot)
    return snapshot


def newest(log: EventLog, *, until: int | None = None) -> Snapshot | None:
    """The newest snapshot in the log's database up to a position, if any can be used.

    One that is damaged or does not fit is reported as a warning and passed over, as is a database
    whose snapshots cannot be read: the log alone is enough.
    """
    return _newest(log, get, until)


def newest_seq(log: EventLog) -> int:
    """The position of the newest snapshot in the log's database, 0 where none can be used.

    Like `newest`, but the content is not unpacked: its checksum is enough.
    """
    return _newest(log, _position_of, None) or 0


def _newest(log: EventLog, take: Callable[[EventLog, int], T], until: int | None) -> T | None:
    try:
        entries = log.snapshots.entries()
    except LogError as error:
        logger.warning("snapshots cannot be read", extra={"error": str(error)})
        return None
    fitting = [entry for entry in entries if until is None or entry.seq <= until]
    for entry in _worth_a_try(log, fitting):
        try:
            return take(log, entry.seq)
        except (SnapshotError, ArgumentError, LogError) as error:
            logger.warning("snapshot discarded", extra={"seq": entry.seq, "error": str(error)})
    return None


def _position_of(log: EventLog, seq: int) -> int:
    header = check(log.snapshots.get(seq) or b"")
    _check_history(log, header.seq, header.at, bytes.fromhex(header.seal))
    if header.namespace != log.namespace or header.seq != seq:
        raise SnapshotError(f"it is of {header.namespace!r} and of position {header.seq}")
    return seq


def _worth_a_try(log: EventLog, entries: list[SnapshotEntry]) -> list[SnapshotEntry]:
    """The newest ones, and where the log's beginning was archived, the one to begin with."""
    older, tried = entries[:-PASSED_OVER], entries[: -PASSED_OVER - 1 : -1]
    start = log.start().seq if older else 0
    return [*tried, *(entry for entry in older if start and entry.seq == start)]


def save(snapshot: Snapshot, path: Path | str) -> int:
    """Writes a snapshot to a file, whole or not at all; returns how many bytes.

    Raises OSError, and ArgumentError where a log is there, or no plain file.
    """
    if not may_replace(Path(path)):
        raise ArgumentError("path", str(path), "a file that is no log")
    data = encode(snapshot)
    write_whole(Path(path), data)
    return len(data)


def load(path: Path | str) -> Snapshot:
    """The snapshot in a file. Raises SnapshotError, and OSError where it cannot be read.

    `check_fits` says whether it is of a certain log.
    """
    return decode(Path(path).read_bytes())


def check_fits(log: EventLog, snapshot: Snapshot) -> None:
    """Raises SnapshotError unless a commit of the log ends there, with this instant and seal.

    This shows that it is of this history. That it is what the history folds to, only a replay
    shows: see `verify`.
    """
    if snapshot.namespace != log.namespace:
        raise SnapshotError(f"it is of the namespace {snapshot.namespace!r}")
    _check_history(log, snapshot.seq, snapshot.at, snapshot.seal)


def _check_history(log: EventLog, seq: int, at: int, seal: bytes) -> None:
    start = log.start()
    if seq == start.seq:
        # There the archive ends: that of its last commit is all that the log has kept of it.
        if (at, seal) != (start.at, start.seal):
            raise SnapshotError(f"the log has another history up to its position {seq}")
        return
    commits = log.read(after=seq - 1, limit=1) if seq else []
    if not commits or commits[0].last != seq:
        raise SnapshotError(f"no commit of the log ends at its position {seq}")
    commit = commits[0]
    if commit.seal != seal or commit.at != at or not is_sealed(commit):
        raise SnapshotError(f"the log has another history up to its position {seq}")
