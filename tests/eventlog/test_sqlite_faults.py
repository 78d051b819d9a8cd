"""The SQLite log when things go wrong: a full or failing disk, damaged rows, lost files."""

from __future__ import annotations

import logging
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import apsw
import msgspec
import pytest

from eventq.errors import LogCorruptError, LogUnavailableError
from eventq.eventlog.sqlite import connection as sqlite
from eventq.eventlog.sqlite.log import SqliteLog
from tests.eventlog.commits import (
    EMPTY,
    WAIT_S,
    append,
    append_each,
    by_place,
    commit_after,
    everything,
    open_sqlite,
)

# -- full and failing disks ----------------------------------------------------------------------


def limit_pages(log: SqliteLog, more: int) -> None:
    """Lets the database grow by so many pages only."""

    def limit(writer: apsw.Connection, _: int | None) -> None:
        writer.execute(f"PRAGMA max_page_count = {writer.pragma('page_count') + more}")

    log.connection.change(limit)


def test_full_disk_refuses_whole_commits(sqlite_log: SqliteLog) -> None:
    """A commit for which there is no room is refused whole, and fits once there is."""
    first = append(sqlite_log)
    limit_pages(sqlite_log, 3)
    commit = commit_after(sqlite_log.head(), 1_000)

    with pytest.raises(LogUnavailableError, match=r"log\.db: database or disk is full"):
        sqlite_log.append(commit)

    assert sqlite_log.read(after=0) == [first]
    limit_pages(sqlite_log, 1_000_000)
    sqlite_log.append(commit)
    assert sqlite_log.read(after=0) == [first, commit]


# Appends with a limit on the size of files, which fails writes as a full disk does, in the middle.
SMALL_FILES = """
import resource, sys
from pathlib import Path
from eventq.errors import LogUnavailableError
from tests.eventlog.commits import append, commit_after, everything, open_sqlite
log = open_sqlite(Path(sys.argv[1]))
first = append(log, 10)
resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, resource.RLIM_INFINITY))
commit = commit_after(log.head(), 1_000)
try:
    log.append(commit)
except LogUnavailableError as error:
    print(error)
assert everything(log) == [first], "nothing of the refused commit"
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
log.append(commit)
assert everything(log) == [first, commit]
"""


def test_failing_write_refuses_whole_commits(path: Path) -> None:
    """When the system fails a write in the middle of a commit, nothing of it is appended."""
    command = [sys.executable, "-c", SMALL_FILES, str(path)]

    ran = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)

    assert ran.stderr == ""
    assert str(path) in ran.stdout
    with closing(open_sqlite(path)) as log:
        assert log.head().seq == 1_010


class FailingFile(apsw.VFSFile):
    """A file whose sync fails when told to."""

    def xSync(self, flags: int) -> None:  # noqa: N802 - the name in SQLite
        """Syncs, or fails in the way of a broken disk."""
        if FailingVfs.failing_syncs:
            FailingVfs.failing_syncs -= 1
            raise apsw.IOError
        super().xSync(flags)


class FailingVfs(apsw.VFS):
    """The usual file system, with files of which the next syncs fail."""

    failing_syncs = 0

    def __init__(self) -> None:
        self.base = apsw.vfs_names()[0]
        super().__init__("failing", self.base, makedefault=True)

    def xOpen(self, name: str | apsw.URIFilename | None, flags: list[int]) -> apsw.VFSFile:  # noqa: N802
        """A file of the kind above."""
        return FailingFile(self.base, name, flags)


@pytest.fixture
def failing_disk() -> Iterator[type[FailingVfs]]:
    """Logs opened in the test live on a disk whose syncs fail when told to."""
    vfs = FailingVfs()
    yield FailingVfs
    FailingVfs.failing_syncs = 0
    vfs.unregister()
    apsw.set_default_vfs(vfs.base)


def test_commit_whose_sync_failed_stays_away(
    failing_disk: type[FailingVfs], path: Path, tmp_path: Path
) -> None:
    """A commit refused for a failed sync is not brought back by a crash right afterwards."""
    copy = tmp_path / "copy"
    copy.mkdir()
    with closing(open_sqlite(path)) as log:
        first = append(log)
        failing_disk.failing_syncs = 1

        with pytest.raises(LogUnavailableError):
            append(log)

        assert log.read(after=0) == [first]
        for name in ("log.db", "log.db-wal"):
            shutil.copy(path.with_name(name), copy / name)
        second = append(log)
        assert log.read(after=0) == [first, second]
    with closing(open_sqlite(copy / "log.db")) as after_crash:
        assert after_crash.read(after=0) == [first]


def test_broken_disk_leaves_no_doubt_unsaid(failing_disk: type[FailingVfs], path: Path) -> None:
    """While every sync fails, the error says that the commit might still come back."""
    with closing(open_sqlite(path)) as log:
        first = append(log)
        failing_disk.failing_syncs = 100

        with pytest.raises(LogUnavailableError, match="not certain that the commit at position 2"):
            append(log)

        failing_disk.failing_syncs = 0
        assert log.read(after=0) == [first]


def test_unknown_outcome_is_read_back(sqlite_log: SqliteLog) -> None:
    """A commit that is in the log although the driver reports an error counts as appended."""
    first = append(sqlite_log)
    # SQLite passes this error on from COMMIT, after the commit has been made.
    sqlite_log.connection.change(
        lambda writer, _: writer.set_wal_hook(lambda *_: apsw.SQLITE_IOERR)
    )

    second = append(sqlite_log)

    assert sqlite_log.read(after=0) == [first, second]


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_busy_database_is_unavailable(
    sqlite_log: SqliteLog, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A program that keeps the write lock makes append fail in time, and only while it does."""
    monkeypatch.setattr(sqlite, "BUSY_TIMEOUT_MS", 20)
    with closing(apsw.Connection(str(path))) as other:
        other.execute("BEGIN IMMEDIATE")

        with pytest.raises(LogUnavailableError, match="database is locked"):
            append(sqlite_log)

    commit = append(sqlite_log)
    assert sqlite_log.read(after=0) == [commit]


# -- damage --------------------------------------------------------------------------------------

DAMAGES = {
    "first end of a commit lost": ("UPDATE events SET seal = NULL WHERE seq = 3", 4),
    "end of a commit lost": ("UPDATE events SET seal = NULL WHERE seq = 6", 7),
    "id lost": ("UPDATE events SET id = NULL WHERE seq = 6", 1),
    "count lost": ("UPDATE events SET count = NULL WHERE seq = 6", 4),
    "commit lost": ("DELETE FROM events WHERE seq IN (4, 5, 6)", 4),
    "event lost": ("DELETE FROM events WHERE seq = 5", 5),
    "last but one event lost": ("DELETE FROM events WHERE seq = 8", 8),
    "event dated otherwise": ("UPDATE events SET at = at + 1 WHERE seq = 2", 2),
    "events at another place": ("UPDATE events SET seq = 99 WHERE seq = 6", 6),
    "count too small": ("UPDATE events SET count = 2 WHERE seq = 6", 4),
    "count too large": ("UPDATE events SET count = 4 WHERE seq = 3", 1),
    "seal cut": ("UPDATE events SET seal = x'00' WHERE seq = 9", 1),
    "body with a line break": ("UPDATE events SET body = 'a' || char(10) WHERE seq = 8", 1),
    "not text": ("UPDATE events SET body = CAST(x'ff' AS TEXT) WHERE seq = 8", 1),
}


def damage(path: Path, statement: str) -> None:
    """Changes the tables as only somebody can who has removed the guards."""
    with closing(apsw.Connection(str(path))) as connection:
        guards = connection.execute("SELECT name FROM sqlite_schema WHERE type = 'trigger'")
        for (name,) in guards.fetchall():
            connection.execute(f"DROP TRIGGER {name}")
        connection.execute(by_place(statement))


@pytest.mark.parametrize("name", DAMAGES)
def test_damage_is_found_by_reading(sqlite_log: SqliteLog, path: Path, name: str) -> None:
    """Rows that do not fit together are told with their position and never given out."""
    append_each(sqlite_log, [3, 3, 3])
    statement, position = DAMAGES[name]
    damage(path, statement)

    with pytest.raises(LogCorruptError) as caught:
        sqlite_log.read(after=0)

    assert caught.value.position == position


def test_gap_behind_the_position_is_found(sqlite_log: SqliteLog, path: Path) -> None:
    """A reader that goes on where it was does not step over a lost commit."""
    append_each(sqlite_log, [3, 3, 3])
    damage(path, "DELETE FROM events WHERE seq IN (4, 5, 6)")

    with pytest.raises(LogCorruptError) as caught:
        sqlite_log.read(after=3, limit=1)

    assert caught.value.position == 4


def test_rows_beyond_the_end_are_no_conflict(sqlite_log: SqliteLog, path: Path) -> None:
    """Reading on cannot help when events lie after the last commit, so this is no conflict."""
    append_each(sqlite_log, [3, 3])
    damage(path, "UPDATE events SET seal = NULL WHERE seq = 6")

    with pytest.raises(LogCorruptError) as caught:
        append(sqlite_log)

    assert caught.value.position == 4


def test_a_commit_that_lost_its_end_is_no_commit(sqlite_log: SqliteLog, path: Path) -> None:
    """Its other rows stand outside of all commits, where `verify` looks, and hold up appends."""
    kept, _ = append_each(sqlite_log, [3, 3])
    damage(path, "DELETE FROM events WHERE seq = 6")

    with pytest.raises(LogCorruptError) as caught:
        append(sqlite_log)

    assert caught.value.position == 4
    assert sqlite_log.read(after=0) == [kept]
    assert sqlite_log.find_stray() == 4


def test_damaged_pages_are_our_error(sqlite_log: SqliteLog, path: Path) -> None:
    """A file that is torn inside gives LogCorruptError, not an error of the driver."""
    append_each(sqlite_log, [1_000] * 10)
    sqlite_log.close()
    content = bytearray(path.read_bytes())
    for page in range(3, len(content) // 4096):
        content[page * 4096 : page * 4096 + 100] = b"\xff" * 100
    path.write_bytes(content)

    with closing(open_sqlite(path)) as torn, pytest.raises(LogCorruptError):
        everything(torn)


# -- callers -------------------------------------------------------------------------------------


def test_text_that_cannot_be_stored_leaves_nothing(sqlite_log: SqliteLog, path: Path) -> None:
    """A caller's mistake inside the first transaction leaves neither rows nor a namespace's id."""
    commit = commit_after(EMPTY, keys={"good": 0})
    broken = msgspec.structs.replace(commit, bodies=["\ud800"])
    other_log = SqliteLog(str(path), url="", namespace="other", create=False)

    with pytest.raises(UnicodeEncodeError):
        sqlite_log.append(broken)

    with closing(other_log):
        # Gets the id that the first one would have had.
        other = append(other_log)
        sqlite_log.append(commit)
        assert other_log.read(after=0) == [other]
    assert sqlite_log.read(after=0) == [commit]


def test_failing_wake_harms_neither_append_nor_watch(
    sqlite_log: SqliteLog, path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """An error in a wake is logged; the append stands, and the watch goes on."""
    calls = threading.Semaphore(0)

    def wake() -> None:
        calls.release()
        raise RuntimeError("a wake went wrong")

    watch = sqlite_log.watch(wake)
    with closing(open_sqlite(path)) as other, caplog.at_level(logging.ERROR):
        commits = [append(sqlite_log)]
        assert calls.acquire(timeout=WAIT_S)

        for _ in range(2):
            commits.append(append(other))
            assert calls.acquire(timeout=WAIT_S)

    watch.close()
    assert sqlite_log.read(after=0) == commits
    assert "a wake went wrong" in caplog.text


def test_closing_a_log_ends_its_watches(sqlite_log: SqliteLog, path: Path) -> None:
    """A closed log wakes nobody, and its watches may still be closed."""
    late, current = threading.Event(), threading.Event()
    closing_log = open_sqlite(path)
    watch = closing_log.watch(late.set)
    closing_log.close()
    sqlite_log.watch(current.set)

    append(sqlite_log)

    assert current.wait(WAIT_S)
    assert not late.is_set()
    watch.close()
