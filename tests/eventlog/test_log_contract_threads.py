"""What every event log must keep when many use it: turns, watches, closing."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from eventq.core.commits import Commit
from eventq.errors import LogConflictError, QueueClosedError
from eventq.eventlog import EventLog
from tests.eventlog.commits import (
    EMPTY,
    WAIT_S,
    Opener,
    append,
    append_each,
    append_in_slot,
    assert_tiles,
    commit_after,
    everything,
)

# -- many at once --------------------------------------------------------------------------------


def test_one_of_many_wins_a_position(open_another: Opener) -> None:
    """Of threads that append at the same position without taking turns exactly one succeeds."""
    logs = [open_another(), open_another()]
    start = threading.Barrier(8)
    commits = [commit_after(logs[0].head(), 3) for _ in range(8)]

    def attempt(number: int) -> bool:
        start.wait(WAIT_S)
        try:
            logs[number % 2].append(commits[number])
        except LogConflictError:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        won = list(pool.map(attempt, range(8)))

    assert sum(won) == 1
    assert logs[0].read(after=0) == [commits[won.index(True)]]


def test_turns_lose_nothing(open_another: Opener, one_writer: bool) -> None:  # noqa: FBT001
    """Threads that append in turns lose nothing; with one writer at a time nobody conflicts."""
    logs = [open_another(), open_another()]
    conflicts: list[str] = []

    def work(number: int) -> list[str]:
        log, done = logs[number % 2], list[str]()
        while len(done) < 20:
            try:
                done.append(append_in_slot(log, 1 + number).id)
            except LogConflictError:
                conflicts.append(f"{number}")
        return done

    with ThreadPoolExecutor(6) as pool:
        done = [name for names in pool.map(work, range(6)) for name in names]

    found = everything(logs[0])
    assert sorted(commit.id for commit in found) == sorted(done)
    assert_tiles(found)
    assert not (one_writer and conflicts)


def test_readers_see_a_growing_prefix(open_another: Opener) -> None:
    """Each read while others append is a prefix of every later one."""
    writer, reader = open_another(), open_another()
    finished = threading.Event()
    prefixes: list[list[Commit]] = []

    def read() -> None:
        while not finished.is_set():
            prefixes.append(reader.read(after=0, limit=100_000))

    with ThreadPoolExecutor(1) as pool:
        reading = pool.submit(read)
        commits = append_each(writer, [1, 40, 3] * 20)
        finished.set()
        reading.result(WAIT_S)

    for prefix in prefixes:
        assert prefix == commits[: len(prefix)]
    assert sorted(map(len, prefixes)) == list(map(len, prefixes))


# -- watches -------------------------------------------------------------------------------------


@pytest.mark.usefixtures("_working")
@pytest.mark.parametrize("where", ["same log", "another log"])
def test_append_wakes_a_watch(open_another: Opener, where: str) -> None:
    """A watch is woken soon after an append by its own log or by another on the same store."""
    log = open_another()
    appending = log if where == "same log" else open_another()
    woken = threading.Event()
    watch = log.watch(woken.set)

    append(appending)

    assert woken.wait(WAIT_S)
    watch.close()


@pytest.mark.usefixtures("_working")
def test_each_append_wakes_again(open_another: Opener) -> None:
    """A watch goes on after its first wake."""
    log, other = open_another(), open_another()
    woken = threading.Event()
    watch = log.watch(woken.set)

    for _ in range(20):
        append(other)
        assert woken.wait(WAIT_S)
        woken.clear()

    watch.close()


@pytest.mark.usefixtures("_working")
def test_woken_watch_finds_the_commit(open_another: Opener) -> None:
    """What woke a watch can be read, also from within the wake."""
    log, other = open_another(), open_another()
    found: list[Commit] = []
    woken = threading.Event()

    def wake() -> None:
        found.extend(log.read(after=len(found)))
        if found:
            woken.set()

    watch = log.watch(wake)

    commit = append(other)

    assert woken.wait(WAIT_S)
    watch.close()
    assert found == [commit]


@pytest.mark.usefixtures("_working")
def test_closed_watch_is_quiet(open_another: Opener) -> None:
    """After close, which may come twice, nothing calls the function any more."""
    log = open_another()
    late, current = threading.Event(), threading.Event()
    closed = log.watch(late.set)
    watch = log.watch(current.set)
    closed.close()
    closed.close()

    append(open_another())

    assert current.wait(WAIT_S)
    watch.close()
    assert not late.is_set()


@pytest.mark.usefixtures("_working")
def test_watch_may_close_itself(open_another: Opener) -> None:
    """A function that closes its own watch does not wait for itself."""
    log = open_another()
    done = threading.Event()

    def wake() -> None:
        watch.close()
        done.set()

    watch = log.watch(wake)

    append(open_another())

    assert done.wait(WAIT_S)


# -- closing -------------------------------------------------------------------------------------


def take_slot(log: EventLog) -> None:
    """Takes the writer slot and does nothing in it."""
    log.append_next(lambda _: None)


def append_unconditionally(log: EventLog) -> None:
    """Appends a first commit without asking the log anything."""
    log.append(commit_after(EMPTY))


CALLS: dict[str, Callable[[EventLog], object]] = {
    "head": lambda log: log.head(),
    "read": lambda log: log.read(after=0),
    "writer slot": take_slot,
    "append": append_unconditionally,
    "history": lambda log: log.history(1),
    "find_keys": lambda log: log.find_keys(["a"]),
    "namespaces": lambda log: log.namespaces(),
    "watch": lambda log: log.watch(lambda: None),
}


@pytest.mark.parametrize("call", CALLS)
def test_closed_log_refuses_every_call(log: EventLog, call: str) -> None:
    """After close, which may come twice, each call says that the log is closed."""
    log.close()
    log.close()

    with pytest.raises(QueueClosedError):
        CALLS[call](log)


def test_closing_leaves_other_logs_alone(open_another: Opener) -> None:
    """A log on the same store works on after another was closed."""
    log, other = open_another(), open_another()
    first = append(other)

    other.close()

    second = append(log)
    assert log.read(after=0) == [first, second]
