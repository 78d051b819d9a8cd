"""The contract for snapshots beside a log: bytes by position, which the log does not understand.

They are no part of the log: each can be made anew from it, so all of them may be lost at any time.
"""

from __future__ import annotations

from typing import Protocol

from msgspec import Struct


class SnapshotEntry(Struct, frozen=True):
    """One snapshot, without its bytes: the end of the commit it is of, and when it was taken."""

    seq: int
    at: int
    seal: bytes
    taken_at: int
    size_bytes: int


class Snapshots(Protocol):
    """The snapshots of one namespace. All methods may be called from any thread.

    Nothing here changes the log or keeps an append waiting for longer than it takes to write one
    down. Errors are those of EventLog.
    """

    def entries(self) -> list[SnapshotEntry]:
        """All of them, by rising position; none where none was ever put."""

    def get(self, seq: int) -> bytes | None:
        """The bytes of the one at this position, as they were put; None where there is none.

        What was only half written when its writer died is not there.
        """

    def put(self, entry: SnapshotEntry, data: bytes) -> None:
        """Writes one down, whole or not at all, in place of any at the same position."""

    def delete(self, seq: int) -> bool:
        """Forgets the one at this position; tells whether there was one."""
