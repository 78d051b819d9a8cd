"""A file's exclusive lock, held while a block lasts and given back by C code alone.

The lock ends as the file is closed. Nothing here unlocks it: a forked child must close its copy,
and then the lock stays with its parent.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable
from io import FileIO
from typing import TYPE_CHECKING, Generic, TypeVar

from eventq.errors import LogUnavailableError

T = TypeVar("T")

# Files are for their owner only; to share a log, change the database's mode.
FILE_MODE = 0o600


class FileLock(Generic[T]):
    """Holds the exclusive lock of a file while a block lasts; the block gets what ``then`` returns.

    Each has a descriptor of its own, so that threads queue as processes do: in the kernel, first
    come first served. With the message ``busy``, it does not wait, but raises LogUnavailableError.
    A missing file is made if ``create``. ``open_files`` holds the descriptor while it is open.
    """

    # See Holding.
    __slots__ = (
        "__exit__", "_busy", "_create", "_file", "_open_files", "_path", "_then",
    )  # fmt: skip

    if TYPE_CHECKING:

        def __exit__(self, *error: object) -> None:
            """Gives the lock back."""

    def __init__(
        self,
        path: str,
        then: Callable[[], T],
        *,
        open_files: set[FileIO] | None = None,
        busy: str | None = None,
        create: bool = True,
    ) -> None:
        # Not open yet, so that an interrupt before the block leaves nothing behind.
        self._file = FileIO.__new__(FileIO)
        self.__exit__ = self._file.__exit__  # type: ignore[method-assign, assignment]
        self._open_files = set() if open_files is None else open_files
        self._create = create
        self._path = path
        self._then = then
        self._busy = busy

    def __enter__(self) -> T:
        """Waits for the lock. Raises LogUnavailableError."""
        try:
            self._take()
            return self._then()
        except BaseException:
            self._file.close()
            raise

    def _take(self) -> None:
        try:
            try:
                FileIO.__init__(self._file, self._path)
            except FileNotFoundError:
                if not self._create:
                    raise
                FileIO.__init__(self._file, self._path, opener=making)
            self._remember()
            wait = 0 if self._busy is None else fcntl.LOCK_NB
            fcntl.flock(self._file.fileno(), fcntl.LOCK_EX | wait)
        except OSError as error:
            reason = f"{self._path}: {error.strerror or error}"
            if self._busy is not None and isinstance(error, BlockingIOError):
                reason = self._busy
            raise LogUnavailableError(reason) from error

    def _remember(self) -> None:
        for file in tuple(self._open_files):
            # Done only now, since no function of ours is called as a file is closed.
            if file.closed:
                self._open_files.discard(file)
        self._open_files.add(self._file)


def making(path: str, flags: int) -> int:
    """Opens a file, made if it is missing: an opener for FileIO."""
    return os.open(path, flags | os.O_CREAT, FILE_MODE)
