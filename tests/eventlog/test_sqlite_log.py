"""The files of the SQLite log: what it opens, what it makes, and what it leaves alone."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import apsw
import pytest

from eventq.errors import ArgumentError, LogForeignError, LogTooNewError, LogUnavailableError
from eventq.eventlog import open_log
from eventq.eventlog.sqlite import files as sqlite_files
from eventq.eventlog.sqlite import schema
from eventq.eventlog.sqlite.connection import WAL_KEPT_BYTES
from eventq.eventlog.sqlite.log import SqliteLog
from tests.eventlog.commits import append, commit_after, open_sqlite


def mode_of(path: Path) -> int:
    """The file's permissions."""
    return stat.S_IMODE(path.stat().st_mode)


# -- making and opening --------------------------------------------------------------------------


@pytest.fixture
def open_umask() -> Iterator[None]:
    """A process that forbids nothing to the files it makes."""
    before = os.umask(0)
    yield
    os.umask(before)


@pytest.mark.usefixtures("open_umask")
def test_files_are_for_their_owner_only(sqlite_log: SqliteLog, path: Path) -> None:
    """Database, WAL, shared memory, lock and bell are closed to others, whatever the umask."""
    watch = sqlite_log.watch(lambda: None)

    append(sqlite_log)

    names = {file.name: mode_of(file) for file in path.parent.iterdir()}
    watch.close()
    assert names == {
        "log.db": 0o600,
        "log.db-wal": 0o600,
        "log.db-shm": 0o600,
        "log.db-lock": 0o600,
        "log.db-bell": 0o700,
    }


def test_shared_database_gets_a_shared_lock(path: Path) -> None:
    """Who opens the database to a group can write: the lock takes the database's mode."""
    open_sqlite(path).close()
    path.chmod(0o660)
    Path(sqlite_files.lock_path(str(path))).unlink()

    open_sqlite(path).close()

    assert mode_of(path.parent / "log.db-lock") == 0o660


def test_closing_leaves_the_database_and_its_lock(sqlite_log: SqliteLog, path: Path) -> None:
    """After the last one has closed, everything is in the one file."""
    append(sqlite_log)

    sqlite_log.close()

    assert sorted(file.name for file in path.parent.iterdir()) == ["log.db", "log.db-lock"]


def test_empty_file_becomes_a_log(path: Path) -> None:
    """A file of no bytes, as temporary files are, may be taken."""
    path.touch()

    with closing(open_sqlite(path)) as log:
        append(log)

    assert path.read_bytes()[:15] == b"SQLite format 3"


def test_leftovers_of_a_crash_are_no_obstacle(path: Path) -> None:
    """A draft that a killed process left behind is thrown away."""
    (path.parent / "log.db-unfinished").write_bytes(b"half of a database")
    (path.parent / "log.db-unfinished-journal").write_bytes(b"its journal")

    with closing(open_sqlite(path)) as log:
        append(log)

    assert not list(path.parent.glob("*-unfinished*"))


@pytest.mark.parametrize("end", ["-bell", "-journal", "-lock", "-shm", "-unfinished", "-wal"])
def test_no_log_has_the_name_of_a_file_beside_one(path: Path, end: str) -> None:
    """Else the other log's first opener would delete it, or its locks would be lost."""
    (path.parent / "link").symlink_to(f"{path}{end}")

    for name in (f"{path}{end}", str(path.parent / "link")):
        with pytest.raises(ArgumentError, match=f"a name without {end} at its end"):
            open_log(f"sqlite:///{name}")

    assert [each.name for each in path.parent.iterdir()] == ["link"]


def test_a_log_beside_another_one_stays(path: Path) -> None:
    """Whatever else it is called: making one touches no other."""
    other = Path(f"{path}-new")
    with closing(open_sqlite(other)) as log:
        append(log)

    open_sqlite(path).close()

    with closing(open_sqlite(other)) as log:
        assert log.head().seq == 1


def test_link_leads_to_the_same_log(sqlite_log: SqliteLog, path: Path, tmp_path: Path) -> None:
    """Under two names it is one log with one lock."""
    commit = append(sqlite_log)
    link = tmp_path / "elsewhere" / "link.db"
    link.parent.mkdir()
    link.symlink_to(path)

    with closing(open_sqlite(link)) as linked:
        found = linked.read(after=0)

    assert found == [commit]
    assert [file.name for file in link.parent.iterdir()] == ["link.db"]


def test_half_done_checkpoint_is_no_obstacle(
    sqlite_log: SqliteLog, path: Path, tmp_path: Path
) -> None:
    """A log opens while the file is shorter than its first page says, the rest being in the WAL."""
    copy = tmp_path / "copy.db"
    commits = [append(sqlite_log, 1_000)]
    first_page = 4096
    shutil.copy(path.with_name("log.db-wal"), copy.with_name("copy.db-wal"))
    short = path.read_bytes()
    with closing(apsw.Connection(str(path))) as other:
        other.wal_checkpoint()
    copy.write_bytes(path.read_bytes()[:first_page] + short[first_page:])

    with closing(open_sqlite(copy)) as log:
        found = log.read(after=0)

    assert found == commits


@pytest.mark.parametrize("name", ["", "a\0b", ":memory:", "\ud800.db"])
def test_impossible_path_is_an_argument_error(name: str) -> None:
    """A path that no file can have is named as the wrong argument."""
    with pytest.raises(ArgumentError) as caught:
        SqliteLog(name, url="sqlite:///x", namespace="default", create=True)

    assert caught.value.argument == "url"


def test_missing_directory_is_named(tmp_path: Path) -> None:
    """A path into a directory that is not there says which."""
    with pytest.raises(LogUnavailableError, match=r"missing does not exist"):
        open_sqlite(tmp_path / "missing" / "log.db")

    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("kind", ["directory", "pipe"])
def test_path_must_be_a_file(path: Path, kind: str) -> None:
    """A directory or a special file is refused by name, without waiting on it."""
    if kind == "directory":
        path.mkdir()
    else:
        os.mkfifo(path)

    with pytest.raises(LogUnavailableError, match=r"log\.db: is (a directory|not a regular)"):
        open_sqlite(path)


@pytest.mark.parametrize("content", [None, b""])
def test_opening_without_create_makes_nothing(path: Path, content: bytes | None) -> None:
    """Who only wants to look gets an error for a log that is not there, and no file."""
    if content is not None:
        path.write_bytes(content)
    before = list(path.parent.iterdir())

    with pytest.raises(LogUnavailableError, match="there is no log here"):
        open_sqlite(path, create=False)

    assert list(path.parent.iterdir()) == before


def test_old_sqlite_is_refused(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An SQLite with the WAL-reset bug is not trusted with a log."""
    monkeypatch.setattr(apsw, "sqlite_lib_version", lambda: "3.51.2")

    with pytest.raises(LogUnavailableError, match=r"3\.51\.2"):
        open_sqlite(path)

    assert not path.exists()


def test_wal_shrinks_once_a_reader_is_gone(sqlite_log: SqliteLog, path: Path) -> None:
    """What it has grown to beside somebody who read on and on is given back to the disk."""
    wal = path.with_name(f"{path.name}-wal")
    text = f'{{"kind":"test","text":"{"x" * 2**20}"}}'
    append(sqlite_log)
    with closing(apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READWRITE)) as reader:
        reader.execute("BEGIN; SELECT * FROM namespaces").fetchall()
        for _ in range(20):
            sqlite_log.append(commit_after(sqlite_log.head(), bodies=[text]))
    grown = wal.stat().st_size
    # One moves the pages, the next begins the WAL anew.
    append(sqlite_log)
    append(sqlite_log)

    assert grown > WAL_KEPT_BYTES
    assert wal.stat().st_size == WAL_KEPT_BYTES


# -- what is not ours ----------------------------------------------------------------------------


def make_foreign(path: Path, kind: str) -> None:
    """A file that eventq must leave alone."""
    if kind == "text":
        path.write_text("# a text about something else\n" * 300)
        return
    if kind == "short text":
        path.write_text("hello")
        return
    with closing(apsw.Connection(str(path))) as connection:
        if kind.endswith("WAL"):
            connection.execute("PRAGMA journal_mode = WAL")
        marks = {"other mark": 4711, "newer eventq": schema.APPLICATION_ID}
        connection.execute(f"PRAGMA application_id = {marks.get(kind, 0)}")
        connection.execute("PRAGMA user_version = 99; CREATE TABLE people (name TEXT)")
        connection.execute("INSERT INTO people VALUES ('Ada')")


@pytest.mark.parametrize("create", [True, False])
@pytest.mark.parametrize(
    "kind", ["text", "short text", "database", "database in WAL", "other mark", "newer eventq"]
)
def test_foreign_file_is_left_alone(path: Path, kind: str, create: bool) -> None:  # noqa: FBT001
    """A file that is no log of ours is refused by name; not a byte of it or beside it changes."""
    make_foreign(path, kind)
    before = path.read_bytes()
    expected = LogTooNewError if kind == "newer eventq" else LogForeignError

    with pytest.raises(expected, match=r"log\.db") as caught:
        open_sqlite(path, create=create)

    assert caught.type is expected
    assert path.read_bytes() == before
    assert [file.name for file in path.parent.iterdir()] == ["log.db"]


# -- what cannot be written ----------------------------------------------------------------------

# Does what the second argument says without the privileges of root, and prints the error.
UNPRIVILEGED = """
import os, sys
from eventq.errors import EventqError
from eventq.eventlog.sqlite.log import SqliteLog
from tests.eventlog.commits import append
if os.geteuid() == 0:
    os.setgroups([]), os.setgid(65534), os.setuid(65534)
try:
    log = SqliteLog(sys.argv[1], url="", namespace="default", create=sys.argv[2] == "create")
    print("read", log.head().seq, flush=True)
    append(log)
except EventqError as error:
    print(type(error).__name__, error)
"""


@pytest.fixture
def public_directory() -> Iterator[Path]:
    """A directory that any user can reach; pytest's are for their owner."""
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        directory.chmod(0o777)
        yield directory
        directory.chmod(0o700)


def unprivileged(path: Path, *, create: bool) -> str:
    """What the script above prints."""
    command = [sys.executable, "-c", UNPRIVILEGED, str(path), "create" if create else "look"]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout


@pytest.mark.parametrize("what", ["file", "directory"])
def test_read_only_log_can_be_read(public_directory: Path, what: str) -> None:
    """A log that may not be written can be read when it is not to be created; append says so."""
    path = public_directory / "log.db"
    with closing(open_sqlite(path)) as log:
        append(log)
    path.chmod(0o444 if what == "file" else 0o666)
    public_directory.chmod(0o777 if what == "file" else 0o555)

    printed = unprivileged(path, create=False)

    assert printed.splitlines() == [
        "read 1",
        f"LogUnavailableError {path}: is not writable, opened for reading only",
    ]


@pytest.mark.parametrize("what", ["file", "directory", "new file"])
def test_read_only_place_is_named(public_directory: Path, what: str) -> None:
    """Opening for writing where that is forbidden names what is not writable."""
    path = public_directory / "log.db"
    if what != "new file":
        open_sqlite(path).close()
        path.chmod(0o444 if what == "file" else 0o666)
    public_directory.chmod(0o777 if what == "file" else 0o555)

    printed = unprivileged(path, create=True)

    culprit = path if what == "file" else public_directory
    assert printed.startswith(f"LogUnavailableError {path}: ")
    assert f"{culprit} is not writable" in printed


# -- network file systems ------------------------------------------------------------------------

MOUNTS = """\
22 28 0:21 / /proc rw,nosuid shared:5 - proc proc rw
28 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw
40 28 0:40 / /data rw,relatime shared:9 - nfs4 host:/export rw,vers=4.2
41 40 254:1 / /data/local rw,relatime - xfs /dev/vdb rw
42 28 0:42 / /mnt/my\\040files rw - fuse.sshfs me@host: rw
43 28 0:43 / /both rw - ext4 /dev/vdc rw
44 43 0:44 / /both rw - cifs //host/share rw
a line that means nothing
"""


@pytest.mark.parametrize(
    "directory, kind",
    [
        ("/", "ext4"),
        ("/home/me", "ext4"),
        ("/data", "nfs4"),
        ("/data/deep/er", "nfs4"),
        ("/database", "ext4"),
        ("/data/local/x", "xfs"),
        ("/mnt/my files/x", "fuse.sshfs"),
        ("/both/x", "cifs"),
    ],
)
def test_filesystem_is_that_of_the_nearest_mount(directory: str, kind: str) -> None:
    """The longest mount point above a directory tells its type, and the last one on it."""
    assert sqlite_files.filesystem_type(MOUNTS, directory) == kind


@pytest.mark.parametrize("kind", ["nfs", "nfs4", "cifs", "smb3", "ceph", "fuse.sshfs"])
def test_network_filesystem_is_refused(
    path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """Where locks do not hold between hosts no log is made; the message says what to do."""
    monkeypatch.setattr(sqlite_files, "filesystem_type", lambda *_: kind)

    with pytest.raises(LogUnavailableError, match=rf"network file system \({kind}\).*mongodb://"):
        open_sqlite(path)

    assert list(path.parent.iterdir()) == []
