"""Snapshots in memory, beside the log in memory."""

from __future__ import annotations

from collections.abc import Callable

from eventq.eventlog.snapshots import SnapshotEntry

MemoryShelf = dict[int, tuple[SnapshotEntry, bytes]]


class MemorySnapshots:
    """The Snapshots of one namespace, on a shelf that its logs share; ``shelf`` gives it."""

    def __init__(self, shelf: Callable[[], MemoryShelf]) -> None:
        self._shelf = shelf

    def entries(self) -> list[SnapshotEntry]:
        """See Snapshots.entries."""
        return [entry for _, (entry, _) in sorted(dict(self._shelf()).items())]

    def get(self, seq: int) -> bytes | None:
        """See Snapshots.get."""
        found = self._shelf().get(seq)
        return None if found is None else found[1]

    def put(self, entry: SnapshotEntry, data: bytes) -> None:
        """See Snapshots.put."""
        self._shelf()[entry.seq] = (entry, bytes(data))

    def delete(self, seq: int) -> bool:
        """See Snapshots.delete."""
        return self._shelf().pop(seq, None) is not None
