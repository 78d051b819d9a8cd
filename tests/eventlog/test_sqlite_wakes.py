"""The SQLite log's doorbell: who appends wakes who watches, in this process and in others."""

from __future__ import annotations

import errno
import os
import socket
import threading
from contextlib import closing
from pathlib import Path

import pytest

from eventq.eventlog.sqlite import notify
from eventq.eventlog.sqlite.log import SqliteLog
from tests.eventlog.commits import WAIT_S, append, open_sqlite
from tests.eventlog.processes import Starter, finish, line

LISTEN = """
log = open_sqlite(path)
seen = threading.Semaphore(0)
watch = log.watch(seen.release)
say("ready")
while log.head().seq < 3:
    seen.acquire()
    say("woken", log.head().seq)
watch.close()
log.close()
"""


@pytest.fixture
def no_polling(monkeypatch: pytest.MonkeyPatch) -> None:
    """The safety net is far away, so that only a ring can wake in time."""
    monkeypatch.setattr(notify, "POLL_S", 1_000.0)
    monkeypatch.setattr(notify, "POLL_ALONE_S", 1_000.0)


def test_append_wakes_another_process(start: Starter, sqlite_log: SqliteLog) -> None:
    """A process that sleeps in a watch learns of each commit of another process."""
    listener = start("from eventq.eventlog.sqlite import notify; notify.POLL_S = 1000" + LISTEN)
    assert line(listener) == "ready"

    for seq in (1, 2, 3):
        append(sqlite_log)
        assert line(listener) == f"woken {seq}"

    assert finish(listener) == []


@pytest.mark.usefixtures("no_polling")
def test_who_begins_to_listen_misses_no_append(
    sqlite_log: SqliteLog, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An appender that has just found nobody listening rings nobody, but is heard all the same."""
    monkeypatch.setattr(notify, "UNHEARD_S", 0.2)
    monkeypatch.setattr(notify, "POLL_S", 1_000.0)
    woken = threading.Event()
    with closing(open_sqlite(path)) as other:
        append(other)

        watch = sqlite_log.watch(woken.set)
        append(other)

        assert woken.wait(WAIT_S)
        watch.close()


def test_last_watch_leaves_nothing_behind(sqlite_log: SqliteLog, path: Path) -> None:
    """Sockets and their directory go when the watches do, and come again with the next."""
    bell = path.with_name("log.db-bell")
    for _ in range(2):
        watches = [sqlite_log.watch(lambda: None) for _ in range(2)]
        assert len(list(bell.iterdir())) == 2

        for watch in watches:
            watch.close()

        assert not bell.exists()


def test_sockets_of_the_dead_are_cleared(sqlite_log: SqliteLog, path: Path) -> None:
    """An append removes the socket of a killed process, but no file that is not a listener's."""
    bell = path.with_name("log.db-bell")
    bell.mkdir()
    for name in ("1-0123abcd", "somebody-else"):
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as dead:
            dead.bind(str(bell / name))

    append(sqlite_log)

    assert [file.name for file in bell.iterdir()] == ["somebody-else"]


@pytest.mark.usefixtures("no_polling")
def test_full_listener_holds_nobody_up(sqlite_log: SqliteLog, path: Path) -> None:
    """Appends do not wait for a listener that is too busy to hear, and it wakes afterwards."""
    release, woken = threading.Event(), threading.Semaphore(0)

    def busy() -> None:
        release.wait(WAIT_S)
        woken.release()

    with closing(open_sqlite(path)) as other:
        watch = other.watch(busy)

        append(sqlite_log)
        for _ in range(2_000):
            sqlite_log.doorbell.ring()

        release.set()
        assert woken.acquire(timeout=WAIT_S)
        watch.close()


@pytest.mark.usefixtures("no_polling")
def test_long_path_rings_too(tmp_path: Path) -> None:
    """A database deeper than a socket's address can say is heard all the same."""
    directory = tmp_path / ("deep" * 30) / ("deeper" * 20)
    directory.mkdir(parents=True)
    woken = threading.Event()
    path = directory / "log.db"
    with closing(open_sqlite(path)) as log, closing(open_sqlite(path)) as other:
        watch = log.watch(woken.set)

        append(other)

        assert woken.wait(WAIT_S)
        watch.close()


def test_watch_without_socket_looks(
    sqlite_log: SqliteLog, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where no socket can be had the watch finds commits by looking."""
    path.with_name("log.db-bell").write_text("in the way of the directory")
    monkeypatch.setattr(notify, "POLL_ALONE_S", 0.01)
    woken = threading.Event()
    watch = sqlite_log.watch(woken.set)
    with closing(open_sqlite(path)) as other:
        append(other)

        assert woken.wait(WAIT_S)
    watch.close()


@pytest.mark.parametrize("number", [errno.EPERM, errno.EAFNOSUPPORT, errno.EMFILE, errno.ENOBUFS])
def test_forbidden_sockets_are_no_error(path: Path, number: int) -> None:
    """Where the system gives no socket, both ends go on: one looks, and appends ring nobody."""

    def refuse(*_: object) -> socket.socket:
        raise OSError(number, os.strerror(number))

    with closing(open_sqlite(path)) as heard, closing(open_sqlite(path)) as log:
        listening = heard.watch(lambda: None)
        woken = threading.Event()
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(socket, "socket", refuse)
            patch.setattr(notify, "POLL_ALONE_S", 0.01)
            watch = log.watch(woken.set)
            append(heard)
            append(log)

            assert woken.wait(WAIT_S)
            watch.close()
        listening.close()


def test_lost_ring_is_made_good(
    sqlite_log: SqliteLog, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A watch finds a commit also when its socket was removed by somebody."""
    monkeypatch.setattr(notify, "POLL_S", 0.01)
    woken = threading.Event()
    watch = sqlite_log.watch(woken.set)
    for file in path.with_name("log.db-bell").iterdir():
        file.unlink()
    with closing(open_sqlite(path)) as other:
        append(other)

        assert woken.wait(WAIT_S)
    watch.close()
