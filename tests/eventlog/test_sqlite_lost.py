"""The SQLite log whose files are deleted, replaced or known by two names: it is told everywhere."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

import eventq
from eventq.errors import LogLostError, LogUnavailableError
from eventq.eventlog import open_log
from eventq.eventlog.contract import Kept, SnapshotEntry
from eventq.eventlog.sqlite import files as sqlite_files
from eventq.eventlog.sqlite import notify as doorbell
from eventq.eventlog.sqlite import open_files as sqlite_open_files
from eventq.eventlog.sqlite.log import SqliteLog
from tests.eventlog.commits import (
    EMPTY,
    WAIT_S,
    append,
    commit_after,
    everything,
    open_sqlite,
)
from tests.eventlog.processes import Starter, finish, line, tell

# -- opening -------------------------------------------------------------------------------------


@pytest.mark.parametrize("content", ["log", "nothing"])
@pytest.mark.parametrize("name", ["log.db", "hard.db", "link.db"])
def test_file_with_two_names_is_refused(path: Path, name: str, content: str) -> None:
    """A file with a second name is opened by neither, and the error says what to do."""
    if content == "log":
        open_sqlite(path).close()
    else:
        path.touch()
    os.link(path, path.with_name("hard.db"))
    path.with_name("link.db").symlink_to(path)

    with pytest.raises(LogUnavailableError, match=r"has 2 names.*one name.*mount its folder"):
        open_sqlite(path.with_name(name))

    path.with_name("hard.db").unlink()
    open_sqlite(path).close()


def test_mounted_file_is_refused(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that is a mount point of its own has no files beside it that others would find."""
    text = (
        f"28 1 254:0 / / rw - ext4 /dev/vda rw\n29 28 254:0 /srv/x {path} rw - ext4 /dev/vda rw\n"
    )
    monkeypatch.setattr(sqlite_files, "read_mountinfo", lambda: text)

    with pytest.raises(LogUnavailableError, match=r"mounted without its folder.*mount its folder"):
        open_sqlite(path)

    assert list(path.parent.iterdir()) == []


MOUNT = """
mount --bind "$1" "$2" || exit 77
"$3" -c 'import eventq, sys; eventq.Queue("sqlite:///" + sys.argv[1])' "$2"
"""


def test_really_mounted_file_is_refused(path: Path) -> None:
    """The same with a real mount, as a container makes it, where the system lets one be made."""
    open_sqlite(path).close()
    target = path.with_name("mounted.db")
    target.touch()
    if shutil.which("unshare") is None:
        assert os.environ.get("CI") != "true", "install Debian's package util-linux"
        pytest.skip("there is no command to mount a file with")
    command = [
        "unshare",
        "--mount",
        "sh",
        "-c",
        MOUNT,
        "sh",
        str(path),
        str(target),
        sys.executable,
    ]

    ran = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)

    if ran.returncode == 77 or "unshare failed" in ran.stderr:
        pytest.skip("mounting is not allowed here")
    assert "mounted.db: is mounted without its folder" in ran.stderr


# -- lost while it is open -----------------------------------------------------------------------


def delete(path: Path) -> None:
    """As somebody does who does not know that it is open."""
    path.unlink()


def delete_all(path: Path) -> None:
    """With all that stands beside it."""
    for file in path.parent.glob("log.db*"):
        if file.is_file():
            file.unlink()


def replace(path: Path) -> None:
    """By a restored backup."""
    with closing(open_sqlite(path.with_name("backup.db"))):
        pass
    path.with_name("backup.db").rename(path)


def make_anew(path: Path) -> None:
    """Deleted, and made anew by another process."""
    delete_all(path)
    open_sqlite(path).close()


def move(path: Path) -> None:
    """To another name."""
    path.rename(path.with_name("other.db"))


def move_folder(path: Path) -> None:
    """With its folder."""
    path.parent.rename(path.parent.with_name("elsewhere"))


def link(path: Path) -> None:
    """A second name."""
    os.link(path, path.with_name("second.db"))


def empty(path: Path) -> None:
    """As ``: > log.db`` in a shell."""
    os.truncate(path, 0)


LOSSES: list[Callable[[Path], None]] = [
    delete,
    empty,
    delete_all,
    replace,
    make_anew,
    move,
    move_folder,
    link,
]
ENTRY = SnapshotEntry(1, 1, b"seal", 1, 1)
USES: dict[str, Callable[[SqliteLog], object]] = {
    "head": lambda log: log.head(),
    "start": lambda log: log.start(),
    "read": lambda log: log.read(after=0),
    "history": lambda log: log.history(1),
    "find_keys": lambda log: log.find_keys(["key"]),
    "find_stray": lambda log: log.find_stray(),
    "find_kept": lambda log: log.find_kept([1]),
    "query": lambda log: log.query("SELECT 1"),
    "namespaces": lambda log: log.namespaces(),
    "slot": lambda log: log.append_next(lambda _: None),
    "append": lambda log: log.append(commit_after(EMPTY)),
    "keep": lambda log: log.keep([Kept(1, 1, None, "")]),
    "cut": lambda log: log.cut(EMPTY),
    "watch": lambda log: log.watch(lambda: None),
    "snapshots": lambda log: log.snapshots.entries(),
    "snapshot": lambda log: log.snapshots.get(1),
    "put": lambda log: log.snapshots.put(ENTRY, b""),
    "delete": lambda log: log.snapshots.delete(1),
}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """In a folder that can be moved away."""
    (tmp_path / "folder").mkdir()
    return tmp_path / "folder" / "log.db"


@pytest.mark.parametrize("loss", LOSSES)
def test_loss_is_told_on_every_path(
    sqlite_log: SqliteLog, path: Path, loss: Callable[[Path], None]
) -> None:
    """Whatever is asked of a log that has lost its file raises an error that says so."""
    append(sqlite_log)
    loss(path)

    for use in USES.values():
        with pytest.raises(LogLostError, match="while it was open"):
            use(sqlite_log)


@pytest.mark.parametrize("end", ["-wal", "-shm"])
@pytest.mark.parametrize("use", ["slot", "read"])
def test_loss_of_a_file_beside_it_is_told(
    sqlite_log: SqliteLog, path: Path, end: str, use: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The WAL and its index belong to the database: without them others do not see this log."""
    monkeypatch.setattr(sqlite_open_files, "LOOK_S", 0.0)
    append(sqlite_log)
    path.with_name(f"log.db{end}").unlink()

    with pytest.raises(LogLostError, match=rf"log\.db{end}: was deleted"):
        USES[use](sqlite_log)


def test_commits_of_others_outlive_a_lost_index(path: Path) -> None:
    """Who has lost the WAL's index leaves the WAL alone when it closes."""
    with closing(open_sqlite(path)) as lost:
        append(lost)
        path.with_name("log.db-shm").unlink()
        command = [sys.executable, "-c", APPEND, str(path)]
        subprocess.run(command, check=True, timeout=60)

    with closing(open_sqlite(path)) as log:
        assert log.head().seq == 2


APPEND = """
import sys
from pathlib import Path
from tests.eventlog.commits import append, open_sqlite
log = open_sqlite(Path(sys.argv[1]))
append(log)
log.close()
"""


def test_file_that_cannot_be_looked_at_is_no_lost_one(
    sqlite_log: SqliteLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What may pass, such as a disk that answers with an error once, is told as passing."""
    commit = append(sqlite_log)

    def refuse(*_: object) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with monkeypatch.context() as patch:
        patch.setattr(os, "stat", refuse)
        with pytest.raises(LogUnavailableError, match="Input/output error"):
            sqlite_log.head()

    assert sqlite_log.read(after=0) == [commit]


def test_watch_wakes_when_the_file_is_lost(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who sleeps until something is appended is woken, so that it asks and hears of it."""
    monkeypatch.setattr(doorbell, "POLL_S", 0.01)
    woken = threading.Event()
    with closing(open_log(f"sqlite:///{path}")) as log:
        watch = log.watch(woken.set)
        path.unlink()

        assert woken.wait(WAIT_S)
        watch.close()


def test_follower_ends_when_the_file_is_lost(path: Path) -> None:
    """Following the events raises, where it would wait for ever for those of a deleted file."""
    with eventq.Queue(f"sqlite:///{path}") as queue:
        queue.new({"number": 1})
        events = queue.events(follow=True)
        assert next(events).kind == "created"
        path.unlink()

        with pytest.raises(LogLostError, match="was deleted"):
            next(events)


def test_idle_run_ends_when_the_file_is_lost(path: Path) -> None:
    """A worker with nothing to do hears of it by the watch, and ends for a supervisor to see."""
    done = threading.Event()
    ended: list[BaseException] = []
    with eventq.Queue(f"sqlite:///{path}") as queue:

        def work() -> None:
            try:
                queue.run(lambda _, __: done.set())
            except LogLostError as error:
                ended.append(error)

        thread = threading.Thread(target=work)
        thread.start()
        queue.new({"number": 1})
        assert done.wait(WAIT_S)
        path.unlink()

        thread.join(WAIT_S)
        assert len(ended) == 1
        assert "was deleted" in str(ended[0])


def test_busy_run_ends_when_the_file_is_lost(path: Path) -> None:
    """A worker that has outcomes to record does not try for ever to record them."""
    with eventq.Queue(f"sqlite:///{path}", workers=1) as queue:
        queue.new_many([{"number": number} for number in range(100)])

        with pytest.raises(LogLostError, match="was deleted"):
            queue.run(lambda _, __: path.unlink(missing_ok=True))


# -- what an earlier database left ---------------------------------------------------------------

# Dies with a commit that is in the WAL alone.
KILLED = """
append(open_sqlite(path))
os._exit(0)
"""


@pytest.mark.parametrize("main", ["missing", "empty"])
def test_stale_wal_is_refused(path: Path, start: Starter, main: str) -> None:
    """A deleted database whose WAL is still there does not come back with the next one."""
    finish(start(KILLED))
    path.unlink()
    if main == "empty":
        path.touch()
    wal = path.with_name("log.db-wal")
    before = wal.read_bytes()

    with pytest.raises(LogUnavailableError, match=r"log\.db-wal is left of a database"):
        open_sqlite(path)

    assert wal.read_bytes() == before
    wal.unlink()
    with closing(open_sqlite(path)) as log:
        assert everything(log) == []


def test_stale_journal_is_refused(path: Path) -> None:
    """SQLite would roll a new database back to what the journal of another one says."""
    path.with_name("log.db-journal").write_bytes(b"\xd9\xd5\x05\xf9\x20\xa1\x63\xd7" + bytes(504))

    with pytest.raises(LogUnavailableError, match=r"log\.db-journal is left of a database"):
        open_sqlite(path)


def test_empty_leftovers_are_cleared(path: Path) -> None:
    """What holds nothing is no reason to refuse, and is not taken over."""
    leftovers = [path.with_name(f"log.db{end}") for end in ("-wal", "-journal", "-shm")]
    for file in leftovers:
        file.touch()
    leftovers[2].write_bytes(b"an index of a WAL of long ago" * 2_000)

    with closing(open_sqlite(path)) as log:
        commit = append(log)
        assert everything(log) == [commit]


HOLD = """
log = open_sqlite(path)
append(log)
say("holds")
sys.stdin.readline()
try:
    append(log)
except Exception as error:
    say(type(error).__name__)
log.close()
"""


def test_new_file_shares_nothing_with_the_old_ones_process(path: Path, start: Starter) -> None:
    """A process that has the deleted database open, and its WAL's index, does not meet the new."""
    holder = start(HOLD)
    assert line(holder) == "holds"
    path.unlink()
    path.with_name("log.db-wal").unlink()

    with closing(open_sqlite(path)) as log:
        commits = [append(log), append(log)]
        tell(holder)
        assert finish(holder) == ["LogLostError"]
        assert everything(log) == commits
    with closing(open_sqlite(path)) as log:
        assert everything(log) == commits
