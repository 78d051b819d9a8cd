"""The files of a SQLite log: which paths are usable, and how a new database is made."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from urllib.parse import quote

import apsw

from eventq.errors import ArgumentError, LogForeignError, LogTooNewError, LogUnavailableError
from eventq.eventlog.durable import sync_directory
from eventq.eventlog.file_lock import FILE_MODE, FileLock
from eventq.eventlog.sqlite import schema
from eventq.eventlog.sqlite.views import VIEWS

# Where locks or shared memory do not work between hosts, or not at all.
NETWORK_FILESYSTEMS = {
    "afs", "beegfs", "ceph", "cifs", "fuse.beegfs", "fuse.ceph", "fuse.cephfs",
    "fuse.glusterfs", "fuse.rclone", "fuse.s3fs", "fuse.sshfs", "glusterfs", "gpfs", "lustre",
    "ncpfs", "nfs", "nfs4", "smb3", "smbfs",
}  # fmt: skip

# How every SQLite database begins, and how long its header is.
HEADER_START = b"SQLite format 3\0"
HEADER_BYTES = 100

# SQLite finds the files that belong to a database, such as the WAL with its newest commits, by its
# name. A process that uses another name, or sees the file without its folder, does not find them.
ONE_NAME = (
    "a log must have one name, since its newest tasks are in files beside it that are found by its "
    "name: delete the other names, and share or mount its folder, not the file"
)

# Beside a log stand files with its name and one of these ends. A log called so would be taken
# for one of them: deleted, or its locks lost.
DRAFT = "-unfinished"
BESIDE = ("-bell", "-journal", "-lock", "-shm", "-wal", DRAFT)

# SQLite before this can corrupt a WAL that one connection resets while another checkpoints.
SQLITE_AT_LEAST = (3, 51, 3)


def check_library() -> None:
    """Raises LogUnavailableError where apsw carries a SQLite that can lose data."""
    version = apsw.sqlite_lib_version()
    if tuple(map(int, version.split("."))) < SQLITE_AT_LEAST:
        raise LogUnavailableError(
            f"SQLite {version} can lose data in WAL mode; install apsw 3.51.3 or later"
        )


def resolve(path: str) -> str:
    """The path with every link resolved, so that one file has one name and one lock.

    Raises ArgumentError for a path that no log can have, LogUnavailableError for one that is not a
    file, has several names or is a mount point, or whose directory is missing or on a network file
    system.
    """
    if not path or "\0" in path or path == ":memory:":
        raise ArgumentError("url", path, "the path of a file (memory:// keeps a log in memory)")
    try:
        path.encode()
        resolved = os.path.realpath(path)
        directory = os.path.dirname(resolved)  # noqa: PTH120 - plain strings all the way
        if not os.path.isdir(directory):  # noqa: PTH112
            raise LogUnavailableError(f"{path}: the directory {directory} does not exist")
        status = os.stat(resolved) if os.path.lexists(resolved) else None  # noqa: PTH116
    except UnicodeEncodeError as error:
        raise ArgumentError("url", path, "a path in UTF-8") from error
    except OSError as error:
        raise unavailable(path, error) from error
    if (end := next(filter(resolved.endswith, BESIDE), None)) is not None:
        expected = f"a name without {end} at its end, which files beside a log have"
        raise ArgumentError("url", path, expected)
    if status is not None and not stat.S_ISREG(status.st_mode):
        kind = "a directory" if stat.S_ISDIR(status.st_mode) else "not a regular file"
        raise LogUnavailableError(f"{path}: is {kind}; a log is a file")
    if status is not None and status.st_nlink > 1:
        raise LogUnavailableError(f"{path}: has {status.st_nlink} names (hard links); {ONE_NAME}")
    _check_mounts(resolved, directory)
    return resolved


def prepare(path: str, *, create: bool) -> bool:
    """Checks that the file is a log, making it if ``create``; returns whether it is writable.

    A log that may not be written can still be read, unless ``create``. A file that is not an
    eventq log is never written to.
    """
    directory = os.path.dirname(path)  # noqa: PTH120
    if _size_of(path) == 0:
        if not create:
            raise LogUnavailableError(f"{path}: there is no log here")
        if not os.access(directory, os.W_OK | os.X_OK):
            raise LogUnavailableError(f"{path}: the directory {directory} is not writable")
        _make(path)
    check_ours(path)
    for target in (path, directory):
        if not os.access(target, os.W_OK):
            if create:
                raise LogUnavailableError(f"{path}: {target} is not writable")
            return False
    _make_private(lock_path(path), like=path)
    return True


def check_ours(path: str) -> None:
    """Raises LogForeignError or LogTooNewError by the first bytes of the file.

    A connection would not do: it could write beside a foreign file, and would find a log malformed
    while another process moves pages from the WAL into it, or was killed at that. The first page
    holds the marks from before the file gets its name, and for ever.
    """
    try:
        header = _read_header(path)
    except apsw.Error as error:
        raise unavailable(path, error) from error
    if not header.startswith(HEADER_START):
        raise LogForeignError(f"{path}: is not a database; point the URL elsewhere")
    _check_marks(path, mark=_number(header, 68), version=_number(header, 60))


def check_connection(connection: apsw.Connection, path: str) -> None:
    """Raises LogForeignError or LogTooNewError by what an open database says of itself."""
    _check_marks(
        path,
        mark=connection.pragma("application_id"),
        version=connection.pragma("user_version"),
    )


def connect_read_only(path: str) -> apsw.Connection:
    """A connection to a log that may not be written. Raises apsw.Error.

    Without a WAL no process has the log open, and ``immutable`` then needs no shared memory, which
    could not be made here. With a WAL, the shared memory must exist and be readable.
    """
    if _size_of(f"{path}-wal"):
        return apsw.Connection(path, flags=apsw.SQLITE_OPEN_READONLY)
    return apsw.Connection(
        f"file:{quote(path)}?immutable=1",
        flags=apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_URI,
    )


def has_wal(path: str) -> bool:
    """Whether a WAL is beside it: others have the log open, or were killed."""
    return os.path.lexists(f"{path}-wal")


def sync_found(path: str) -> None:
    """Makes durable what an opener finds in a WAL, and its name. Raises LogUnavailableError.

    A process may have been killed between writing a commit and syncing it: whoever reads the commit
    then must find it after a power cut as well. SQLite syncs a WAL only when it writes, and the
    name only if it made the file itself.
    """
    try:
        # SQLite has no locks on this file that closing it could drop.
        descriptor = os.open(f"{path}-wal", os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        sync_directory(os.path.dirname(path))  # noqa: PTH120
    except OSError as error:
        raise unavailable(path, error) from error


def lock_path(path: str) -> str:
    """The side file whose lock is the writer's slot."""
    return f"{path}-lock"


def unavailable(path: str, error: BaseException) -> LogUnavailableError:
    """The error for a path that an operating system or driver error made unusable."""
    reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return LogUnavailableError(f"{path}: {reason or type(error).__name__}")


def filesystem_type(mountinfo: str, directory: str) -> str:
    """The type of the file system a directory lies on, by the text of /proc/self/mountinfo.

    >>> filesystem_type("36 35 98:0 / /mnt rw - nfs4 host:/export rw", "/mnt/data")
    'nfs4'
    """
    best, found = -1, ""
    for point, kind in mounts(mountinfo):
        inside = directory == point or directory.startswith(point.rstrip("/") + "/")
        # A later mount on the same point covers the earlier one.
        if inside and len(point) >= best:
            best, found = len(point), kind
    return found


def mounts(mountinfo: str) -> Iterator[tuple[str, str]]:
    """Each mount's point and type, by the text of /proc/self/mountinfo."""
    for line in mountinfo.splitlines():
        before, separator, after = line.partition(" - ")
        fields = before.split(" ")
        if separator and len(fields) >= 5:  # noqa: PLR2004 - the mount point is the fifth field
            point = re.sub(r"\\([0-7]{3})", lambda octal: chr(int(octal[1], 8)), fields[4])
            yield point, after.split(" ")[0]


def read_mountinfo() -> str:
    """What is mounted where; empty where the system does not say."""
    try:
        return Path("/proc/self/mountinfo").read_text(errors="surrogateescape")
    except OSError:
        return ""


def _check_mounts(path: str, directory: str) -> None:
    mountinfo = read_mountinfo()
    if any(point == path for point, _ in mounts(mountinfo)):
        raise LogUnavailableError(f"{path}: is mounted without its folder; {ONE_NAME}")
    kind = filesystem_type(mountinfo, directory)
    if kind in NETWORK_FILESYSTEMS:
        raise LogUnavailableError(
            f"{path}: lies on a network file system ({kind}), where SQLite's locks and shared "
            "memory do not hold between hosts; use a local disk, or a mongodb:// log for many hosts"
        )


def _size_of(path: str) -> int:
    try:
        return os.stat(path).st_size  # noqa: PTH116 - plain strings all the way
    except FileNotFoundError:
        return 0
    except OSError as error:
        raise unavailable(path, error) from error


def _read_header(path: str) -> bytes:
    """The file's first bytes, read through SQLite's own layer.

    A descriptor of ours would, when closed, drop all the locks that this process has on the file.
    """
    flags = [apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_MAIN_DB, 0]
    file = apsw.VFSFile(apsw.vfs_names()[0], path, flags)
    try:
        return file.xRead(HEADER_BYTES, 0)
    finally:
        file.xClose()


def _number(header: bytes, offset: int) -> int:
    return int.from_bytes(header[offset : offset + 4], "big")


def _check_marks(path: str, *, mark: int, version: int) -> None:
    if mark != schema.APPLICATION_ID:
        raise LogForeignError(f"{path}: is a database of another program, not an eventq log")
    if version < schema.SCHEMA_VERSION:
        raise LogForeignError(
            f"{path}: has schema {version}, of eventq before its first release; this one needs "
            f"{schema.SCHEMA_VERSION}: begin a new file"
        )
    if version > schema.SCHEMA_VERSION:
        raise LogTooNewError(
            f"{path}: has schema {version}, this eventq knows up to {schema.SCHEMA_VERSION}; "
            "upgrade eventq"
        )


def _make(path: str) -> None:
    """Makes the database beside its name and then renames it: it is never seen half made."""
    draft = f"{path}{DRAFT}"
    try:
        _make_private(lock_path(path), like=None)
        with FileLock(lock_path(path), lambda: None):
            if _size_of(path):
                return
            _refuse_leftovers(path)
            for leftover in (path, draft):
                for end in ("", "-journal", "-wal", "-shm"):
                    with suppress(FileNotFoundError):
                        os.unlink(f"{leftover}{end}")  # noqa: PTH108
            _make_private(draft, like=None)
            connection = apsw.Connection(draft, flags=apsw.SQLITE_OPEN_READWRITE)
            try:
                connection.execute(
                    f"BEGIN;{schema.MARKS}{schema.TABLES}{schema.GUARDS}{schema.DELETE_GUARD}"
                    f"{VIEWS}COMMIT;"
                )
                connection.execute("PRAGMA journal_mode = WAL")
            finally:
                connection.close()
            os.rename(draft, path)  # noqa: PTH104
            sync_directory(os.path.dirname(path))  # noqa: PTH120
    except (OSError, apsw.Error) as error:
        raise unavailable(path, error) from error


def _refuse_leftovers(path: str) -> None:
    """Raises LogUnavailableError where files of an earlier database hold what is not in it.

    SQLite would take them for the new one's, and they may hold tasks that exist nowhere else.
    """
    for leftover in (f"{path}-wal", f"{path}-journal"):
        if _size_of(leftover):
            raise LogUnavailableError(
                f"{path}: {leftover} is left of a database that is gone, and may hold its newest "
                "tasks; move it to where that database is now, or delete it to begin a new one"
            )


def _make_private(path: str, *, like: str | None) -> None:
    """Makes an empty file, unless it exists, with the mode and owner of another file."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, FILE_MODE)
    except FileExistsError:
        return
    except OSError as error:
        raise unavailable(path, error) from error
    try:
        model = os.stat(like) if like else None  # noqa: PTH116
        os.fchmod(descriptor, model.st_mode & 0o666 if model else FILE_MODE)
        if model and os.geteuid() == 0:
            # A visit by root must not lock the owner out; SQLite does so for its own files.
            os.fchown(descriptor, model.st_uid, model.st_gid)
    except OSError as error:
        raise unavailable(path, error) from error
    finally:
        os.close(descriptor)
