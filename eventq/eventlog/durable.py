"""Files and names that survive a power cut; nothing here knows what stands in them."""

from __future__ import annotations

import os
import secrets
from contextlib import suppress
from pathlib import Path

# A file that is still being written has this before a random name; after a crash it may be deleted.
UNFINISHED = ".unfinished-"
# How a log begins, and any other database of SQLite: no answer is ever written over one.
LOGS = (b"SQLite format 3\0", b'{"eventq":1,')


def write_whole(path: Path, data: bytes) -> None:
    """Writes a file that gets its name once it is whole and on the disk. Raises OSError."""
    unfinished = path.with_name(f"{UNFINISHED}{secrets.token_hex(8)}")
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    try:
        descriptor = os.open(unfinished, flags, 0o600)
    except OSError as error:
        # Who asked knows the file by its own name.
        raise OSError(error.errno, error.strerror, str(path)) from None
    try:
        with open(descriptor, "wb") as file:  # noqa: PTH123 - a descriptor with a mode of its own
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
            if hasattr(os, "posix_fadvise"):
                # Who reads it back to check it reads the disk.
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        unfinished.rename(path)
    except BaseException:
        with suppress(OSError):
            unfinished.unlink(missing_ok=True)
        raise
    sync_directory(path.parent)


def may_replace(path: Path) -> bool:
    """Whether a file may be written here: not in the place of a database or a log, or of a device.

    Where it cannot be written at all, whoever writes says so.
    """
    try:
        if not path.is_file():
            return not path.exists()
        with path.open("rb") as file:
            return not file.read(max(map(len, LOGS))).startswith(LOGS)
    except OSError:
        return False


def clear_unfinished(directory: Path) -> None:
    """Deletes what writers left behind that were killed; one that is still at work then fails."""
    for path in directory.glob(f"{UNFINISHED}*"):
        path.unlink(missing_ok=True)


def sync_directory(directory: str | os.PathLike[str]) -> None:
    """Makes the names in a directory durable: those made, renamed and deleted. Raises OSError."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
