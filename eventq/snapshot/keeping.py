"""Snapshots in a log's database and in files; what comes back is checked, never trusted unseen."""

from __future__ import annotations

from pathlib import Path

from eventq.core.seal import is_sealed
from eventq.errors import ArgumentError, LogError, SnapshotError
from eventq.eventlog.contract import EventLog, SnapshotEntry
from eventq.eventlog.durable import write_whole
from eventq.host.logger import SafeLogger
from eventq.snapshot.codec import decode, encode
from eventq.snapshot.content import Snapshot

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

    One that is damaged or does not fit is told as a warning and passed over, as is a database
    whose snapshots cannot be read: the log alone is enough.
    """
    try:
        entries = log.snapshots.entries()
    except LogError as error:
        logger.warning("snapshots cannot be read", extra={"error": str(error)})
        return None
    fitting = [entry for entry in entries if until is None or entry.seq <= until]
    for entry in _worth_a_try(log, fitting):
        try:
            return get(log, entry.seq)
        except (SnapshotError, ArgumentError, LogError) as error:
            logger.warning("snapshot discarded", extra={"seq": entry.seq, "error": str(error)})
    return None


def _worth_a_try(log: EventLog, entries: list[SnapshotEntry]) -> list[SnapshotEntry]:
    """The newest ones, and where the log's beginning was archived, the one to begin with."""
    older, tried = entries[:-PASSED_OVER], entries[: -PASSED_OVER - 1 : -1]
    start = log.start().seq if older else 0
    return [*tried, *(entry for entry in older if start and entry.seq == start)]


def save(snapshot: Snapshot, path: Path | str) -> int:
    """Writes a snapshot to a file, whole or not at all; returns how many bytes. Raises OSError."""
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
    start = log.start()
    if snapshot.seq == start.seq:
        # There the archive ends: that of its last commit is all that the log has kept of it.
        if (snapshot.at, snapshot.seal) != (start.at, start.seal):
            raise SnapshotError(f"the log has another history up to its position {snapshot.seq}")
        return
    commits = log.read(after=snapshot.seq - 1, limit=1) if snapshot.seq else []
    if not commits or commits[0].last != snapshot.seq:
        raise SnapshotError(f"no commit of the log ends at its position {snapshot.seq}")
    commit = commits[0]
    if commit.seal != snapshot.seal or commit.at != snapshot.at or not is_sealed(commit):
        raise SnapshotError(f"the log has another history up to its position {snapshot.seq}")
