"""Checks that the files a SQLite log has open are still those that another opener would find.

A file that was deleted, replaced or moved lives on for the process that has it open, and a second
name leads to it without the files beside it. A task appended to such a file is in no one's queue.
"""

from __future__ import annotations

import os
import time

from eventq.errors import LogLostError
from eventq.eventlog.sqlite.files import ONE_NAME, unavailable
from eventq.host.interrupts import raise_interrupt

# How often, in seconds, to check the files beside the database. Each check costs a system call, and
# the database itself is checked before each use.
LOOK_S = 1.0
ANEW = "nothing is read from it or appended to it any more: open the queue anew"

# Device and number of a file.
Identity = tuple[int, int]


class OpenFiles:
    """The files of one log, as its connections have them open."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._file = _identity(path)
        self._wal: Identity | None = None
        self._index: Identity | None = None
        self._looked_s = time.monotonic()

    def note_beside(self) -> None:
        """Notes which WAL and index there are; they stay until the last connection is closed."""
        self._wal = _identity(f"{self._path}-wal")
        self._index = _identity(f"{self._path}-shm")

    def forget_beside(self) -> None:
        """Forgets them once no connection is open: SQLite deletes them with the last one."""
        self._wal = self._index = None

    def check(self) -> None:
        """Raises LogLostError once one of the files is replaced or emptied, or has another name.

        Costs one system call, and two more after LOOK_S. After a loss, every call raises.
        """
        if _identity(self._path, 1) != self._file:
            raise _replaced(self._path)
        now_s = time.monotonic()
        if self._wal is not None and now_s - self._looked_s >= LOOK_S:
            _check(f"{self._path}-wal", self._wal)
            self.check_index()
            self._looked_s = now_s

    def check_index(self) -> None:
        """Raises LogLostError when other openers use another index of the WAL than this log."""
        if self._index is not None:
            _check(f"{self._path}-shm", self._index)


def _check(path: str, known: Identity) -> None:
    if _identity(path) != known:
        raise _replaced(path)


def _replaced(path: str) -> LogLostError:
    return LogLostError(f"{path}: was replaced by another file while it was open; {ANEW}")


def _identity(path: str, least_bytes: int = 0) -> Identity:
    """What distinguishes a file from one that took its name. Raises LogLostError without a file."""
    try:
        status = os.stat(path)  # noqa: PTH116 - on the path of every append
    except (FileNotFoundError, NotADirectoryError) as error:
        raise LogLostError(f"{path}: was deleted or moved while it was open; {ANEW}") from error
    except OSError as error:
        raise_interrupt(error)
        raise unavailable(path, error) from error
    if status.st_nlink > 1:
        raise LogLostError(f"{path}: got another name (hard link) while it was open; {ONE_NAME}")
    if status.st_size < least_bytes:
        # Appended to it, a task is in the WAL of a database that is gone.
        raise LogLostError(f"{path}: was emptied while it was open; {ANEW}")
    return status.st_dev, status.st_ino
