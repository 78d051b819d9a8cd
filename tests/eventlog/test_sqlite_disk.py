"""The SQLite log on a disk whose reads and writes fail one by one, at each place where they can."""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path

import apsw
import pytest

from eventq.core.commits import Commit
from eventq.errors import LogError, LogOutcomeUnknownError, LogUnavailableError
from eventq.eventlog.contract import Kept, SnapshotEntry
from eventq.eventlog.sqlite.log import SqliteLog
from tests.eventlog.commits import (
    append,
    append_each,
    by_place,
    commit_after,
    everything,
    open_sqlite,
)

ENTRY = SnapshotEntry(1, 1, b"seal", 1, 4)


class FaultyDisk(apsw.VFS):
    """The usual file system, on which chosen reads and writes go wrong."""

    def __init__(self) -> None:
        self.base = apsw.vfs_names()[0]
        # What is asked before each read and each write of the WAL: an error to raise, or nothing;
        # a read may also give nothing, as from a file that has shrunk.
        self.reading: Callable[[], Exception | bytes | None] = lambda: None
        self.writing: Callable[[], Exception | None] = lambda: None
        self.syncs_fail = False
        super().__init__("faulty", self.base, makedefault=True)

    def xOpen(self, name: str | apsw.URIFilename | None, flags: list[int]) -> apsw.VFSFile:  # noqa: N802
        """A file of this disk."""
        return FaultyFile(self, name, flags)


class FaultyFile(apsw.VFSFile):
    """A file whose reads and writes the disk is asked about."""

    def __init__(
        self, disk: FaultyDisk, name: str | apsw.URIFilename | None, flags: list[int]
    ) -> None:
        self.disk = disk
        self.is_wal = bool(flags[0] & apsw.SQLITE_OPEN_WAL)
        super().__init__(disk.base, name, flags)

    def xRead(self, amount: int, offset: int) -> bytes:  # noqa: N802
        """Reads, or not."""
        fault = self.disk.reading()
        if isinstance(fault, Exception):
            raise fault
        return super().xRead(amount, offset) if fault is None else fault

    def xWrite(self, data: bytes, offset: int) -> None:  # noqa: N802
        """Writes, or not."""
        fault = self.disk.writing() if self.is_wal else None
        if fault is not None:
            raise fault
        super().xWrite(data, offset)

    def xSync(self, flags: int) -> None:  # noqa: N802
        """Syncs, or finds that there is no room, and then there is none for anything else."""
        if self.disk.syncs_fail:
            self.disk.writing = lambda: apsw.FullError("no")
            raise apsw.IOError
        super().xSync(flags)


@pytest.fixture
def disk() -> Iterator[FaultyDisk]:
    """Logs opened in the test live on it."""
    vfs = FaultyDisk()
    yield vfs
    vfs.unregister()
    apsw.set_default_vfs(vfs.base)


def at(place: int, fault: Exception | bytes) -> Callable[[], Exception | bytes | None]:
    """The fault at this call, counted from 0, and at no other."""
    count = itertools.count()
    return lambda: fault if next(count) == place else None


# -- reads that fail once ------------------------------------------------------------------------


class Unreadable(apsw.IOError):
    """What SQLite makes of EIO; where it was reading a page, it calls that damage."""

    extendedresult = apsw.SQLITE_IOERR_CORRUPTFS


FAULTS: dict[str, Callable[[], Exception | bytes]] = {"EIO": Unreadable, "nothing": lambda: b""}
USES: dict[str, Callable[[SqliteLog], object]] = {
    "head": lambda log: log.head(),
    "start": lambda log: log.start(),
    "read": everything,
    "history": lambda log: log.history(1),
    "find_keys": lambda log: log.find_keys(["key"]),
    "find_stray": lambda log: log.find_stray(),
    "find_kept": lambda log: log.find_kept([1]),
    "query": lambda log: log.query("SELECT count(*) FROM events"),
    "namespaces": lambda log: log.namespaces(),
    "append": append,
    "keep": lambda log: log.keep([Kept(1, 1, "key", "")]),
    "snapshot": lambda log: log.snapshots.get(1),
    "put": lambda log: log.snapshots.put(ENTRY, b"data"),
    "delete": lambda log: log.snapshots.delete(1),
}


def faulty_use(disk: FaultyDisk, path: Path, use: str, place: int, fault: str) -> bool:
    """Does it with a fault at this read; tells whether there were as many."""
    reads = at(place, FAULTS[fault]())
    asked = itertools.count()

    def reading() -> Exception | bytes | None:
        next(asked)
        return reads()

    with closing(open_sqlite(path)) as log:
        disk.reading = reading
        # A disk that is away for a moment may be told as such; damage would end a run.
        with suppress(LogUnavailableError):
            USES[use](log)
        disk.reading = lambda: None
        assert len(everything(log)) >= 7
    return next(asked) > place


@pytest.mark.parametrize("where", ["database", "wal"])
@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("use", USES)
def test_one_failed_read_is_no_damage(
    disk: FaultyDisk, path: Path, use: str, fault: str, where: str
) -> None:
    """Whichever read fails once, the log is not called damaged, and all of it is there."""
    writer = open_sqlite(path)
    append(writer, keys={"key": 0})
    append_each(writer, [50] * 6)
    writer.snapshots.put(ENTRY, b"data")
    if where == "database":
        writer.close()

    with closing(writer):
        places = itertools.count()
        while faulty_use(disk, path, use, next(places), fault):
            pass

    assert next(places) > 1


def test_damage_that_stays_is_told(sqlite_log: SqliteLog, path: Path) -> None:
    """What the fresh connection finds as well is damage."""
    append_each(sqlite_log, [3, 3])
    with closing(apsw.Connection(str(path))) as connection:
        connection.execute("DROP TRIGGER events_no_update")
        connection.execute(by_place("UPDATE events SET at = at + 1 WHERE seq = 2"))

    with pytest.raises(LogError, match="damaged at position 2"):
        sqlite_log.read(after=0)


# -- writes that fail ----------------------------------------------------------------------------

REFUSALS: dict[str, type[apsw.Error]] = {
    "full": apsw.FullError,
    "read-only": apsw.ReadOnlyError,
    "broken": apsw.IOError,
}


def after_crash(path: Path) -> list[Commit]:
    """What a recovery finds in the files as they are now."""
    copy = path.parent / "copy"
    copy.mkdir()
    for name in ("log.db", "log.db-wal"):
        shutil.copy(path.with_name(name), copy / name)
    with closing(open_sqlite(copy / "log.db")) as log:
        found = everything(log)
    shutil.rmtree(copy)
    return found


def refused(
    disk: FaultyDisk, log: SqliteLog, place: int, refusal: str
) -> LogUnavailableError | None:
    """The error of an append all of whose writes fail from this one on; None if it made fewer."""
    count = itertools.count()
    disk.writing = lambda: REFUSALS[refusal]("no") if next(count) >= place else None
    try:
        log.append(commit_after(log.head(), 100))
    except LogUnavailableError as error:
        return error
    finally:
        disk.writing = lambda: None
    return None


@pytest.mark.parametrize("refusal", REFUSALS)
def test_full_disk_says_not_made(disk: FaultyDisk, path: Path, refusal: str) -> None:
    """Where no whole commit has reached the disk, the append was not made, and the error says so.

    However many of its writes were made, what the error says is what a crash right then shows.
    """
    with closing(open_sqlite(path)) as log:
        commits = append_each(log, [2, 200])
        for place in itertools.count():
            error = refused(disk, log, place, refusal)
            if error is None:
                break
            assert not isinstance(error, LogOutcomeUnknownError), f"at write {place}"
            assert f"the commit at position {commits[-1].last + 1} was not made" in str(error)
            assert after_crash(path) == commits
            assert everything(log) == commits
        assert place > 5
        assert [commit.last for commit in everything(log)] == [2, 202, 302]


def test_frames_of_two_commits_are_not_a_whole_one(disk: FaultyDisk, path: Path) -> None:
    """The end of a commit that broke off before does not complete the beginning of the next."""
    with closing(open_sqlite(path)) as log:
        commits = [append(log)]
        disk.syncs_fail = True
        with pytest.raises(LogOutcomeUnknownError):
            # Other bodies than the next one has, whose first frames would be the same else.
            log.append(commit_after(log.head(), bodies=['{"kind":"other"}'] * 100))
        disk.syncs_fail, disk.writing = False, lambda: None

        # A frame is two writes: its header and its page.
        error = refused(disk, log, 4, "full")

        assert error is not None
        assert "the commit at position 2 was not made" in str(error)
        assert after_crash(path) == commits


def test_whole_commit_on_a_broken_disk_is_not_called_absent(disk: FaultyDisk, path: Path) -> None:
    """A commit that is in the WAL to its last byte may come back, so the error says so."""
    with closing(open_sqlite(path)) as log:
        commits = [append(log)]
        commit = commit_after(log.head(), 100)
        # All writes go through, and only then the disk turns out to be full.
        disk.syncs_fail = True

        with pytest.raises(LogOutcomeUnknownError, match="not certain"):
            log.append(commit)

        disk.syncs_fail, disk.writing = False, lambda: None
        assert after_crash(path) == [*commits, commit]
        assert everything(log) == commits
