"""Whether a catalog is of a log as it is now: by the position it has come to and the seal there."""

from __future__ import annotations

from eventq.catalog.store import Store
from eventq.eventlog import EventLog


def why_foreign(log: EventLog, store: Store) -> str | None:
    """Why a catalog is not of this log as it is now; None where it is.

    Its position must be the end of a commit there, with the seal that it has: the seal covers all
    that came before.
    """
    about = store.about
    try:
        seq, seal = int(about["seq"]), bytes(about["seal"])
        if about["namespace"] != log.namespace:
            return "it is of another namespace"
    except (KeyError, TypeError, ValueError):
        return "it is damaged: it does not say what it is of"
    return _why_not_at(log, seq, seal)


def _why_not_at(log: EventLog, seq: int, seal: bytes) -> str | None:
    """Why no commit of the log ends at a position with this seal; None where one does."""
    start = log.start()
    if seq < start.seq:
        return "the log has been cut behind it"
    if seq > log.head().seq:
        return "it is of another log, or of one that has lost its end"
    if seq == start.seq:
        return None if seal == start.seal else "it is of another log"
    commit = log.read(after=seq - 1, limit=1)[0]
    if commit.last != seq or commit.seal != seal:
        return "it is of another log, or of one that has been rewritten"
    return None
