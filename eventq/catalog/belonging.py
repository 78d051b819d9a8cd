"""Whether a catalog is of a log as it is now: by the position it has come to and the seal there."""

from __future__ import annotations

from eventq.catalog.store import StaleError, Store
from eventq.eventlog import EventLog


def open_own(log: EventLog, path: str) -> Store:
    """The catalog at a path, which must be of this log as it is now.

    Raises StaleError for any other, CatalogTooNewError, CatalogError and LogError.
    """
    store = Store.open(path)
    try:
        check_own(log, store)
    except BaseException:
        store.close()
        raise
    return store


def check_own(log: EventLog, store: Store) -> None:
    """Raises StaleError unless a catalog is of this log as it is now.

    Its position must be the end of a commit there, with the seal that it has: the seal covers all
    that came before.
    """
    about = store.about
    try:
        seq, seal, namespace = int(about["seq"]), bytes(about["seal"]), about["namespace"]
    except (KeyError, TypeError, ValueError):
        why: str | None = "it is damaged: it does not say what it is of"
    else:
        is_other = namespace != log.namespace
        why = "it is of another namespace" if is_other else _why_not_at(log, seq, seal)
    if why is not None:
        raise StaleError(store.path, why)


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
