"""A file system for SQLite under which each page of a catalog carries its checksum.

A catalog is believed without asking the log again, so that one wrong byte must not stay unseen.
SQLite's own cksumvfs checks each page that is read; installations of apsw without it go without.
"""

from __future__ import annotations

from functools import cache

import apsw
import apsw.sqlite_extra

EXTENSION, FILE_SYSTEM = "cksumvfs", "cksmvfs"
# At the end of each page; the file system knows its files by this number.
CHECKSUM_BYTES = 8


def connect(path: str) -> apsw.Connection:
    """A connection to a file that is there, its pages checked as they are read."""
    vfs = FILE_SYSTEM if is_checked() else None
    return apsw.Connection(path, flags=apsw.SQLITE_OPEN_READWRITE, vfs=vfs)


def add_checksums(connection: apsw.Connection) -> None:
    """Gives all pages of a file that is still empty their checksums."""
    if is_checked():
        connection.reserve_bytes(reserve=CHECKSUM_BYTES)


def lacks_checksums(connection: apsw.Connection) -> bool:
    """Whether the pages of a catalog are not checked, although they could be."""
    return is_checked() and connection.reserve_bytes() != CHECKSUM_BYTES


@cache
def is_checked() -> bool:
    """Whether pages can be checked here; the first call makes it so, for catalogs alone."""
    before = apsw.vfs_names()[0]
    if not apsw.sqlite_extra.has(EXTENSION):
        return False
    loading = apsw.Connection(":memory:")
    try:
        apsw.sqlite_extra.load(loading, EXTENSION)
    except apsw.Error:
        return False
    finally:
        loading.close()
    # It makes itself the file system of all: logs keep theirs.
    apsw.set_default_vfs(before)
    return FILE_SYSTEM in apsw.vfs_names()


def is_damage(error: apsw.Error) -> bool:
    """Whether a driver's error says that a file does not hold what was written."""
    is_wrong_sum = getattr(error, "extendedresult", None) == apsw.SQLITE_IOERR_DATA
    return is_wrong_sum or isinstance(error, apsw.CorruptError | apsw.NotADBError)
