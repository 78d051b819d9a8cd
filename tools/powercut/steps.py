"""The steps of a record: what was done to the files of a folder, and what somebody was told of.

Files have numbers, since their names change. Nothing here does anything.
"""

from __future__ import annotations

from typing import NamedTuple


class Made(NamedTuple):
    """A file without content got a name."""

    name: str
    file: int


class Wrote(NamedTuple):
    """Bytes were written; not yet synced."""

    file: int
    offset: int
    data: bytes


class Truncated(NamedTuple):
    """A file was given this size."""

    file: int
    size: int


class Synced(NamedTuple):
    """All that was done to a file before is on the disk."""

    file: int


class Renamed(NamedTuple):
    """A file got another name, in place of what had that before."""

    name: str
    to: str


class Unlinked(NamedTuple):
    """A name was deleted."""

    name: str


class FolderSynced(NamedTuple):
    """All that was done to names before is on the disk."""


class Told(NamedTuple):
    """Somebody was told that the log goes on up to this position, or has read that far."""

    seq: int


Step = Made | Wrote | Truncated | Synced | Renamed | Unlinked | FolderSynced | Told
Record = list[Step]
